"""A watch that collects what it is told, for tests that look at it later."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gogeta.registry.store import Change, Changes, Store


class Watching:
    """Watches in the background. `async with Watching(store, prefix, after) as watching:` returns when it stands."""

    def __init__(self, store: Store, prefix: str, after: int) -> None:
        self._store = store
        self._prefix = prefix
        self._after = after
        self._told = asyncio.Condition()
        self.batches: list[Changes] = []
        self.ended: BaseException | None = None
        self.done = False

    @property
    def changes(self) -> list[Change]:
        """All changes told, in order."""
        return [change for batch in self.batches for change in batch.changes]

    async def _run(self) -> None:
        try:
            async for batch in self._store.watch(self._prefix, self._after):
                async with self._told:
                    self.batches.append(batch)
                    self._told.notify_all()
        except Exception as error:  # noqa: BLE001  # kept for the test to look at
            self.ended = error
        async with self._told:
            self.done = True
            self._told.notify_all()

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> float:
        """Wait for something to be true of what was told; how long that took, in seconds."""
        began = time.monotonic()
        async with asyncio.timeout(timeout), self._told:
            await self._told.wait_for(lambda: condition() or self.done)
        assert condition(), f"the watch ended: {self.ended!r}"
        return time.monotonic() - began

    async def until_done(self, timeout: float = 10.0) -> float:
        """Wait for its end; how long that took, in seconds."""
        began = time.monotonic()
        async with asyncio.timeout(timeout), self._told:
            await self._told.wait_for(lambda: self.done)
        return time.monotonic() - began

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.until(lambda: bool(self.batches))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def watch_to_its_end(store: Store, prefix: str, after: int, timeout: float = 10.0) -> None:
    """A watch that is to end with an error before it tells anything."""
    async with asyncio.timeout(timeout):
        async for changes in store.watch(prefix, after):
            assert changes.changes == ()
