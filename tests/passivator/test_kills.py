"""passivator killed before and after every write and every runtime call: a restart is the whole recovery."""

import asyncio

import pytest

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.tenant import TenantName
from tests.passivator.stage import Faults, Stage

pytestmark = pytest.mark.virtual_time


async def a_life(stage: Stage) -> None:
    """A tenant is woken, put to sleep, woken during its stop, and removed; it waits for nothing to have happened."""
    await stage.declare("acme")
    await stage.wake("acme")
    await asyncio.sleep(3)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(0.8)
    await stage.wake("acme")
    await asyncio.sleep(4)


async def killed_at(point: int) -> tuple[Stage, bool]:
    stage = Stage()
    faults = Faults(at=point)
    await stage.up(faults)
    living = asyncio.get_running_loop().create_task(a_life(stage))
    freezing = asyncio.get_running_loop().create_task(faults.frozen.wait())
    await asyncio.wait([living, freezing], return_when=asyncio.FIRST_COMPLETED)
    killed = faults.frozen.is_set()
    freezing.cancel()
    if killed:
        await stage.kill()
        await stage.up()
    await living
    faults.at = -1
    return stage, killed


async def test_killed_at_any_point_of_a_life_a_wake_ends_in_a_running_tenant_and_a_removal_in_nothing() -> None:
    point = 0
    while True:
        stage, killed = await killed_at(point)
        observed = await stage.until("acme", Observed.STARTED, within=20)
        runtime = stage.runtime.look(TenantName("acme"))
        assert observed.instance == runtime.instance, point
        assert observed.endpoints == runtime.endpoints, point
        assert observed.wakes == 2, point
        assert len(stage.runtime.order) <= 3, f"started too often when killed at {point}"
        assert stage.runtime.most_starting == 1
        await stage.registry.change_desired("acme", Cause.STOP)
        await stage.until("acme", Observed.STOPPED)
        assert not stage.runtime.running("acme")
        await stage.registry.remove("acme")
        await asyncio.sleep(2)
        assert not stage.runtime.things, point
        await stage.kill()
        if not killed:
            break
        point += 1
    assert point > 20, "the life has many points"


async def test_killed_at_any_point_of_a_removal_nothing_is_left() -> None:
    for point in range(1000):
        stage = Stage()
        await stage.up()
        await stage.declare("acme")
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        faults = stage.store.faults
        faults.at = faults.calls + point
        await stage.registry.remove("acme")
        await asyncio.sleep(3)
        killed = faults.frozen.is_set()
        if killed:
            await stage.kill()
            await stage.up()
            await asyncio.sleep(3)
        assert not stage.runtime.things, point
        assert not [entry.key for entry in stage.space.list("/").entries if entry.key.endswith("/acme")], point
        await stage.kill()
        if not killed:
            assert point >= 4
            return


async def test_killed_at_any_point_of_being_paused_and_woken_it_ends_in_the_same_start_running() -> None:
    for point in range(1000):
        stage = Stage()
        await stage.up()
        await stage.declare("acme", sleep={"pause_after": "2s"})
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        faults = stage.store.faults
        faults.at = faults.calls + point
        await asyncio.sleep(4)
        wakes = await stage.wake("acme")
        await stage.declare("acme")
        await asyncio.sleep(0.5)
        killed = faults.frozen.is_set()
        if killed:
            await stage.kill()
            await stage.up()
        # What is on record may be from before; in a while it is what is.
        await asyncio.sleep(20)
        observed = await stage.until("acme", Observed.STARTED, within=20)
        runtime = stage.runtime.look(TenantName("acme"))
        assert (observed.instance, observed.endpoints) == (runtime.instance, runtime.endpoints), point
        assert observed.wakes == wakes, point
        assert stage.runtime.running("acme"), point
        assert stage.runtime.order == ["acme"], f"started anew when killed at {point}"
        await stage.kill()
        if not killed:
            assert point >= 6
            return
