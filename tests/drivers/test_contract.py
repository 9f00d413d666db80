"""What every driver promises (``passivator/drivers/base.py``), proved on each of them."""

import asyncio
from contextlib import aclosing

import pytest

from gogeta.domain.state import Reason, ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.kit.tasks import Tasks
from passivator.drivers.base import Driver, RuntimeEvent, StartFailedError, Status, StopFailedError
from tests.drivers.worlds import World, until


def declare(world: World, name: str = "acme", does: str = "serve", *, text: str = "", grace: float = 5.0) -> Tenant:
    tenant = world.tenant(name, does, text=text, grace=grace)
    world.prepare(tenant, does)
    return tenant


async def test_what_was_never_started_is_absent_and_can_be_stopped_and_removed(world: World, driver: Driver) -> None:
    tenant = declare(world)
    await driver.open()
    await driver.open()
    assert (await driver.inspect(tenant)).status is Status.ABSENT
    assert (await driver.stop(tenant)).status is Status.ABSENT
    await driver.remove(tenant.name)
    assert await driver.logs(tenant) == ""
    assert await driver.list() == {}


async def test_a_started_tenant_answers_at_its_endpoint(world: World, driver: Driver) -> None:
    tenant = declare(world)
    started = await driver.start(tenant)
    assert started.status is Status.RUNNING
    assert started.failure is None
    assert await world.answer(started.endpoints[0]) == "acme"
    assert await driver.inspect(tenant) == started
    assert await driver.start(tenant) == started


async def test_no_instance_id_comes_back(world: World, driver: Driver) -> None:
    tenant = declare(world)
    instances = []
    for _ in range(3):
        started = await driver.start(tenant)
        instances.append(started.instance)
        stopped = await driver.stop(tenant)
        assert stopped.status is Status.EXITED
        assert stopped.instance == started.instance
        assert stopped.endpoints == ()
        assert stopped.exit_code in (0, -15, 143)
        assert await driver.stop(tenant) == stopped
    assert len(set(instances)) == 3
    assert all(instances)


class ShutError(Exception):
    """A fence that keeps everybody out."""


async def test_nothing_is_changed_against_the_word_of_the_fence(world: World, driver: Driver) -> None:
    def shut() -> None:
        raise ShutError

    tenant = declare(world)
    open_to_all, driver.fence = driver.fence, shut
    with pytest.raises(ShutError):
        await driver.start(tenant)
    assert (await driver.inspect(tenant)).status is Status.ABSENT
    driver.fence = open_to_all
    running = await driver.start(tenant)
    driver.fence = shut
    for change in (driver.stop, driver.pause):
        with pytest.raises(ShutError):
            await change(tenant)
        assert await driver.inspect(tenant) == running
    with pytest.raises(ShutError):
        await driver.remove(tenant.name)
    assert await driver.inspect(tenant) == running
    driver.fence = open_to_all
    assert (await driver.stop(tenant)).status is Status.EXITED


async def test_a_paused_tenant_goes_on_as_the_same_instance(world: World, driver: Driver) -> None:
    tenant = declare(world)
    started = await driver.start(tenant)
    paused = await driver.pause(tenant)
    assert paused.status is Status.PAUSED
    assert paused.instance == started.instance
    assert (await driver.pause(tenant)).status is Status.PAUSED
    resumed = await driver.start(tenant)
    assert resumed.status is Status.RUNNING
    assert resumed.instance == started.instance
    assert await world.answer(resumed.endpoints[0]) == "acme"


async def test_a_paused_tenant_can_be_stopped(world: World, driver: Driver) -> None:
    tenant = declare(world)
    await driver.start(tenant)
    await driver.pause(tenant)
    stopped = await driver.stop(tenant)
    assert stopped.status is Status.EXITED
    assert stopped.exit_code in (0, -15, 143)


