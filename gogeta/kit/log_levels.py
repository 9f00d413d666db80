"""How much is logged, changed while the program runs: for all, and for single loggers.

What is changed here holds until the next start or reload; the settings say what holds then. The values are the same for
an operator's request, for a signal, and between a supervisor and its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gogeta.domain.errors import InvalidInputError, Problem

logger = logging.getLogger(__name__)

LEVELS: Final = ("debug", "info", "warning", "error")
MOST_LOGGERS: Final = 64
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*").fullmatch
_LONGEST: Final = 128
_CHATTY: Final = ("asyncio", "aiohttp.access")
"""They log each request or frame: never less than warnings, unless somebody names them."""


@dataclass(frozen=True, slots=True)
class LogLevels:
    """``level`` for all loggers but those that ``loggers`` names (with all below them)."""

    level: str
    loggers: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"level": self.level, "loggers": dict(self.loggers)}


_named: dict[str, str] = {}
_configured: str = "info"


def configure(level: str) -> None:
    """The level of the settings, which holds from now on for all loggers."""
    global _configured  # noqa: PLW0603 - logging is one per process
    _configured = level
    _set(LogLevels(level))


def log_levels() -> LogLevels:
    """The levels now."""
    return LogLevels(_word(logging.getLogger().level), dict(_named))


def change_log_levels(levels: LogLevels) -> None:
    """These levels hold from now on, in this process. It is logged, whatever they are."""
    before = log_levels()
    _set(levels)
    if before != levels:
        named = "".join(f", {name} {level}" for name, level in sorted(levels.loggers.items()))
        text = f"log levels are changed: {levels.level}{named}"
        record = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
        logger.handle(logging.makeLogRecord(record))


def read_log_levels(data: object) -> LogLevels:
    """Levels from JSON: ``{"level": "info", "loggers": {"gogeta.registry": "debug"}}``. Raises InvalidInputError."""
    problems: list[Problem] = []
    if not isinstance(data, dict):
        raise InvalidInputError("log levels", (Problem((), 'expected an object such as {"level": "debug"}'),))
    problems.extend(Problem((str(key),), "is not known") for key in data if key not in ("level", "loggers"))
    level, loggers = data.get("level"), data.get("loggers", {})
    if level not in LEVELS:
        problems.append(Problem(("level",), _expected(level)))
    if not isinstance(loggers, dict):
        problems.append(Problem(("loggers",), "expected an object of loggers and their levels"))
        loggers = {}
    if len(loggers) > MOST_LOGGERS:
        problems.append(Problem(("loggers",), f"expected at most {MOST_LOGGERS}, not {len(loggers)}"))
    for name, word in list(loggers.items())[:MOST_LOGGERS]:
        if len(name) > _LONGEST or not _NAME(name):
            shown = name[:_LONGEST]
            problems.append(Problem(("loggers",), f"expected the name of a logger such as gogeta.net, not {shown!r}"))
        elif word not in LEVELS:
            problems.append(Problem(("loggers", name), _expected(word)))
    if problems:
        raise InvalidInputError("log levels", tuple(problems))
    return LogLevels(str(level), dict(loggers))


@contextlib.contextmanager
def level_signals(change: Callable[[LogLevels], None] = change_log_levels) -> Iterator[None]:
    """While the block runs, SIGUSR1 means debug for all, and SIGUSR2 what the settings say."""
    loop = asyncio.get_running_loop()

    def debug() -> None:
        change(LogLevels("debug"))

    def back() -> None:
        change(LogLevels(_configured))

    loop.add_signal_handler(signal.SIGUSR1, debug)
    loop.add_signal_handler(signal.SIGUSR2, back)
    try:
        yield
    finally:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.remove_signal_handler(number)
            # One that comes while we end means no harm.
            signal.signal(number, signal.SIG_IGN)


def _set(levels: LogLevels) -> None:
    root = logging.getLogger()
    root.setLevel(levels.level.upper())
    for name in _named:
        logging.getLogger(name).setLevel(logging.NOTSET)
    _named.clear()
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    for name, level in levels.loggers.items():
        logging.getLogger(name).setLevel(level.upper())
        _named[name] = level


def _word(number: int) -> str:
    word = logging.getLevelName(number).lower()
    return word if word in LEVELS else _configured


def _expected(given: object) -> str:
    shown = repr(given) if isinstance(given, str) and len(given) <= _LONGEST else type(given).__name__
    return f"expected {', '.join(LEVELS[:-1])} or {LEVELS[-1]}, not {shown}"
