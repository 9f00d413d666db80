"""An event loop whose time jumps to the next timer when nothing else is ready.

A test that sleeps an hour takes no time and ends at exactly 3600.0. `looptime` (PyPI) was looked at: it patches every
loop of the run and counts idle iterations in real time; this one is a loop of its own, for the tests that ask for it.

Threads of `run_in_executor` are waited for in real time (their work takes none of the virtual); other threads are not
seen. Real sockets get a short real wait before each jump, which is a courtesy and no promise: tests of real
connections belong on a real loop.
When nothing can ever happen again (no timer, no thread, no socket), the loop says so instead of hanging.
"""

import asyncio
import concurrent.futures
import selectors
import threading
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

START = 1000.0
"""Virtual time at the birth of a loop: not 0, so that a forgotten initial value does not look like a time."""

REAL_WAIT = 5.0
"""Seconds of real time in which somebody else (a thread) may wake a loop that waits for nothing."""

SOCKET_COURTESY = 0.01
"""Seconds of real time given to real sockets before a jump."""


class NothingWillHappen(RuntimeError):
    """Every task waits, and there is no timer, no thread and no socket that could end it."""


class _JumpingSelector(selectors.DefaultSelector):
    """Waits in virtual time: tells its loop to jump instead of blocking for a timeout."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        events = super().select(0)
        if events or loop is None or (timeout is not None and timeout <= 0):
            return events
        while loop.busy_threads:
            events = super().select(REAL_WAIT)
            if events:
                return events
        has_sockets = len(self.get_map()) > 1  # one is the loop's own wake-up pipe
        if timeout is None:
            events = super().select(REAL_WAIT)
            if not events and not has_sockets:
                raise NothingWillHappen("every task waits, and there is no timer, no thread and no socket")
            return events
        if has_sockets:
            events = super().select(SOCKET_COURTESY)
            if events:
                return events
        loop.jump()
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at `START` and moves only by jumping to the next timer."""

    def __init__(self) -> None:
        self._now = START
        self._busy_lock = threading.Lock()
        self._busy = 0
        selector = _JumpingSelector()
        super().__init__(selector)
        # A loop runs the timers due before now plus this: above zero, so that those due exactly now are among them.
        self._clock_resolution = 1e-6
        selector.loop = self

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    @property
    def busy_threads(self) -> int:
        """How many `run_in_executor` calls are under way."""
        return self._busy

    def jump(self) -> None:
        """Move the time to the earliest timer; never back."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # no public way to the timers
        if scheduled:
            self._now = max(self._now, scheduled[0].when())

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[*_Ts], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """As the original; while the thread works, time stands still."""
        with self._busy_lock:
            self._busy += 1
        future: asyncio.Future[_T] = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """As the original; the threads are waited for in real time, for as long as they take."""
        with self._busy_lock:
            self._busy += 1
        try:
            await super().shutdown_default_executor()
        finally:
            with self._busy_lock:
                self._busy -= 1

    def _thread_done(self, _future: asyncio.Future[Any], /) -> None:
        with self._busy_lock:
            self._busy -= 1