async def test_what_is_paused_answers_nobody_and_uses_no_processor(world: World, driver: Driver) -> None:
    tenant = declare(world, does="spin")
    await driver.start(tenant)

    async def uses_some() -> bool:
        return (await driver.cpu_seconds(tenant) or 0.0) > 0.2

    await until(uses_some)
    await driver.pause(tenant)
    before = await driver.cpu_seconds(tenant)
    assert before is not None
    await asyncio.sleep(0.5)
    after = await driver.cpu_seconds(tenant)
    assert after is not None
    # All of it is frozen; what there is beside it, such as its keeper, takes next to nothing.
    assert after - before < 0.2
    await driver.start(tenant)

    async def goes_on() -> bool:
        return (await driver.cpu_seconds(tenant) or 0.0) > after + 0.2

    await until(goes_on)
    await driver.stop(tenant)
    assert await driver.cpu_seconds(tenant) is None


async def test_who_does_nothing_uses_no_processor(world: World, driver: Driver) -> None:
    tenant = declare(world)
    assert await driver.cpu_seconds(tenant) is None
    started = await driver.start(tenant)
    assert await world.answer(started.endpoints[0]) == "acme"
    before = await driver.cpu_seconds(tenant)
    await asyncio.sleep(0.5)
    after = await driver.cpu_seconds(tenant)
    assert before is not None
    assert after is not None
    assert 0 <= after - before < 0.25


async def test_a_pause_behind_our_back_is_seen_and_a_start_goes_on_from_it(world: World, driver: Driver) -> None:
    tenant = declare(world)
    started = await driver.start(tenant)
    assert await world.answer(started.endpoints[0]) == "acme"
    await world.freeze(driver, tenant)

    async def paused() -> bool:
        return (await driver.inspect(tenant)).status is Status.PAUSED

    await until(paused)
    resumed = await driver.start(tenant)
    assert (resumed.status, resumed.instance) == (Status.RUNNING, started.instance)
    assert resumed.endpoints == started.endpoints
    assert await world.answer(resumed.endpoints[0]) == "acme"


async def test_an_end_while_it_is_paused_is_seen(world: World, driver: Driver) -> None:
    tenant = declare(world)
    started = await driver.start(tenant)
    await driver.pause(tenant)
    await world.kill(driver, tenant)

    async def ended() -> bool:
        return (await driver.inspect(tenant)).status is Status.EXITED

    await until(ended)
    assert (await driver.start(tenant)).instance != started.instance


async def test_a_paused_tenant_can_be_removed(world: World, driver: Driver) -> None:
    tenant = declare(world)
    await driver.start(tenant)
    await driver.pause(tenant)
    await driver.remove(tenant.name)
    assert (await driver.inspect(tenant)).status is Status.ABSENT


async def test_what_does_not_run_cannot_be_paused(world: World, driver: Driver) -> None:
    tenant = declare(world)
    with pytest.raises(StopFailedError):
        await driver.pause(tenant)
    await driver.start(tenant)
    await driver.stop(tenant)
    with pytest.raises(StopFailedError):
        await driver.pause(tenant)


async def test_nothing_is_left_of_a_removed_tenant(world: World, driver: Driver) -> None:
    tenant = declare(world)
    await driver.start(tenant)
    await driver.remove(tenant.name)
    assert (await driver.inspect(tenant)).status is Status.ABSENT
    assert await driver.list() == {}
    await driver.remove(tenant.name)
    assert (await driver.start(tenant)).status is Status.RUNNING


async def test_a_start_during_a_stop_really_starts(world: World, driver: Driver) -> None:
    tenant = declare(world, does="resist", grace=1.0)
    first = await driver.start(tenant)
    await world.resisting(driver, tenant)
    stop = asyncio.create_task(driver.stop(tenant))
    await asyncio.sleep(0.3)
    assert (await driver.inspect(tenant)).status is Status.STOPPING
    second = await driver.start(tenant)
    assert second.status is Status.RUNNING
    assert second.instance != first.instance
    await stop
    await asyncio.sleep(0.3)
    now = await driver.inspect(tenant)
    assert now.status is Status.RUNNING
    assert now.instance == second.instance


async def test_a_start_after_a_stop_that_was_given_up_really_starts(world: World, driver: Driver) -> None:
    tenant = declare(world, does="resist", grace=1.0)
    first = await driver.start(tenant)
    await world.resisting(driver, tenant)
    stop = asyncio.create_task(driver.stop(tenant))
    await asyncio.sleep(0.3)
    stop.cancel()
    await asyncio.gather(stop, return_exceptions=True)
    second = await driver.start(tenant)
    await asyncio.sleep(1.2)
    now = await driver.inspect(tenant)
    assert now.status is Status.RUNNING
    assert now.instance == second.instance != first.instance


