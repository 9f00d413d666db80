"""Memory for those who wait: how much each needs, and putting the longest idle to sleep when it is short.

Who goes is decided in ``core.turns``, who may go by the idle policy: nobody in use, nobody who is kept awake, nobody
who has only just come up. Putting to sleep is the idle policy's own compare-and-set, with another cause. It starts
and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NoReturn

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import Judgement, TenantRecord
from gogeta.domain.tenant import Tenant
from gogeta.kit.clock import monotonic, wall_ms
from gogeta.registry.store import RegistryError
from passivator.core.turns import Idler, make_room
from passivator.slumber import kept_awake
from passivator.surroundings import Surroundings

logger = logging.getLogger(__name__)

_LOOK: Final = 0.5
"""Seconds between looks while memory is short: somebody may have become idle for long enough."""


def need_of(tenant: Tenant, default: int) -> int:
    """The bytes of memory that a tenant counts for: what it declares, else ``default``."""
    spec = tenant.docker or tenant.process
    return default if spec is None or spec.memory is None else spec.memory


class Room:
    """Makes room for the queue's first. ``run`` it as a task."""

    def __init__(
        self,
        around: Surroundings,
        occupants: Callable[[], Iterable[TenantRecord]],
        may_go: Callable[[TenantRecord, float], Awaitable[bool]],
        *,
        min_awake: float,
        enabled: bool,
    ) -> None:
        """``occupants``: all that take memory now; ``min_awake``: seconds of silence before one may be put to sleep.

        ``may_go``: whether nothing keeps this one awake that has been silent for so many seconds.
        """
        self._around = around
        self._queue, self._registry, self._meters = around.queue, around.registry, around.meters
        self._policy, self._need = around.policy, around.need
        self._occupants, self._may_go = occupants, may_go
        self._min_awake, self._enabled = min_awake, enabled
        self._short = asyncio.Event()
        self._asked: dict[str, int] = {}
        """Those put to sleep by us, and the revision of that wish: our copy may not have it yet."""
        self._queue.short = self._short.set

    async def run(self) -> NoReturn:
        """Make room whenever it is short, for ever."""
        while True:
            await self._short.wait()
            self._short.clear()
            if self._enabled and self._queue.missing:
                try:
                    await self._make()
                except RegistryError as error:
                    logger.info("no room can be made: %s", error)
            # What became free meanwhile was reviewed by whoever freed it.
            await asyncio.sleep(_LOOK)
            self._queue.review()

    async def _make(self) -> None:
        coming, idlers, judged = 0, [], dict[str, tuple[TenantRecord, Judgement]]()
        now = monotonic()
        for record in self._occupants():
            need = self._need(record.tenant)
            if self._goes(record):
                coming += need
            elif (spare := self._spare(record, now)) is not None:
                silent, judgement = spare
                idlers.append(Idler(record.name, need, silent))
                judged[record.name] = record, judgement
        for name in await self._willing(idlers, self._queue.missing - coming, judged):
            record, judgement = judged[name]
            desired = record.desired
            change = await self._registry.passivate(
                name,
                judgement,
                desired.wakes,
                Cause.ROOM,
                recent_wakes=desired.recent_wakes,
                trace=desired.trace,
            )
            if change is None:
                # Used or changed since: the next look finds another.
                self._meters.take_backs.inc()
                return
            self._asked[name] = change.revision
            logger.info("tenant %s is put to sleep to make room for others", name)

    async def _willing(
        self, idlers: list[Idler], missing: int, judged: dict[str, tuple[TenantRecord, Judgement]]
    ) -> tuple[str, ...]:
        """Who goes, of those whom nothing else keeps awake: only who would have to go is asked."""
        silent = {one.name: one.silent for one in idlers}
        while chosen := make_room(idlers, missing):
            stay = {name for name in chosen if not await self._may_go(judged[name][0], silent[name])}
            if not stay:
                break
            idlers = [one for one in idlers if one.name not in stay]
        return chosen

    def _goes(self, record: TenantRecord) -> bool:
        """Whether it is on its way to sleep already."""
        if record.desired_revision >= self._asked.get(record.name, 0):
            self._asked.pop(record.name, None)
            return record.desired.state is not Desired.STARTED
        return True

    def _spare(self, record: TenantRecord, now: float) -> tuple[float, Judgement] | None:
        if record.desired.state is not Desired.STARTED or record.observed.state is not Observed.STARTED:
            return None
        if kept_awake(self._around, record, now):
            return None
        verdict = self._policy.spare(
            record.name,
            idle_timeout=record.tenant.idle_timeout,
            min_awake=self._min_awake,
            desired_revision=record.desired_revision,
            stored_ms=max(record.desired.since, record.observed.since),
            now=now,
            wall_ms=wall_ms(),
        )
        return (verdict.silent, verdict.judged) if verdict is not None else None
