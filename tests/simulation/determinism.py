"""What has to stand still for a seed to be one life: clocks, addresses of memory, the look of the machine's network.

Only while a life is lived; afterwards everything is as it was. Besides, ``python -m tests.simulation`` runs itself with
a fixed PYTHONHASHSEED, because the order of sets of names depends on it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final
from unittest.mock import patch

from gogeta.kit import clock
from gogeta.net.fleet import Entry
from gogeta.registry import lead
from passivator.drivers import docker_view
from tests.simulation.world import World

EPOCH: Final = 1_767_225_600.0
"""Wall-clock time at the birth of every world."""


class _Clock:
    """In the place of the module ``time``, where the product reads it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time_ns(self) -> int:
        """By the host of whoever asks."""
        running = self._world.scheduler.running
        offset = running.wall_offset if running is not None else 0.0
        return round((EPOCH + self._world.scheduler.now + offset) * 1e9)

    def time(self) -> float:
        """The same in seconds."""
        return self.time_ns() / 1e9

    def monotonic(self) -> float:
        """The world's time."""
        return self._world.scheduler.now


class _Listening(logging.Handler):
    """Log lines become part of the trace; a traceback in one is a fault of ours."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO if world.tracing else logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """As logging has it."""
        running = self._world.scheduler.running
        name = running.name if running is not None else "?"
        self._world.tell(name, f"log {record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self._world.violated("FAULT", f"{name}: {record.getMessage()} ({type(error).__name__}: {error})")


def _by_name(entry: Any) -> int:  # noqa: ANN401 - an Entry
    return hash(entry.name)


@contextlib.contextmanager
def of(world: World) -> Iterator[None]:
    """Within it, the product lives in this world."""
    handler = _Listening(world)
    loggers = [logging.getLogger(name) for name in ("gogeta", "passivator", "asyncio")]
    kept = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO if world.tracing else logging.ERROR)
        logger.propagate = False
        logger.addHandler(handler)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with (
            patch.object(clock, "time", _Clock(world)),
            patch.object(lead, "exact", lambda: world.scheduler.now),
            patch.object(Entry, "__hash__", _by_name),
            patch.object(docker_view, "is_attached", lambda _: True),
        ):
            yield
    finally:
        for logger, (level, propagate) in zip(loggers, kept, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        if collecting:
            gc.enable()


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Within it, nobody hears what objects say when they are collected."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        sys.unraisablehook = hook
