"""The tenants' states as the registry tells them, remembered: what a judgement and a report need of them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gogeta.domain.lifecycle import Desired, Meeting, Observed
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.registry.mirror import TenantMirror

_KEPT: Final = 40
"""Changes remembered of each tenant."""


@dataclass
class Story:
    """One tenant's."""

    changes: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """Loop time, and what it was from then on."""
    slept_at: list[float] = field(default_factory=list)
    """When this scenario asked for its sleep."""
    orphaned: list[tuple[float, float]] = field(default_factory=list)
    """From when to when the registry told of an application that had been killed."""


class Timeline:
    """Subscribes to a mirror; counts and remembers."""

    def __init__(self, mirror: TenantMirror) -> None:
        """``mirror`` is run by somebody else."""
        self.mirror = mirror
        self.stories: dict[str, Story] = {}
        self.passivations: Counter[str] = Counter()
        """Decisions to sleep, by cause."""
        self.taken_back = 0
        """Decisions to sleep that did not become a stop."""
        self.stops = 0
        self._killed: dict[str, str] = {}
        """Orphans, and the instance that was killed."""
        self._away = False
        self._changed = asyncio.Event()
        mirror.subscribe(self._heard)

    def _heard(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        now = asyncio.get_running_loop().time()
        story = self.stories.setdefault(name, Story())
        if after is not None:
            desired, observed = after.desired, after.observed
            reason = f" {observed.reason.code}: {observed.reason.message}" if observed.reason else ""
            what = f"{desired.state} ({desired.cause}), {observed.state} {observed.instance[:12]}{reason}"
            if not story.changes or story.changes[-1][1] != what:
                story.changes.append((now, what))
            if before is not None:
                self._count(before, after)
            if self._away:
                # What a passivator wrote just before it was killed may come after that: it is no news of the orphan.
                self._orphan(after, now)
            elif name in self._killed and (
                observed.state is not Observed.STARTED or observed.instance != self._killed[name]
            ):
                del self._killed[name]
                story.orphaned[-1] = (story.orphaned[-1][0], now)
        self._changed.set()
        self._changed = asyncio.Event()

    def _count(self, before: TenantRecord, after: TenantRecord) -> None:
        was, became = before.desired.state, after.desired.state
        if was is not became and became is Desired.PASSIVATED:
            self.passivations[str(after.desired.cause)] += 1
        if (was, became) == (Desired.PASSIVATED, Desired.STARTED) and after.observed.state is Observed.STARTED:
            self.taken_back += 1
        if before.observed.state is Observed.STOPPING and after.observed.state is not Observed.STOPPING:
            self.stops += 1

    def up(self, name: str) -> bool:
        """Whether a visitor would be sent to it at once, as far as is known here."""
        record = self.mirror.records.get(TenantName(name))
        return record is not None and record.meeting is Meeting.FORWARD

    def asleep(self, name: str) -> bool:
        """Whether it is asleep, and nothing of it runs."""
        record = self.mirror.records.get(TenantName(name))
        return (
            record is not None
            and record.desired.state is Desired.PASSIVATED
            and record.observed.state in (Observed.STOPPED, Observed.FAILED)
        )

    def story(self, name: str) -> Story:
        """One tenant's."""
        return self.stories.setdefault(name, Story())

    def orphan_all(self) -> None:
        """All applications are being killed; each is orphaned until the next passivator says another thing of it."""
        self._away = True
        now = asyncio.get_running_loop().time()
        for record in self.mirror.records.values():
            self._orphan(record, now)

    def _orphan(self, record: TenantRecord, now: float) -> None:
        if record.observed.state is Observed.STOPPED:
            return
        if record.name not in self._killed:
            self.story(record.name).orphaned.append((now, float("inf")))
        self._killed[record.name] = record.observed.instance

    def passivator_is_back(self) -> None:
        """From now on what is said of an orphan is news."""
        self._away = False

    def was_orphaned(self, name: str, begin: float, end: float) -> bool:
        """Whether its application was dead, and not known to be, at some time between these."""
        return any(since <= end and until >= begin for since, until in self.story(name).orphaned)

    def was_put_to_sleep(self, name: str, begin: float, end: float) -> bool:
        """Whether this scenario asked for its sleep between these."""
        return any(begin <= at <= end for at in self.story(name).slept_at)

    def history(self, name: str, begin: float) -> list[str]:
        """What it was, from shortly before ``begin`` on; times are milliseconds after that."""
        changes = self.story(name).changes
        before = [change for change in changes if change[0] < begin][-3:]
        shown = [*before, *(change for change in changes if change[0] >= begin)]
        asked = [(at, "this scenario asks for its sleep") for at in self.story(name).slept_at if at >= begin - 5]
        return [f"{(at - begin) * 1000:+8.0f} ms  {what}" for at, what in sorted([*shown, *asked])]

    async def until(self, wanted: Callable[[], bool], seconds: float) -> bool:
        """Wait until something about the tenants is so; False when it is not after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while not wanted():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
