"""Work that exists only while there is something to do: a task when poked, a timer for a time to come, else nothing.

Thousands of tenants rest most of the time; none of them holds a task. It knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

from gogeta.kit.tasks import Tasks

logger = logging.getLogger(__name__)

AT_ONCE: Final = 0.0
"""The pause after a step that has to be followed by another one directly."""
UNTIL_POKED: Final = math.inf
_MAX_STEPS: Final = 200
"""Most steps without a pause: more are a mistake of ours, and must not become a hot loop."""
_LONG_PAUSE: Final = 5.0


class Pace:
    """Calls ``step`` again and again, one at a time; each call returns the pause until the next."""

    def __init__(self, name: str, step: Callable[[], Awaitable[float]], tasks: Tasks) -> None:
        """``step`` must not raise; ``tasks`` end with their owner."""
        self._name = name
        self._step = step
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.changed = asyncio.Event()
        """Set by ``poke``, cleared before each step: a step that waits for something watches it."""

    @property
    def at_work(self) -> bool:
        """Whether a step is under way."""
        return self._task is not None and not self._task.done()

    def poke(self) -> None:
        """Take a step now, or another one directly after the present one."""
        if self._closed:
            return
        self.changed.set()
        self._cancel_timer()
        if not self.at_work:
            self._task = self._tasks.start(self._work(), self._name)

    def close(self) -> None:
        """Take no step after the present one."""
        self._closed = True
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _work(self) -> None:
        steps = 0
        while not self._closed:
            self.changed.clear()
            pause = await self._step()
            if pause == AT_ONCE:
                steps += 1
                if steps < _MAX_STEPS:
                    continue
                logger.error("%s: %d steps without a pause; please report this", self._name, steps)
                pause = _LONG_PAUSE
                self.changed.clear()
            steps = 0
            if self.changed.is_set():
                continue
            if pause != UNTIL_POKED:
                self._timer = asyncio.get_running_loop().call_later(pause, self.poke)
            return
