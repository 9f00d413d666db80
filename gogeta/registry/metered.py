"""A store whose calls are counted, and whose watch is measured by our own writes.

How far a watch is behind cannot be read from clocks of two hosts. It can be seen here: a commit of ours under a prefix
that is watched through the same store has to come back in that watch, and both moments are on one clock. What has not
come back is the gauge, what has is the histogram. It decides nothing, and every call goes through as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta.kit.calls import OTHER, Calls
from gogeta.kit.clock import monotonic
from gogeta.kit.families import gauge, histogram
from gogeta.kit.histogram import Histogram
from gogeta.registry.store import (
    Changes,
    Committed,
    CompactedError,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryRefusedError,
    RegistryUnavailableError,
    Store,
)

MOST_AWAITED: Final = 1000
"""Writes of ours that are looked for in one watch; while there are so many, further ones are not measured."""
_OPERATIONS: Final = ("get", "list", "commit", "lease")
_STREAMS: Final = ("watch",)
_UNAVAILABLE: Final = "unavailable"
_REFUSED: Final = "refused"
_COMPACTED: Final = "compacted"
_KINDS: Final = (_UNAVAILABLE, _REFUSED, _COMPACTED, OTHER)


def _kind(error: Exception) -> str:
    match error:
        case RegistryUnavailableError():
            return _UNAVAILABLE
        case RegistryRefusedError():
            return _REFUSED
        case CompactedError():
            return _COMPACTED
        case _:
            return OTHER


class _Watched:
    """One prefix that is watched: what of ours has not come back yet."""

    def __init__(self, told: int) -> None:
        self.told = told
        """Everything up to this revision has come."""
        self.awaited: deque[tuple[int, float]] = deque()
        """Revisions of ours and when they were committed, in order."""


class MeteredStore:
    """The store's contract (``store.Store``), counted. ``store`` is owned: closed with this one."""

    def __init__(self, store: Store) -> None:
        """Nothing has been called yet."""
        self._store = store
        self._watched: dict[str, _Watched] = {}
        self.calls = Calls(_OPERATIONS, _STREAMS, _KINDS, _kind)
        self.lag = Histogram()
        """From the answer to a commit of ours until the watch told of it."""

    def __repr__(self) -> str:
        """Whose calls are counted."""
        return f"<MeteredStore of {self._store!r}>"

    @property
    def behind(self) -> float:
        """Seconds since the oldest commit of ours that its watch has not told of; 0: none is missing."""
        oldest = [watched.awaited[0][1] for watched in self._watched.values() if watched.awaited]
        return max(monotonic() - min(oldest), 0.0) if oldest else 0.0

    async def get(self, key: str) -> Entry | None:
        """See ``Store``."""
        with self.calls.made("get"):
            return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        """See ``Store``."""
        with self.calls.made("list"):
            listing = await self._store.list(prefix)
        if (watched := self._watched.get(prefix)) is not None:
            self._told(watched, listing.revision)
        return listing

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """See ``Store``."""
        with self.calls.made("commit"):
            result = await self._store.commit(operations, guards)
        if result.happened and self._watched:
            self._committed(operations, result.revision)
        return result

    def _committed(self, operations: Sequence[Put | Delete], revision: int) -> None:
        for prefix, watched in self._watched.items():
            if not any(operation.key.startswith(prefix) for operation in operations):
                continue
            if watched.told >= revision:
                # The watch was faster than the answer.
                self.lag.add(0.0)
            elif len(watched.awaited) < MOST_AWAITED:
                watched.awaited.append((revision, monotonic()))

    def _told(self, watched: _Watched, revision: int) -> None:
        watched.told = max(watched.told, revision)
        while watched.awaited and watched.awaited[0][0] <= watched.told:
            self.lag.add(monotonic() - watched.awaited.popleft()[1])

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """See ``Store``."""
        # What is awaited stays when a watch breaks: it goes on from where it was, or everything is listed.
        watched = self._watched.setdefault(prefix, _Watched(after))
        self._told(watched, after)
        try:
            with self.calls.tried("watch"):
                async with contextlib.aclosing(self._store.watch(prefix, after)) as stream:
                    async for changes in stream:
                        self._told(watched, changes.revision)
                        yield changes
        except (GeneratorExit, asyncio.CancelledError):
            # Nobody watches any more: nothing is waited for.
            if self._watched.get(prefix) is watched:
                del self._watched[prefix]
            raise

    async def grant(self, ttl: float) -> int:
        """See ``Store``."""
        with self.calls.made("lease"):
            return await self._store.grant(ttl)

    async def keep_alive(self, lease: int) -> bool:
        """See ``Store``."""
        with self.calls.made("lease"):
            return await self._store.keep_alive(lease)

    async def revoke(self, lease: int) -> None:
        """See ``Store``."""
        with self.calls.made("lease"):
            await self._store.revoke(lease)

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """See ``Store``."""
        return self._store.endpoints

    async def close(self) -> None:
        """See ``Store``."""
        await self._store.close()


class RegistryCollector(Collector):
    """The metrics of a metered store, as those of the program ``program``."""

    def __init__(self, program: str, store: MeteredStore) -> None:
        """Read at each scrape."""
        self._prefix = f"{program}_registry"
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        store = self._store
        yield from store.calls.collect(self._prefix, "registry")
        yield histogram(
            f"{self._prefix}_watch_lag_seconds",
            "From a write of our own being answered until our watch told of it.",
            {(): store.lag},
        )
        yield gauge(
            f"{self._prefix}_watch_behind_seconds",
            "Age of the oldest write of our own that our watch has not told of; 0 when it has told of all.",
            {(): store.behind},
        )
