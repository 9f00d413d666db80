"""What a local process wrote: a file and the one before it, which the guardian turns over (``guardian.py``).

Everything here blocks, and is called in a thread. It must not know tenants or processes.
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import IO, Final

_PORTION: Final = 64 * 1024
"""Most bytes that are read at once of what is new."""


def before(log: Path) -> Path:
    """Where the file is moved to when it is full."""
    return log.with_name(f"{log.name}.1")


def remove(log: Path) -> None:
    """Remove both; nothing happens where there are none."""
    for path in (log, before(log)):
        path.unlink(missing_ok=True)


def last_lines(log: Path, lines: int) -> str:
    """The last lines of both."""
    return "\n".join(_last(_read(log), log, lines).decode(errors="replace").splitlines())


class Tail:
    """The end of a log and what is written to it, whole over the turn to a new file."""

    def __init__(self, log: Path) -> None:
        """Nothing is opened yet."""
        self._log = log
        self._file: IO[bytes] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def last(self, lines: int) -> str:
        """The last lines, as they are now: what comes after them is what ``more`` gives."""
        self._open()
        now = self._file.read() if self._file is not None else b""
        return self._decoder.decode(_last(now, self._log, lines))

    def more(self) -> str:
        """What was written since; empty when nothing was."""
        data = self._portion()
        if not data and self._was_turned():
            # All of the old one has been read: nobody writes to it any more.
            self.close()
            data = self._portion()
        return self._decoder.decode(data)

    def _portion(self) -> bytes:
        if self._file is None:
            self._open()
        return self._file.read(_PORTION) if self._file is not None else b""

    def _was_turned(self) -> bool:
        if self._file is None:
            return False
        try:
            return os.fstat(self._file.fileno()).st_ino != self._log.stat().st_ino
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        try:
            self._file = self._log.open("rb", buffering=0)
        except FileNotFoundError:
            self._file = None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _last(now: bytes, log: Path, lines: int) -> bytes:
    """The last lines of ``now``, and of the file before it where those are too few."""
    if lines <= 0:
        return b""
    if now.count(b"\n") <= lines:
        now = _read(before(log)) + now
    return b"".join(now.splitlines(keepends=True)[-lines:])
