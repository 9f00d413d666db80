"""Who comes when: visitors at every moment of the life cycle, above all where it turns.

Each tenant has a *director*: it wakes the tenant, lets it fall asleep (by silence, or by an operator's word at a random
moment), and sends requests at random offsets around the decision, the settle time and the stop. *Wanderers* go from
tenant to tenant without knowing anything. Some visits last for several idle timeouts.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.lifecycle.timeline import Timeline
from bench.lifecycle.verdict import Verdict, Visit, judge
from bench.lifecycle.visits import LONG, QUICK, Visitors
from gogeta.domain.errors import GogetaError
from gogeta.domain.lifecycle import Cause
from gogeta.registry.registry import Registry

SETTLE: Final = 0.5
"""passivator's own, between the decision and the stop."""
_LONG_EVERY: Final = 6
"""Rounds of a director between two in which a visit lasts for several idle timeouts."""
_LONG_AT_EDGE: Final = 0.08
"""Share of the rounds in which such a visit meets the edge itself."""
_BY_OPERATOR: Final = 0.5
_AT_EDGE: Final = (0, 1, 1, 2, 3)
_WANDERED: Final = 8.0
"""Seconds between two wanderers at one tenant."""


@dataclass
class Traffic:
    """All visitors, and the judgement of what they got."""

    visitors: Visitors
    timeline: Timeline
    registry: Registry
    """With which an operator's sleep is asked for: `gogeta sleep` does the same."""
    deadline: float
    enough: Callable[[], bool]
    """Whether there were cycles enough; nobody comes any more then."""
    chance: random.Random
    done: list[Visit] = field(default_factory=list)
    sleeps: int = 0

    async def run(self, tenants: dict[str, float], wanderers: int) -> None:
        """Until it is enough and the last visitor has left. ``tenants`` have their idle timeouts, in seconds."""
        async with asyncio.TaskGroup() as tasks:
            for name, idle in tenants.items():
                tasks.create_task(self._direct(name, idle))
            rest = wanderers * _WANDERED / len(tenants)
            for _ in range(wanderers):
                tasks.create_task(self._wander(tuple(tenants), rest))

    async def _visit(self, kind: str, tenant: str, after: float = 0.0) -> None:
        if after > 0:
            await asyncio.sleep(after)
        visit = self.visitors.visit(kind, tenant)
        visit.asleep = not self.timeline.up(tenant)
        await self.visitors.make(visit)
        # What was asked for at the very end may show itself a moment later.
        visit.verdict = judge(
            visit,
            deadline=self.deadline,
            slept=self.timeline.was_put_to_sleep(tenant, visit.sent, visit.ended),
            orphaned=self.timeline.was_orphaned(tenant, visit.sent, visit.ended),
        )
        if visit.verdict is Verdict.LOST:
            await asyncio.sleep(0.5)
            visit.history = self.timeline.history(tenant, visit.sent)
        self.done.append(visit)

    def _some(self, count: int, spread: float) -> list[tuple[str, float]]:
        kinds = self.chance.choices(tuple(QUICK), tuple(QUICK.values()), k=count)
        return [(kind, self.chance.random() * spread) for kind in kinds]

    async def _direct(self, tenant: str, idle: float) -> None:
        chance = self.chance
        for number in itertools.count(chance.randrange(_LONG_EVERY)):
            if self.enough():
                return
            async with asyncio.TaskGroup() as visits:
                for kind, after in self._some(chance.randrange(1, 5), 0.06):
                    visits.create_task(self._visit(kind, tenant, after))
                if number % _LONG_EVERY == _LONG_EVERY - 1:
                    visits.create_task(self._visit(chance.choice(LONG), tenant))
            # Silence from here on: the edge is where it has lasted long enough, or where the operator speaks.
            by_operator = chance.random() < _BY_OPERATOR
            edge = chance.random() * idle * 0.7 if by_operator else idle + chance.random() * 0.3
            count = chance.choice(_AT_EDGE)
            async with asyncio.TaskGroup() as visits:
                if by_operator:
                    visits.create_task(self._sleep(tenant, edge))
                for kind, spread in self._some(count, 1.0):
                    visits.create_task(self._visit(kind, tenant, edge - 0.1 + spread * (SETTLE + 0.4)))
                if chance.random() < _LONG_AT_EDGE:
                    visits.create_task(self._visit(chance.choice(LONG), tenant, edge - 0.2))
                if not count:
                    visits.create_task(asyncio.sleep(edge))
            await self.timeline.until(lambda: self.timeline.asleep(tenant) or self.enough(), idle * 2 + 5)

    async def _sleep(self, tenant: str, after: float) -> None:
        await asyncio.sleep(after)
        self.timeline.story(tenant).slept_at.append(asyncio.get_running_loop().time())
        self.sleeps += 1
        try:
            await self.registry.change_desired(tenant, Cause.SLEEP)
        except GogetaError:
            # The registry is away just now: an operator would read that, and try again.
            return

    async def _wander(self, tenants: tuple[str, ...], rest: float) -> None:
        while not self.enough():
            [(kind, after)] = self._some(1, 2 * rest)
            await self._visit(kind, self.chance.choice(tenants), after)
