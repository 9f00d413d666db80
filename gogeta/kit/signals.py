"""SIGTERM and SIGINT as an event: the first one asks for an orderly end, a second one ends at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from typing import Final

logger = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """The event that the first SIGTERM or SIGINT sets, while the block runs.

    A second one takes its usual course: the process ends at once, and what it had under way is left as it is, which
    every part of this product recovers from.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stopped(number: signal.Signals) -> None:
        if not stop.is_set():
            logger.info("%s: ending; once more to end at once", number.name)
            stop.set()
            return
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped, number)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
