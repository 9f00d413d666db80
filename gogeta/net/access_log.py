"""The access log: noted on the way at the cost of one append, formatted and written by a thread of its own.

The data plane only calls ``takes`` and ``note``. Nothing here waits for a disk, a pipe or a lock on the loop's side: a
writer that is behind costs records, which are counted, and never an exchange. All workers write to one file, each batch
of whole lines in one write that appends, so that lines are never mixed. A file that was moved or removed is opened anew
within about a second: rotation needs no signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

from gogeta.core.access_record import FIELD_LIMIT, LINE_LIMIT, TARGET_LIMIT, AccessRecord, Ending, RecordFormat
from gogeta.domain.errors import Fault, GogetaError
from gogeta.kit.clock import epoch_of_monotonic
from gogeta.settings import ServeSettings

logger = logging.getLogger(__name__)

OFF: Final = "off"
STANDARD_OUTPUT: Final = "-"
CLOSE_SECONDS: Final = 2.0
"""For what is queued to be written at the end."""
_PAUSE: Final = 0.1
"""Seconds between two looks at the queue."""
_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the file is still the one of that name, and between two tries to open it."""
_BATCH: Final = 64
"""Records formatted in one go. The loop's thread waits for as long as that takes, half a millisecond or so, ..."""
_BREATH: Final = 0.0005
"""... and then has at least these seconds for itself: a shorter release of the interpreter it would not notice."""
_BATCH_BYTES: Final = 64 * 1024
_HASH_BITS: Final = 32
_MODE: Final = 0o640
_COMPLETE: Final = frozenset({Ending.COMPLETE, Ending.UPGRADE})
_FIRST_SERVER_ERROR: Final = 500


class AccessLogError(GogetaError):
    """The access log cannot be opened."""

    fault = Fault.OPERATOR


