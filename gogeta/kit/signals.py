"""Signals as events: SIGTERM and SIGINT ask for an orderly end, SIGHUP for the new version to take over.

The first SIGTERM or SIGINT asks, a second one ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Final

logger = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
OURS: Final = (*STOP_SIGNALS, signal.SIGHUP)
_TERMINALS: Final = (0, 1, 2)


@contextlib.contextmanager
def stop_signals(at_once: Callable[[], None] = lambda: None) -> Iterator[asyncio.Event]:
    """The event that the first SIGTERM or SIGINT sets, while the block runs.

    A second one takes its usual course, after ``at_once``: the process ends at once, and what it had under way is left
    as it is, which every part of this product recovers from. Signals that a process before this one had blocked while
    it became this one (``blocked``) are heard from here on.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stopped(number: signal.Signals) -> None:
        if not stop.is_set():
            logger.info("%s: ending; once more to end at once", number.name)
            stop.set()
            return
        at_once()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def asked_once() -> Iterator[asyncio.Event]:
    """As ``stop_signals``, for a process whose parent decides when it has taken too long: asking again does nothing.

    A service manager may signal all processes of a service, and the parent asks, too.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        # For good: whoever asks while the interpreter ends shall not find a process without a handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def hangups(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """The event that SIGHUP sets, while the block runs; its user clears it.

    A terminal that is closed sends the same signal. Then nobody asked for anything but the end: ``stop`` is set.
    """
    loop = asyncio.get_running_loop()
    hangup = asyncio.Event()
    terminals = [number for number in _TERMINALS if _is_terminal(number)]

    def hung_up() -> None:
        if terminals and not any(_is_terminal(number) for number in terminals):
            logger.info("SIGHUP: the terminal is gone; ending")
            stop.set()
        else:
            hangup.set()

    loop.add_signal_handler(signal.SIGHUP, hung_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield hangup
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


class Blocked:
    """Signals that wait, for the program that this process is about to become (a mask outlives exec).

    The mask is this thread's. Others still catch what comes, and what they have caught would end with them: ``caught``
    says so, and whoever asks at the last moment need not become anything.
    """

    def __init__(self) -> None:
        """From now on. In the main thread, of a process with a loop that hears signals."""
        signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
        self._reading, self._writing = os.pipe()
        for end in (self._reading, self._writing):
            os.set_blocking(end, False)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._numbers = b""

    def caught(self) -> bool:
        """Whether another thread has caught one meanwhile."""
        with contextlib.suppress(BlockingIOError):
            self._numbers += os.read(self._reading, 64)
        return bool(self._numbers)

    def end(self) -> None:
        """Hear them again, those included that others have caught."""
        signal.set_wakeup_fd(self._before)
        self.caught()
        os.close(self._reading)
        os.close(self._writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS)
        for number in set(self._numbers):
            os.kill(os.getpid(), number)


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False
