"""A tenant's wake budget lives in the registry: it holds over proxies that race, and over their restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogeta.domain.errors import WakeBudgetError
from gogeta.domain.lifecycle import Cause, Desired
from gogeta.domain.state import Judgement
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.wake_budget import HOUR_MS, MINUTE_MS
from gogeta.registry import registry as operations
from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.registry import Registry
from gogeta.registry.store import Store

START = 1_767_225_600_000
ACME: Tenant = read_tenant({"name": "acme", "hosts": ["a.test"], "process": {"command": ["run"]}}, what="test")


class Clock:
    """The wall clock of all processes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = START
        patch.setattr(operations, "wall_ms", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(params=["memory", "embedded"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else EmbeddedStore(str(tmp_path / "registry.db"))
    yield store
    await store.close()


async def wake(registry: Registry, limit: int) -> bool:
    """A visitor's wake; whether it was one."""
    try:
        return (await registry.change_desired("acme", Cause.REQUEST, per_hour=limit)).changed
    except WakeBudgetError:
        return False


async def sleep(registry: Registry) -> None:
    """Passivator's idle policy."""
    record = await registry.record("acme")
    judged = Judgement(desired_revision=record.desired_revision)
    assert await registry.passivate("acme", judged, record.desired.wakes, recent_wakes=record.desired.recent_wakes)


async def test_visitors_wake_as_often_as_they_may_and_again_when_the_hour_is_over(store: Store, clock: Clock) -> None:
    registry = Registry(store, "gogeta/1")
    await registry.apply([ACME])
    for _ in range(3):
        assert await wake(registry, 3)
        await sleep(registry)
        clock.now += MINUTE_MS
    with pytest.raises(WakeBudgetError) as refused:
        await Registry(store, "gogeta/restarted").change_desired("acme", Cause.REQUEST, per_hour=3)
    assert refused.value.revision == (await registry.record("acme")).desired_revision
    clock.now += refused.value.wait_ms - 1
    assert not await wake(registry, 3)
    clock.now += 1
    assert await wake(registry, 3)
    assert clock.now >= START + HOUR_MS
    assert (await registry.record("acme")).desired.wakes == 4


async def test_operators_and_what_is_in_use_are_not_counted(store: Store, clock: Clock) -> None:
    registry = Registry(store, "gogeta/1")
    await registry.apply([ACME])
    assert await wake(registry, 1)
    for cause in (Cause.WAKE, Cause.IN_USE, Cause.START):
        await registry.change_desired("acme", Cause.SLEEP)
        assert not await wake(registry, 1)
        assert (await registry.change_desired("acme", cause, per_hour=1)).changed
    await registry.change_desired("acme", Cause.STOP)
    await registry.change_desired("acme", Cause.SLEEP)
    assert not await wake(registry, 1)
    clock.now += HOUR_MS + MINUTE_MS
    assert await wake(registry, 1)


async def test_an_old_view_neither_refuses_nor_wakes_too_often(store: Store, clock: Clock) -> None:
    registry = Registry(store, "gogeta/1")
    await registry.apply([ACME])
    fresh = await registry.record("acme")
    assert await wake(registry, 1)
    await sleep(registry)
    exhausted = await registry.record("acme")
    with pytest.raises(WakeBudgetError):
        await registry.change_desired("acme", Cause.REQUEST, known=fresh, per_hour=1)
    await registry.remove("acme")
    await registry.apply([ACME])
    change = await registry.change_desired("acme", Cause.REQUEST, known=exhausted, per_hour=1)
    assert change.changed, "it is another tenant now, of the same name"
    assert clock.now == START


async def test_what_is_written_stays_small_and_goes(store: Store, clock: Clock) -> None:
    registry = Registry(store, "gogeta/1")
    await registry.apply([ACME])
    for _ in range(200):
        assert await wake(registry, 0)
        await registry.change_desired("acme", Cause.SLEEP)
        clock.now += MINUTE_MS
    entry = await store.get("/gogeta/v1/state/desired/acme")
    assert entry is not None
    assert len(entry.value) < 2000
    clock.now += 2 * HOUR_MS
    await registry.change_desired("acme", Cause.WAKE)
    assert (await registry.record("acme")).desired.recent_wakes == ()


STEPS = st.lists(st.tuples(st.integers(0, 15 * MINUTE_MS), st.integers(1, 4), st.booleans()), min_size=1, max_size=30)


@settings(deadline=None)
@given(STEPS, st.integers(1, 4))
def test_proxies_that_race_never_wake_it_more_often_together(steps: list[tuple[int, int, bool]], limit: int) -> None:
    async def story(clock: Clock) -> list[int]:
        space = MemorySpace()
        proxies = [Registry(MemoryStore(space), f"gogeta/{number}") for number in range(4)]
        await proxies[0].apply([ACME])
        wakes: list[int] = []
        for pause, racing, known in steps:
            clock.now += pause
            # Some decide by what they knew before the others began.
            view = await proxies[0].record("acme") if known else None

            async def one(registry: Registry, view: object = view) -> bool:
                try:
                    change = await registry.change_desired(
                        "acme",
                        Cause.REQUEST,
                        known=view,  # type: ignore[arg-type] # a record or None
                        per_hour=limit,
                    )
                except WakeBudgetError:
                    return False
                return change.changed

            woken = await asyncio.gather(*(one(registry) for registry in proxies[:racing]))
            assert sum(woken) <= 1, "one wake"
            wakes += [clock.now] * sum(woken)
            record = await proxies[0].record("acme")
            if record.desired.state is Desired.STARTED:
                await sleep(proxies[-1])
        return wakes

    with pytest.MonkeyPatch.context() as patch:
        wakes = asyncio.run(story(Clock(patch)))
    assert wakes
    for at in wakes:
        assert sum(at - HOUR_MS <= other <= at for other in wakes) <= limit
