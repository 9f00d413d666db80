"""Last accesses: noted on the way at the cost of a set insertion, written in batches.

A tenant's first use after a silence is written at the next flush; while it stays in use, at most once per interval,
which is a tenth of its idle timeout or less. So a value that passivator judges by is never older than that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container
from typing import TYPE_CHECKING, Final, NoReturn

from gogeta.domain.errors import GogetaError
from gogeta.domain.lifecycle import Meeting
from gogeta.domain.state import LastAccess
from gogeta.kit.clock import wall_ms

if TYPE_CHECKING:
    from gogeta.net.fleet import Entry, Fleet
    from gogeta.net.tally import Tally
    from gogeta.registry.registry import Registry

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.25
_SHARE: Final = 10
"""The interval is at most this part of the idle timeout."""


class Activity:
    """Which tenants were used since they were last written."""

    def __init__(self, fleet: Fleet, registry: Registry, tally: Tally, interval: float) -> None:
        """``interval``: most often a tenant in use is written, in seconds."""
        self._fleet = fleet
        self._registry = registry
        self._tally = tally
        self._interval = interval
        self._writing = asyncio.Lock()
        self._touched: set[Entry] = set()
        self.touched: Container[Entry] = self._touched
        """Those that are noted already: they need not be noted again."""
        self.touch = self._touched.add
        """Note that a tenant is in use; called at the begin and the end of every exchange that is a use."""

    def due(self, entry: Entry, now: float) -> bool:
        """Whether the entry may be written again."""
        timeout = entry.record.tenant.sleeps_after
        interval = self._interval if timeout is None else min(self._interval, timeout / _SHARE)
        return now - entry.written_at >= interval

    async def run(self) -> NoReturn:
        """Write what was used, for ever. While the registry is away nothing is forgotten: it is written later."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush(loop.time())

    async def flush(self, now: float, *, everything: bool = False) -> None:
        """Write those whose time has come (or all that were used): a failed write is tried again with the next."""
        # One write at a time: the last flush of all must not pass by one that is under way, and may fail.
        async with self._writing:
            await self._flush(now, everything=everything)

    async def _flush(self, now: float, *, everything: bool) -> None:
        known = self._fleet.known
        # Whoever was answered without waking it has not used it. That it is in use no more is news all the same.
        self._touched.difference_update(
            [
                entry
                for entry in self._touched
                if entry.meeting is Meeting.WAKE and not entry.in_flight and not entry.written_in_use
            ]
        )
        batch = [
            entry
            for entry in self._touched
            if known(entry) and not entry.record.tenant.routed_only and (everything or self.due(entry, now))
        ]
        self._touched.difference_update([entry for entry in self._touched if not known(entry)], batch)
        # Routed-only tenants never sleep: nobody reads their accesses.
        self._touched.difference_update([entry for entry in self._touched if entry.record.tenant.routed_only])
        if not batch:
            return
        at, by = wall_ms(), self._registry.by
        try:
            in_use = {entry: entry.in_use for entry in batch}
            await self._registry.record_accesses(
                {
                    entry.name: LastAccess(at=at, by=by, in_flight=count, tunnels=entry.tunnels)
                    for entry, count in in_use.items()
                }
            )
        except GogetaError as error:
            self._tally.access_failures += 1
            logger.info("last accesses could not be written, they are kept: %s", error)
            self._touched.update(batch)
            return
        self._tally.access_writes += len(batch)
        for entry in batch:
            entry.written_at, entry.written_in_use = now, in_use[entry]
            if entry.in_use:
                # Still in use: it is due again after its interval, whether or not anything else happens.
                self._touched.add(entry)
