"""A live copy of a part of the registry, in memory, for those who have to decide at once.

List, then watch from that revision without a gap; list again when history was compacted; watch again from the last
revision told when the registry was away. While it is away the copy stays as it was and says so (``stale``). The loop is
level-triggered: a subscriber that missed a call finds the truth in the copy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn, Protocol

from gogeta.domain.state import ObservedState, TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic
from gogeta.registry import keys
from gogeta.registry.records import Records
from gogeta.registry.store import Change, CompactedError, Listing, RegistryError, RegistryUnavailableError, Store

logger = logging.getLogger(__name__)

Subscriber = Callable[[TenantName, TenantRecord | None, TenantRecord | None], None]
"""Called on the loop with name, record before, record after (None: not there). Must not block and not raise."""


class Sink(Protocol):
    """What a mirrored part becomes."""

    def reset(self, listing: Listing) -> None:
        """Become what the listing says."""
        ...

    def changed(self, change: Change) -> None:
        """Take one change."""
        ...


class Mirror:
    """Keeps a sink equal to the keys under a prefix. ``run`` it as a task."""

    def __init__(self, store: Store, prefix: str, sink: Sink) -> None:
        """The store is used and not owned."""
        self._store = store
        self._prefix = prefix
        self._sink = sink
        self._synced = asyncio.Event()
        self.revision = 0
        """Everything up to here is in the copy; 0 before the first listing."""
        self.stale_since: float | None = None
        """Loop time since which the registry does not answer; None while it does."""
        self.last_error: RegistryError | None = None
        self.resyncs = 0
        """Listings made so far: more than one means that a watch could not be continued."""

    @property
    def synced(self) -> bool:
        """Whether the copy has been whole once."""
        return self._synced.is_set()

    @property
    def stale(self) -> bool:
        """Whether the copy may be behind, because the registry does not answer."""
        return self.stale_since is not None or not self.synced

    async def wait_synced(self) -> None:
        """Wait until the copy has been whole once."""
        await self._synced.wait()

    async def run(self) -> NoReturn:
        """Keep the copy current, for ever. Registry errors are waited out with back-off and logged once per outage."""
        backoff = Backoff(first=0.1, limit=3.0)
        listed = False
        while True:
            try:
                if not listed:
                    listing = await self._store.list(self._prefix)
                    self._sink.reset(listing)
                    self.revision, listed = listing.revision, True
                    self.resyncs += 1
                    self._synced.set()
                # Only a watch that stands ends an outage: a listing that succeeds again and again is a heavy one.
                async for changes in self._store.watch(self._prefix, self.revision):
                    self._alive(backoff)
                    for change in changes.changes:
                        self._sink.changed(change)
                    self.revision = max(self.revision, changes.revision)
                raise RegistryUnavailableError("the watch ended")
            except CompactedError:
                logger.info("history of %s was compacted: listing again", self._prefix)
                listed = False
                await asyncio.sleep(backoff.next())
            except RegistryError as error:
                # Anything but unavailability may mean that our place in history is worth nothing any more.
                listed = listed and isinstance(error, RegistryUnavailableError)
                self._away(error)
                await asyncio.sleep(backoff.next())

    def _alive(self, backoff: Backoff) -> None:
        backoff.reset()
        if self.stale_since is not None:
            logger.warning("the registry answers again after %.1f s", monotonic() - self.stale_since)
            self.stale_since = self.last_error = None

    def _away(self, error: RegistryError) -> None:
        self.last_error = error
        if self.stale_since is None:
            self.stale_since = monotonic()
            logger.warning("the registry does not answer, serving what is known: %s", error)


class TenantMirror:
    """The tenants of the registry, live: ``records`` is the copy, subscribers hear of every change."""

    def __init__(self, store: Store) -> None:
        """Mirrors ``keys.STATE``."""
        self._records = Records()
        self._subscribers: list[Subscriber] = []
        self._reported: dict[str, str] = {}
        self.source = Mirror(store, keys.STATE, self)

    @property
    def records(self) -> dict[TenantName, TenantRecord]:
        """Name to record; the dictionary is live, the records are frozen."""
        return self._records.by_name

    @property
    def quarantine(self) -> dict[str, str]:
        """Keys whose value could not be read, and why."""
        return self._records.quarantine

    @property
    def leftovers(self) -> tuple[TenantName, ...]:
        """Names with an observed state and no declaration."""
        return self._records.leftovers

    def observed(self, name: str) -> tuple[ObservedState, int]:
        """The observed state and its key's revision (0: there is none), whether or not there is a declaration."""
        return self._records.observed(name)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` on every change from now on; the returned function ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""
        before = dict(self._records.by_name)
        self._tell(before, self._records.reset(listing))

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        name = TenantName(change.key.rpartition("/")[2])
        self._tell({name: self._records.by_name.get(name)}, self._records.apply_all((change,)))

    def _tell(
        self, before: dict[TenantName, TenantRecord] | dict[TenantName, TenantRecord | None], touched: set[TenantName]
    ) -> None:
        if self.quarantine != self._reported:
            for key, problem in self.quarantine.items():
                if self._reported.get(key) != problem:
                    logger.error("skipped %s, what was known before stays in force: %s", key, problem)
            self._reported = dict(self.quarantine)
        for name in touched:
            after = self._records.by_name.get(name)
            for subscriber in tuple(self._subscribers):
                subscriber(name, before.get(name), after)
