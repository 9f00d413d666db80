"""Writes what happened to each tenant into its timeline: behind everything else, in batches, by compare-and-set.

It hears of changes from the mirror of the registry, so no start and no stop ever waits for it, and what it writes is
what others can see, too. While the registry is in trouble it keeps the news up to a bound, then drops and counts the
oldest. After a restart it goes on from what is written: ``fold`` finds out what is new. It decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.domain.timeline import News, Timeline, TimelineEvent, WakeReport, fold
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import wall_ms
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import MAX_TIMELINES, Registry
from gogeta.registry.store import RegistryError, RegistryRefusedError
from passivator.meters import Meters
from passivator.watches import WakeWatch

logger = logging.getLogger(__name__)

GATHER: Final = 1.0
"""Seconds between two rounds of writing: the steps of a quick start are one write."""
MOST_NEWS: Final = 64
"""Most news kept of one tenant until they are written."""
MOST_TENANTS: Final = 10_000
"""Most tenants of which news are kept."""
_CACHED: Final = 256
"""Timelines kept in memory between two writes."""
_LATELY: Final = 600_000
"""Milliseconds for which a change before our time is still looked up at the begin."""
_READ_AT_ONCE: Final = 8
"""Timelines read at the same time."""


class Chronicle:
    """The timelines of all tenants that are ours. ``run`` it as a task, when ``mirror`` has been whole once."""

    def __init__(
        self, registry: Registry, mirror: TenantMirror, meters: Meters, mine: Callable[[TenantRecord], bool]
    ) -> None:
        """``mine``: whether a tenant is ours to tell of; others' are others'."""
        self._registry = registry
        self._mirror = mirror
        self._meters = meters
        self._mine = mine
        self._news: dict[str, list[News]] = {}
        self._gone: set[str] = set()
        self._cache: OrderedDict[str, tuple[Timeline, int]] = OrderedDict()

    def __repr__(self) -> str:
        """One line: how much is to be written."""
        return f"<Chronicle: news of {len(self._news)} tenants>"

    # ------------------------------------------------------------------------------------------ what it is told

    def _look_around(self) -> None:
        """What may have changed while nobody wrote. The rest is told when it moves."""
        lately = wall_ms() - _LATELY
        for record in self._mirror.records.values():
            if not self._mine(record):
                continue
            up = record.desired.state is Desired.STARTED or record.observed.state is not Observed.STOPPED
            if up or (record.observed_revision and record.observed.since > lately):
                self._hear(record.name, record)

    def changed(self, name: str, before: TenantRecord | None, after: TenantRecord | None) -> None:
        """The mirror's subscriber: a tenant's record is another."""
        if after is None:
            self._news.pop(name, None)
            self._cache.pop(name, None)
            if before is not None and self._mine(before):
                self._gone.add(name)
            return
        self._gone.discard(name)
        if not self._mine(after) or not _is_news(before, after):
            return
        if before is not None and name not in self._news and name not in self._cache:
            # What was written last may be older than this.
            self._hear(name, before)
        self._hear(name, after)
        if (cause := after.desired.cause) is not None and after.desired.state is Desired.STARTED:
            asked_before = before.desired.wakes if before is not None else after.desired.wakes
            if after.desired.wakes > asked_before:
                self._meters.wakes.labels(cause.value).inc()

    def reported(self, name: str, report: WakeReport) -> None:
        """The proxy that asked for a wake tells how it went."""
        if not self._is_of_now(name, report):
            return
        self._hear(name, report)
        for phase in report.phases:
            if phase.name in ("asked", "known", "answered"):
                self._meters.wake_seconds.labels(phase.name).observe(phase.ms / 1000)
        self._meters.wake_seconds.labels("total").observe(sum(phase.ms for phase in report.phases) / 1000)

    def _is_of_now(self, name: str, report: WakeReport) -> bool:
        """Whether it is not left over from an earlier tenant of this name."""
        record = self._mirror.records.get(TenantName(name))
        return record is not None and self._mine(record) and report.wake <= record.desired.wakes

    def note(self, name: str, event: TimelineEvent) -> None:
        """Something that the records do not tell."""
        self._hear(name, event)

    def _hear(self, name: str, item: News) -> None:
        news = self._news.get(name)
        if news is None:
            if len(self._news) >= MOST_TENANTS:
                self._meters.timeline_dropped.inc()
                return
            news = self._news[name] = []
        news.append(item)
        if len(news) > MOST_NEWS:
            del news[0]
            self._meters.timeline_dropped.inc()

    # ------------------------------------------------------------------------------------------ what it writes

    async def run(self) -> None:
        """Hear and write, for ever."""
        self._look_around()
        unsubscribe = self._mirror.subscribe(self.changed)
        try:
            await asyncio.gather(WakeWatch(self._registry.store, self.reported).source.run(), self._keep_writing())
        finally:
            unsubscribe()

    async def _keep_writing(self) -> NoReturn:
        backoff = Backoff(first=GATHER, limit=30.0)
        told = False
        while True:
            await asyncio.sleep(GATHER)
            try:
                await self.write()
            except RegistryError as error:
                logger.debug("timelines are not written yet: %s", error)
                if isinstance(error, RegistryRefusedError) and not told:
                    logger.warning("timelines cannot be written: %s", error)
                    told = True
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                told = False

    async def write(self) -> None:
        """Write all that is known now. What could not be written is still there for the next time."""
        while self._news or self._gone:
            if gone := sorted(self._gone)[:MAX_TIMELINES]:
                await self._registry.forget_timelines(gone)
                self._gone.difference_update(gone)
            names = list(self._news)[:MAX_TIMELINES]
            if not names:
                continue
            for place in range(0, len(names), _READ_AT_ONCE):
                await asyncio.gather(*(self._read(name) for name in names[place : place + _READ_AT_ONCE]))
            if not await self._write_some(names):
                return

    async def _read(self, name: str) -> None:
        if name not in self._cache:
            timeline, revision = await self._registry.timeline(name)
            report = await self._registry.wake_report(name)
            if report is not None and name in self._news and self._is_of_now(name, report):
                news = self._news[name]
                news.insert(_place_of(report, news), report)
            self._cache[name] = (timeline, revision)

    async def _write_some(self, names: list[str]) -> bool:
        """Write those whose timelines have been read; False when some are left for the next time."""
        taken = {name: self._news.pop(name) for name in names if name in self._news and name in self._cache}
        grown: dict[str, tuple[Timeline, int]] = {}
        for name, news in taken.items():
            timeline, revision = self._cache[name]
            try:
                after = fold(timeline, news)
            except Exception:
                # A mistake of ours costs these news, and nothing else of what we do.
                self._meters.faults.inc()
                logger.exception("tenant %s: its news cannot be told", name)
                continue
            if after != timeline:
                grown[name] = after, revision
        try:
            if not grown or await self._put(grown):
                return True
            # Somebody else wrote one of them: that one is read again, and the others are not held up by it.
            refused = [name for name, one in grown.items() if not await self._put({name: one})]
        except RegistryError:
            # It may have been written, the answer lost: what is there is read again, and told only what it lacks.
            self._again(taken, taken)
            raise
        self._again(taken, refused)
        return not refused

    def _again(self, taken: dict[str, list[News]], names: Iterable[str]) -> None:
        for name in names:
            self._cache.pop(name, None)
            if name in self._gone:
                continue
            news = [*taken[name], *self._news.get(name, ())]
            self._news[name] = news[-MOST_NEWS:]
            self._meters.timeline_dropped.inc(len(news) - len(self._news[name]))

    async def _put(self, grown: dict[str, tuple[Timeline, int]]) -> bool:
        written = await self._registry.write_timelines(grown)
        if written is None:
            return False
        self._meters.timeline_writes.inc(len(grown))
        for name, (timeline, _) in grown.items():
            if name not in self._gone:
                self._cache[name] = (timeline, written)
                self._cache.move_to_end(name)
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return True


def _place_of(report: WakeReport, news: list[News]) -> int:
    """Where the end of a wake belongs among what is not told yet: before what became of the tenant after that wake."""
    return next(
        (
            place
            for place, item in enumerate(news)
            if isinstance(item, TenantRecord)
            and (item.desired.state is not Desired.STARTED or item.desired.wakes > report.wake)
        ),
        len(news),
    )


def _is_news(before: TenantRecord | None, after: TenantRecord) -> bool:
    """Whether a state changed: declarations are no part of it."""
    if before is None:
        # A new one that sleeps is told of when something happens to it.
        return bool(after.observed_revision) or after.desired.cause is not None
    return (before.desired_revision, before.observed_revision) != (
        after.desired_revision,
        after.observed_revision,
    )
