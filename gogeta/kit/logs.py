"""Logs on stderr: readable lines or JSON, one event each, never in the way of the work.

Records go into a bounded queue and a thread writes them, so that a stderr nobody reads costs lines (they are counted,
and the count is logged) and never the loop. What comes from outside cannot forge lines: control characters are
escaped. Passwords in URLs are masked. Whoever logs needs to know nothing of this: the standard ``logging`` is the
interface. A record may carry ``extra={"fields": {...}}``: more members of the JSON object, ``key=value`` in text.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import re
import signal
import sys
import threading
from typing import Any, Final, TextIO

from gogeta.kit import log_levels
from gogeta.kit.clock import rfc3339

CAPACITY: Final = 10_000
"""Most lines waiting to be written: seconds of a busy proxy, a few megabytes."""
_FLUSH_SECONDS: Final = 2.0
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BARE: Final = re.compile(r'[^\s"=]+')
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")


def escape(text: str) -> str:
    r"""``text`` on one line: control characters as ``\xNN``, line feeds as ``\n``, passwords in URLs masked."""
    text = _CREDENTIALS.sub("***@", text)
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z warning gogeta.registry.mirror: message key=value``; tracebacks follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line (and its traceback as further, indented ones)."""
        line = f"{_time(record)} {record.levelname.lower():<7} {record.name}: {escape(record.getMessage())}"
        for key, value in _fields(record).items():
            text = escape(str(value))
            line += f" {key}=" + (
                json.dumps(text, ensure_ascii=False) if re.search(r'[\s"=]', text) or not text else text
            )
        if trace := _traceback(self, record):
            line += "".join(f"\n    {escape(part)}" for part in trace.splitlines())
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, program, logger, message, fields, and ``traceback`` where there is one."""

    def __init__(self, program: str) -> None:
        """``program`` stands in every line."""
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """The record as a JSON object."""
        members: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "message": _CREDENTIALS.sub("***@", record.getMessage()),
        }
        for key, value in _fields(record).items():
            members.setdefault(key, _CREDENTIALS.sub("***@", value) if isinstance(value, str) else value)
        if trace := _traceback(self, record):
            members["traceback"] = _CREDENTIALS.sub("***@", trace)
        # ASCII output: no terminal and no collector meets a character that it would act upon.
        return json.dumps(members, default=str)


def _time(record: logging.LogRecord) -> str:
    return rfc3339(int(record.created * 1000))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


class QueuedHandler(logging.Handler):
    """Formats at once (so that arguments may change later), writes from a thread of its own, drops when behind."""

    def __init__(self, stream: TextIO, *, capacity: int = CAPACITY) -> None:
        """Start writing to ``stream``."""
        super().__init__()
        self.stream = stream
        self.dropped = 0
        """Lines dropped since the last one that said so."""
        self._counting = threading.Lock()
        self._lines: queue.Queue[str | None] = queue.Queue(capacity)
        self._thread: threading.Thread | None = None
        self._start()
        # A forked worker inherits the queue but not the thread.
        os.register_at_fork(after_in_child=self._restart)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._write, args=(self._lines,), name="logs", daemon=True)
        self._thread.start()

    def _restart(self) -> None:
        if self._thread is not None:
            self._lines, self._counting = queue.Queue(self._lines.maxsize), threading.Lock()
            self._start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record, or count it as dropped."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not end what logged it
            line = f"a log record could not be formatted: {record.name}: {escape(str(record.msg))}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            with self._counting:
                self.dropped += 1

    def _write(self, lines: queue.Queue[str | None]) -> None:
        # Signals are the main thread's: while it blocks one, nobody else must take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while (line := lines.get()) is not None:
            try:
                if self.dropped:
                    with self._counting:
                        count, self.dropped = self.dropped, 0
                    record = logging.makeLogRecord(
                        {
                            "name": __name__,
                            "levelno": logging.WARNING,
                            "levelname": "WARNING",
                            "msg": f"{count} log lines were dropped: stderr was too slow",
                        }
                    )
                    self.stream.write(self.format(record) + "\n")
                self.stream.write(line + "\n")
                self.stream.flush()
            except (OSError, ValueError):
                # stderr is gone: there is nobody left to tell, and the work goes on.
                continue

    def close(self) -> None:
        """Write what is queued, for at most two seconds, and end the thread. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                self._lines.put(None, timeout=_FLUSH_SECONDS)
            except queue.Full:
                return super().close()
            thread.join(_FLUSH_SECONDS)
        return super().close()


_handler: QueuedHandler | None = None


def setup(level: str, format: str, program: str) -> None:  # noqa: A002 - the setting's name
    """Send all logs of this process to stderr, from ``level`` on, as ``text`` or ``json``. May be called again."""
    global _handler  # noqa: PLW0603 - logging is one per process
    shutdown()
    _handler = QueuedHandler(sys.stderr)
    _handler.setFormatter(JsonFormatter(program) if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.addHandler(_handler)
    log_levels.configure(level)
    logging.captureWarnings(capture=True)


def shutdown() -> None:
    """Write out what is queued and stop. Called at exit by itself."""
    global _handler  # noqa: PLW0603 - ditto
    if _handler is not None:
        logging.getLogger().removeHandler(_handler)
        _handler.close()
        _handler = None


atexit.register(shutdown)