async def test_a_start_that_was_given_up_is_not_half_remembered(world: World, driver: Driver) -> None:
    tenant = declare(world)
    for step in range(6):
        start = asyncio.create_task(driver.start(tenant))
        await asyncio.sleep(0.004 * step**2)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
    started = await driver.start(tenant)
    assert started.status is Status.RUNNING
    assert await world.answer(started.endpoints[0]) == "acme"
    assert list(await driver.list()) == ["acme"]
    assert (await driver.stop(tenant)).status is Status.EXITED


async def test_who_ignores_sigterm_gets_the_grace_and_not_more(world: World, driver: Driver) -> None:
    stubborn, other = declare(world, "stubborn", "resist", grace=2.0), declare(world, "other")
    await driver.start(stubborn)
    await world.resisting(driver, stubborn)
    loop = asyncio.get_running_loop()
    before = loop.time()
    stop = asyncio.create_task(driver.stop(stubborn))
    await asyncio.sleep(0.1)
    # Nobody else waits for it.
    await driver.start(other)
    await driver.stop(other)
    assert not stop.done()
    stopped = await stop
    assert 1.9 <= loop.time() - before < 4.0
    assert stopped.status is Status.EXITED
    assert stopped.exit_code in (-9, 137)
    assert not stopped.out_of_memory


async def test_a_changed_declaration_counts_from_the_next_start(world: World, driver: Driver) -> None:
    old, new = world.tenant(text="old"), world.tenant(text="new")
    world.prepare(old, "serve")
    started = await driver.start(old)
    assert (await driver.start(new)).instance == started.instance
    assert (await driver.inspect(new)).instance == started.instance
    await driver.stop(new)
    again = await driver.start(new)
    assert again.instance != started.instance
    if world.kind != "memory":
        assert await world.answer(again.endpoints[0]) == "new"
    assert list(await driver.list()) == ["acme"]


async def test_all_tenants_are_listed_as_they_are(world: World, driver: Driver) -> None:
    running, stopped, paused = (declare(world, name) for name in ("running", "stopped", "paused"))
    for tenant in (running, stopped, paused):
        await driver.start(tenant)
    await driver.stop(stopped)
    await driver.pause(paused)
    listed = await driver.list()
    assert {name: runtime.status for name, runtime in listed.items()} == {
        "running": Status.RUNNING,
        "stopped": Status.EXITED,
        "paused": Status.PAUSED,
    }
    assert listed[running.name].instance == (await driver.inspect(running)).instance


async def test_after_a_restart_of_the_driver_everything_is_known(world: World, driver: Driver) -> None:
    running, stopped = declare(world, "running"), declare(world, "stopped")
    before = await driver.start(running)
    await driver.start(stopped)
    await driver.stop(stopped)
    await driver.close()
    world.drivers.remove(driver)
    again = world.driver()
    await again.open()
    listed = await again.list()
    if world.survives:
        assert listed[running.name] == before
        assert listed[stopped.name].status is Status.EXITED
    else:
        assert listed == {}
        with pytest.raises((OSError, TimeoutError)):
            await asyncio.open_connection(before.endpoints[0].host, before.endpoints[0].port)


async def test_every_change_is_told(world: World, driver: Driver) -> None:
    tenant = declare(world)
    told: list[RuntimeEvent] = []

    async def follow() -> None:
        async with aclosing(driver.events()) as events:
            async for event in events:
                told.append(event)  # noqa: PERF401  # it never ends

    async def heard() -> bool:
        return RuntimeEvent(tenant.name) in told

    await driver.open()
    following = asyncio.create_task(follow())
    try:
        await until(lambda: asyncio.sleep(0, bool(told)))
        assert told[0].name is None
        for change in (driver.start, driver.pause, driver.start, driver.stop, driver.start):
            told.clear()
            await change(tenant)
            await until(heard)
        await asyncio.sleep(0.1)
        told.clear()
        await world.kill(driver, tenant)
        await until(heard)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_an_end_behind_our_back_is_seen_and_classified(world: World, driver: Driver) -> None:
    tenant = declare(world)
    started = await driver.start(tenant)
    await world.kill(driver, tenant)

    async def ended() -> bool:
        return (await driver.inspect(tenant)).status is Status.EXITED

    await until(ended)
    runtime = await driver.inspect(tenant)
    assert runtime.instance == started.instance
    assert runtime.exit_code in (-9, 137)
    assert runtime.failure is not None
    assert runtime.failure.code is ReasonCode.EXITED
    assert (await driver.start(tenant)).instance != started.instance


