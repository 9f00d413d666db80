"""Keeps declarations equal to the labels of containers: looks, compares, writes, and says what it could not take.

Level-triggered: each look is at all labels and all records, so an event that was missed, a restart and a lost registry
are all the same. Events only say when to look; many of them are one look. While the engine or the registry does not
answer nothing is decided, and so nothing withdrawn. What labels mean and who wins is decided in ``core``; only the
passivator that leads runs this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from gogeta.domain.discovery import Discovery, Refusal, Refused, shortened
from gogeta.domain.lifecycle import Desired
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic, wall_ms
from gogeta.kit.tasks import first_of
from gogeta.registry import keys
from gogeta.registry.discovering import Rewrite, note_discovery, rewrite
from gogeta.registry.lead import Lead
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.records import Records
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryError
from passivator.core.discovery import Verdict, settle
from passivator.core.labels import Found, read_labelled
from passivator.drivers.base import DriverError
from passivator.drivers.labelled import LabelSource
from passivator.meters import Meters

logger = logging.getLogger(__name__)

GATHER: Final = 0.3
"""Seconds that a look waits after the event that asked for it: `compose up` is many events."""


class Labels:
    """Discovers for one term of leading. ``run`` it as a task, when ``mirror`` has been whole once."""

    def __init__(  # noqa: PLR0913 - what it reads, what it writes, and how long it waits
        self,
        source: LabelSource,
        registry: Registry,
        mirror: TenantMirror,
        meters: Meters,
        lead: Lead,
        *,
        led: Callable[[str], bool],
        fresh: Callable[[], bool],
        running: Callable[[TenantName], None],
        patience: float,
        interval: float,
    ) -> None:
        """``source`` is used and not owned; ``registry`` writes only while ``lead`` holds.

        ``led``: whether another group has a leader; ``fresh``: whether ``mirror`` is current; ``running`` hears of
        tenants that run and should be asleep, as far as is known. ``patience``: seconds that containers must be gone
        until their tenant is withdrawn; ``interval``: seconds between looks that nobody asked for.
        """
        self._source = source
        self._registry = registry
        self._mirror = mirror
        self._meters = meters
        self._lead = lead
        self._led, self._fresh, self._running = led, fresh, running
        self._patience, self._interval = patience, interval
        self._changed = asyncio.Event()
        self._missing: dict[str, float] = {}
        """Tenants of ours that no labels declare, and since when."""
        self._told: tuple[Refusal, ...] | None = None
        """Refusals as they are written; None: not known."""
        self._logged: frozenset[Refusal] = frozenset()

    def __repr__(self) -> str:
        """One line: whose, and how many are about to be withdrawn."""
        return f"<Labels of {self._lead.group}: {len(self._missing)} missing>"

    async def run(self) -> None:
        """Follow and look, for ever."""
        unsubscribe = self._mirror.subscribe(self._declared)
        try:
            await asyncio.gather(self._follow(), self._keep_looking())
        finally:
            unsubscribe()

    def _declared(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        """The mirror's subscriber: another declaration may free a host, or take one."""
        if before is None or after is None or before.revision != after.revision:
            self._changed.set()

    async def _follow(self) -> NoReturn:
        backoff = Backoff(first=0.2, limit=5.0)
        while True:
            try:
                async with contextlib.aclosing(self._source.changes()) as changes:
                    async for _ in changes:
                        backoff.reset()
                        self._changed.set()
                logger.info("the engine's events ended; following them anew")
            except DriverError as error:
                logger.debug("the engine's events cannot be followed: %s", error)
            await asyncio.sleep(backoff.next())

    async def _keep_looking(self) -> NoReturn:
        backoff = Backoff(first=0.2, limit=10.0)
        while True:
            self._changed.clear()
            try:
                await self.look()
            except (DriverError, RegistryError) as error:
                logger.debug("labels are not compared yet: %s", error)
                # What was seen to be missing has to be seen again, by looks that succeed.
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            if await first_of(self._changed, timeout=self._pause()):
                await asyncio.sleep(GATHER)

    def _pause(self) -> float:
        due = min((since + self._patience - monotonic() for since in self._missing.values()), default=self._interval)
        return min(max(due, 0.05), self._interval)

    async def look(self) -> None:
        """Compare all labels with all declarations, once. Raises DriverError, RegistryError: nothing was decided."""
        listed = await self._source.list()
        if not self._fresh():
            raise RegistryError("what is declared is not known at the moment")
        found, refused = read_labelled(listed, self._lead.group)
        verdict = self._settled(found, refused, self._mirror.records, self._mirror.quarantine)
        now = monotonic()
        self._missing = {name: self._missing.get(name, now) for name in verdict.missing}
        overdue = frozenset(name for name, since in self._missing.items() if now - since >= self._patience)
        if verdict.put or overdue:
            await self._rewrite(found, refused, overdue)
        await self._tell(verdict)
        for each in verdict.accepted:
            self._notice_running(each)

    def _settled(
        self,
        found: tuple[Found, ...],
        refused: tuple[Refusal, ...],
        records: Mapping[TenantName, TenantRecord],
        quarantine: Mapping[str, str],
    ) -> Verdict:
        unreadable = {key.removeprefix(keys.TENANTS) for key in quarantine if key.startswith(keys.TENANTS)}
        return settle(
            found,
            refused,
            records,
            group=self._lead.group,
            led=self._led,
            unreadable=unreadable,
        )

    async def _rewrite(self, found: tuple[Found, ...], refused: tuple[Refusal, ...], overdue: frozenset[str]) -> None:
        running = frozenset(each.tenant.name for each in found if each.running)

        def decide(records: Records) -> Rewrite:
            verdict = self._settled(found, refused, records.by_name, records.quarantine)
            gone = tuple(name for name in verdict.missing if name in overdue)
            return Rewrite(put=verdict.put, remove=gone, awake=running)

        before = set(self._mirror.records)
        done = await rewrite(self._registry, decide)
        for tenant in done.put:
            what = "changed" if tenant.name in before else "declared"
            self._meters.discovered.labels(what).inc()
            logger.info("tenant %s was %s by labels", tenant.name, what)
        for name in done.remove:
            self._missing.pop(name, None)
            self._meters.discovered.labels("withdrawn").inc()
            logger.info("tenant %s is withdrawn: its containers are gone", name)

    async def _tell(self, verdict: Verdict) -> None:
        """Log what is new, count what there is, and write what is in the way for whoever shows tenants."""
        refused = verdict.refused
        for refusal in refused:
            if refusal not in self._logged:
                logger.warning("%s", refusal)
        self._logged = frozenset(refused)
        for why in Refused:
            self._meters.refused_labels.labels(why.value).set(sum(refusal.why is why for refusal in refused))
        if refused != self._told:
            kept, more = shortened(refused)
            discovery = Discovery(at=wall_ms(), by=self._registry.by, refusals=kept, more=more)
            await note_discovery(self._registry.store, self._lead.group, discovery, self._lead.lease)
            self._told = refused

    def _notice_running(self, found: Found) -> None:
        record = self._mirror.records.get(TenantName(found.tenant.name))
        if found.running and record is not None and record.desired.state is not Desired.STARTED:
            # Its worker decides what that means. Nobody else may have seen it: a driver knows adopted containers only
            # once it has had to do with them.
            self._running(TenantName(found.tenant.name))
