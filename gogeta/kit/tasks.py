"""The one way to start background work: named, held, and never failing in silence.

A bare ``asyncio.create_task`` may be collected while it runs, and its exception may never be seen; both are banned by
the linter outside this file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from gogeta.domain.errors import GogetaError

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Tasks:
    """A group of background tasks that end together.

    ``async with Tasks("name") as tasks: ...`` cancels what is left at the end and waits for it. A task that fails is
    logged with its name and traceback.
    """

    def __init__(self, name: str) -> None:
        """``name`` stands in every task's name and in the logs."""
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __repr__(self) -> str:
        """One line: who is running."""
        return f"<Tasks {self.name}: {sorted(task.get_name() for task in self._tasks)}>"

    def __len__(self) -> int:
        """How many are running."""
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run ``work`` in the background under ``name``."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if self._closed:
            task.cancel()
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # An error of ours says all in its words; where any other came from, only its traceback tells.
            trace = None if isinstance(error, GogetaError) else error
            logger.error("background task %s failed: %s", task.get_name(), error, exc_info=trace)

    async def close(self) -> None:
        """Cancel all and wait until they have ended. Idempotent."""
        self._closed = True
        while self._tasks:
            running = tuple(self._tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def __aenter__(self) -> Self:
        """Enter the group."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the group: nothing of it runs any more."""
        await self.close()


async def first_of(*events: asyncio.Event, timeout: float | None = None) -> bool:
    """Wait until one of the events is set; False when ``timeout`` seconds passed before."""
    if any(event.is_set() for event in events):
        return True
    loop = asyncio.get_running_loop()
    waits = [loop.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()
        # A cancellation of ours that comes while they end is not theirs: it passes.
        await asyncio.gather(*waits, return_exceptions=True)