async def failure_of(driver: Driver, tenant: Tenant) -> Reason:
    """Why a start failed: told by the start, or seen soon after it where an init inside is what finds out."""
    try:
        await driver.start(tenant)
    except StartFailedError as failed:
        return failed.reason

    async def ended() -> bool:
        return (await driver.inspect(tenant)).status is Status.EXITED

    await until(ended)
    failure = (await driver.inspect(tenant)).failure
    assert failure is not None
    return failure


async def test_who_ends_at_once_tells_why(world: World, driver: Driver) -> None:
    tenant = declare(world, does="exit")
    failure = await failure_of(driver, tenant)
    assert failure.code is ReasonCode.EXITED
    assert "3" in failure.message
    if world.kind != "memory":
        assert "good bye" in failure.message
    assert (await driver.inspect(tenant)).failure == failure


async def test_a_command_that_is_not_there_is_said_to_be_so(world: World, driver: Driver) -> None:
    tenant = declare(world, does="nothing")
    failure = await failure_of(driver, tenant)
    assert failure.code is ReasonCode.COMMAND_FAILED
    assert failure.message
    await driver.stop(tenant)
    await driver.remove(tenant.name)


async def test_what_no_driver_runs_is_refused(world: World, driver: Driver) -> None:
    routed = read_tenant({"name": "acme", "hosts": ["a.test"], "upstreams": ["http://192.0.2.1"]}, what="test")
    with pytest.raises(StartFailedError) as refused:
        await driver.start(routed)
    assert refused.value.code is ReasonCode.BAD_SPEC


async def test_the_last_output_is_kept(world: World, driver: Driver) -> None:
    tenant = declare(world)
    await driver.start(tenant)
    if world.kind == "memory":
        # Its programs write nothing, and that is what it says.
        assert await driver.logs(tenant) == ""
        return

    async def written() -> bool:
        return "serving acme" in await driver.logs(tenant)

    await until(written)
    await driver.stop(tenant)
    assert await driver.logs(tenant, 1) == (await driver.logs(tenant)).splitlines()[-1]
    assert await driver.logs(tenant, 0) == ""


async def test_many_tenants_at_once(world: World, driver: Driver) -> None:
    tenants = [declare(world, f"t{number}") for number in range(6)]
    started = await asyncio.gather(*(driver.start(tenant) for tenant in tenants))
    answers = await asyncio.gather(*(world.answer(runtime.endpoints[0]) for runtime in started))
    assert answers == [tenant.name for tenant in tenants]
    stopped = await asyncio.gather(*(driver.stop(tenant) for tenant in tenants))
    assert {runtime.status for runtime in stopped} == {Status.EXITED}


async def test_output_is_followed_until_it_does_not_run_any_more(world: World, driver: Driver) -> None:
    tenant = declare(world)
    await driver.start(tenant)
    if world.kind != "memory":

        async def written() -> bool:
            return "serving acme" in await driver.logs(tenant)

        await until(written)
    heard: list[str] = []

    async def listen() -> None:
        async for portion in driver.follow(tenant, 5):
            heard.extend(portion)

    async with Tasks("listener") as tasks:
        listening = tasks.start(listen(), "listen")
        if world.kind != "memory":

            async def told() -> bool:
                return any("serving acme" in line for line in heard)

            await until(told)
        await asyncio.sleep(0.05)
        assert not listening.done(), "it runs: more may come"
        await driver.stop(tenant)
        await asyncio.wait_for(asyncio.shield(listening), 15)
    assert all("\n" not in line for line in heard)
    assert heard == (await driver.logs(tenant)).splitlines()[-len(heard) :] if heard else world.kind == "memory"


async def test_nothing_is_followed_of_what_is_not_there(world: World, driver: Driver) -> None:
    assert [portion async for portion in driver.follow(declare(world))] == []