class AccessLog:
    """Records of exchanges, on their way to a file or to standard output."""

    def __init__(self, path: str, lines: RecordFormat, *, share: float = 1.0, capacity: int = 10_000) -> None:
        """``path``: a file, or ``-``; ``share`` of the exchanges are kept; at most ``capacity`` records wait."""
        self._path = path
        self._lines = lines
        self._threshold = int(share * (1 << _HASH_BITS))
        self._capacity = capacity
        self._queue: deque[tuple[Any, ...]] = deque()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: int | None = None
        self._identity: tuple[int, int] = (0, 0)
        self._piece = _BATCH_BYTES
        self._look_at = 0.0
        self._torn = False
        """The last write ended within a line."""
        self._trouble = False
        self.written = 0
        self.dropped = 0
        """Records that were not written, for whatever reason."""
        self.failures = 0
        """Writes and openings that failed."""

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<AccessLog {self._path}: {len(self._queue)} queued, {self.written} written, {self.dropped} dropped>"

    # The loop's side.

    def takes(self, request_id: bytes, status: int, ending: Ending) -> bool:
        """Whether an exchange is to be noted.

        What a tenant or we failed at (500 and more, or broken off) always is; of the rest the share that was asked for,
        chosen by a hash of the request's id that nobody outside can foresee. Other refusals belong to the rest: anybody
        can cause those by the million.
        """
        return (
            hash(request_id) & 0xFFFF_FFFF < self._threshold or status >= _FIRST_SERVER_ERROR or ending not in _COMPLETE
        )

    def note(  # noqa: PLR0913, PLR0917 - one call, no object: this is the warm path
        self,
        began: float,
        forwarded: float,
        first_byte: float,
        ended: float,
        request_id: bytes,
        tenant: str,
        peer: str,
        method: bytes,
        host: bytes,
        target: bytes,
        http11: bool,  # noqa: FBT001 - positional, as all
        fields: Iterable[tuple[bytes, bytes]],
        status: int,
        refusal: str,
        ending: Ending,
        received: int,
        sent: int,
        upstream: str,
        reused: bool,  # noqa: FBT001 - ditto
        attempts: int,
    ) -> None:
        """Queue one record; its values are those of ``AccessRecord``, ``fields`` those of the request's head.

        Dropped and counted when too many wait. What a visitor has made is kept within bounds.
        """
        if len(self._queue) >= self._capacity:
            self.dropped += 1
            return
        user_agent = referer = b""
        for name, value in fields:
            length = len(name)
            if length == 10:
                if name.lower() == b"user-agent":
                    user_agent = value[: FIELD_LIMIT + 1]
            elif length == 7 and name.lower() == b"referer":
                referer = value[: TARGET_LIMIT + 1]
        # A plain tuple costs half of what a named one does; the thread names its parts.
        self._queue.append(
            (
                began,
                forwarded,
                first_byte,
                ended,
                request_id[: FIELD_LIMIT + 1],
                tenant,
                peer,
                method[: FIELD_LIMIT + 1],
                host[: FIELD_LIMIT + 1],
                target[: TARGET_LIMIT + 1],
                http11,
                user_agent,
                referer,
                status,
                refusal,
                ending,
                received,
                sent,
                upstream,
                reused,
                attempts,
            )
        )

    def open(self) -> None:
        """Open the file. Raises AccessLogError when it cannot be opened."""
        if _is_pipe(self._path):
            # That waits for a reader, so the thread does it.
            return
        try:
            self._open()
        except OSError as error:
            raise AccessLogError(
                f"--access-log: {self._path} cannot be opened: {error.strerror or error}",
                hint="its folder must exist, and this user must be allowed to write there",
            ) from error

    def start(self) -> None:
        """Open the file and start writing. Raises AccessLogError when it cannot be opened."""
        self.open()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, for at most ``CLOSE_SECONDS``, and end the thread; blocks for as long. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ending.set()
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                # It waits in a write or an opening that may never return, and has the file.
                self.dropped += len(self._queue)
                self._queue.clear()
                logger.warning("the access log %s does not take what is queued: records are lost", self._path)
                return
        if self._file is not None and self._path != STANDARD_OUTPUT:
            os.close(self._file)
        self._file = None

    # The thread's side.

    def _run(self) -> None:
        while True:
            ending = self._ending.wait(_PAUSE)
            self._look()
            for data, count in self._batches():
                self._write(data, count)
                if not ending:
                    time.sleep(_BREATH)
            if ending:
                return

    def _batches(self) -> Iterator[tuple[bytes, int]]:
        """Whole lines to be written in one piece, and how many."""
        queue, epoch = self._queue, epoch_of_monotonic()
        lines: list[bytes] = []
        size = 0
        while queue:
            line = self._lines.line(AccessRecord._make(queue.popleft()), epoch)
            if lines and (size + len(line) > self._piece or len(lines) >= _BATCH):
                yield b"".join(lines), len(lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            yield b"".join(lines), len(lines)

    def _look(self) -> None:
        """Open the file when it is not open, or anew when another one (or none) has its name."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        if self._file is not None and (self._path == STANDARD_OUTPUT or not self._moved()):
            return
        try:
            self._open()
        except OSError as error:
            self._failed(error)

    def _moved(self) -> bool:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - no object is needed for it
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return (found.st_dev, found.st_ino) != self._identity

    def _open(self) -> None:
        """Open the file; the one that was open before is closed when that has worked. Raises OSError."""
        if self._path == STANDARD_OUTPUT:
            opened = 1
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
            opened = os.open(self._path, flags, _MODE)
        found = os.fstat(opened)
        if self._file is not None and self._file != opened:
            os.close(self._file)
        self._torn = self._torn and self._identity == (found.st_dev, found.st_ino)
        self._file, self._identity = opened, (found.st_dev, found.st_ino)
        # A file takes any length in one piece; a pipe that several processes write to does not.
        self._piece = _BATCH_BYTES if stat.S_ISREG(found.st_mode) else LINE_LIMIT

    def _write(self, data: bytes, count: int) -> None:
        """Write ``count`` whole lines, or count them as dropped."""
        done = 0
        if self._torn:
            data = b"\n" + data
        try:
            if self._file is None:
                raise OSError(errno.EBADF, "it is not open")  # noqa: TRY301 - told as the others
            while done < len(data):
                done += self._write_some(self._file, data[done:] if done else data)
        except OSError as error:
            whole = data.count(b"\n", 1 if self._torn else 0, done)
            self.written += whole
            self.dropped += count - whole
            self._torn = data[done - 1 : done] != b"\n" if done else self._torn
            self._failed(error)
            return
        self._torn = False
        self.written += count
        if self._trouble:
            self._trouble = False
            logger.warning("the access log %s is written again; %d records are lost so far", self._path, self.dropped)

    def _write_some(self, file: int, data: bytes) -> int:
        try:
            return os.write(file, data)
        except BlockingIOError:
            # Somebody who shares standard output has made it so.
            select.select((), (file,), (), _LOOK_SECONDS)
            return os.write(file, data)

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if not self._trouble:
            self._trouble = True
            logger.warning(
                "the access log %s cannot be written: %s; records are dropped until it can",
                self._path,
                error.strerror or error,
            )
        if error.errno == errno.EPIPE and self._file is not None and self._path != STANDARD_OUTPUT:
            # The reader of a named pipe has gone. Opening it waits for the next one, and what is queued waits too.
            os.close(self._file)
            self._file = None
            with contextlib.suppress(OSError):
                self._open()


def access_log_of(settings: ServeSettings) -> AccessLog | None:
    """The access log that the settings ask for, not started; None when it is off."""
    if settings.access_log == OFF:
        return None
    return AccessLog(
        settings.access_log,
        RecordFormat(settings.access_log_format, query=settings.access_log_query == "keep"),
        share=settings.access_log_sample,
        capacity=settings.access_log_queue,
    )


@contextlib.asynccontextmanager
async def access_logged(settings: ServeSettings) -> AsyncIterator[AccessLog | None]:
    """The access log that the settings ask for, while it is written; at the end what is queued still is.

    Raises AccessLogError when it cannot be opened.
    """
    log = access_log_of(settings)
    if log is None:
        yield None
        return
    log.start()
    try:
        yield log
    finally:
        await asyncio.to_thread(log.close)


def check_access_log(settings: ServeSettings) -> None:
    """Raise AccessLogError when the access log could not be opened, before there are workers that would fail at it."""
    log = access_log_of(settings)
    if log is not None:
        log.open()
        log.close()


def _is_pipe(path: str) -> bool:
    try:
        return path != STANDARD_OUTPUT and stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - as above
    except OSError:
        return False
