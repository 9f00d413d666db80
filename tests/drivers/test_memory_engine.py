"""The engine in memory has Docker's oddities, on virtual time, and the driver on top hides them."""

import asyncio
from contextlib import aclosing

import pytest

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from passivator.drivers.base import Health, RuntimeUnavailableError, StartFailedError, Status
from passivator.drivers.memory import MemoryDriver
from passivator.drivers.memory_engine import MemoryEngine

pytestmark = pytest.mark.virtual_time


def tenant(name: str = "acme", **docker: str) -> Tenant:
    return read_tenant({"name": name, "hosts": [f"{name}.test"], "docker": docker or {"image": "any"}}, what="test")


async def test_a_start_during_a_stop_answers_at_once_and_has_no_effect() -> None:
    engine = MemoryEngine()
    engine.program("box").stop_seconds = 60
    await engine.create("box")
    await engine.start("box")
    stop = asyncio.create_task(engine.stop("box", 30))
    await asyncio.sleep(1)
    before = asyncio.get_running_loop().time()
    await engine.start("box")
    assert asyncio.get_running_loop().time() == before
    await stop
    assert asyncio.get_running_loop().time() == before + 29
    assert not engine.boxes["box"].running
    assert engine.boxes["box"].exit_code == 137
    assert engine.count("start", "box") == 1


async def test_the_driver_starts_it_after_that_stop() -> None:
    driver = MemoryDriver()
    driver.engine.program("gogeta-acme").stop_seconds = 60
    first = await driver.start(tenant())
    stop = asyncio.create_task(driver.stop(tenant()))
    await asyncio.sleep(1)
    second = await driver.start(tenant())
    await stop
    assert second.status is Status.RUNNING
    assert second.instance != first.instance
    assert driver.engine.count("start", "gogeta-acme") == 2


async def test_two_swap_their_addresses() -> None:
    driver = MemoryDriver()
    one, two = tenant("one"), tenant("two")
    before = [(await driver.start(who)).endpoints[0] for who in (one, two)]
    for who in (one, two):
        assert (await driver.stop(who)).endpoints == ()
    after = [(await driver.start(who)).endpoints[0] for who in (two, one)][::-1]
    assert after == before[::-1]
    assert driver.engine.reach(before[0]) == "gogeta-two"


async def test_readiness_comes_later_than_the_start_and_a_paused_one_is_silent() -> None:
    driver = MemoryDriver()
    program = driver.engine.program("gogeta-acme")
    program.start_seconds, program.ready_seconds = 20, 5
    loop = asyncio.get_running_loop()
    before = loop.time()
    (endpoint,) = (await driver.start(tenant())).endpoints
    assert loop.time() == before + 20
    assert driver.engine.reach(endpoint) is None
    await asyncio.sleep(5)
    assert driver.engine.reach(endpoint) == "gogeta-acme"
    await driver.pause(tenant())
    assert driver.engine.reach(endpoint) == ""


async def test_faults_on_demand() -> None:
    driver = MemoryDriver()
    engine = driver.engine
    await driver.start(tenant())
    engine.judge("gogeta-acme", healthy=False)
    assert (await driver.inspect(tenant())).health is Health.UNHEALTHY
    engine.run_out_of_memory("gogeta-acme")
    runtime = await driver.inspect(tenant())
    assert runtime.failure is not None
    assert runtime.failure.code is ReasonCode.OUT_OF_MEMORY
    engine.program("gogeta-acme").failure = (ReasonCode.PORT_TAKEN, "taken")
    with pytest.raises(StartFailedError) as failed:
        await driver.start(tenant())
    assert failed.value.code is ReasonCode.PORT_TAKEN
    engine.reachable = False
    with pytest.raises(RuntimeUnavailableError):
        await driver.list()
    with pytest.raises(RuntimeUnavailableError):
        await driver.open()


async def test_calls_to_an_engine_that_hangs_end_in_their_time() -> None:
    driver = MemoryDriver()
    driver.engine.answering.clear()
    loop = asyncio.get_running_loop()
    for call in (
        driver.open(),
        driver.list(),
        driver.inspect(tenant()),
        driver.pause(tenant()),
        driver.remove(tenant().name),
    ):
        before = loop.time()
        with pytest.raises(RuntimeUnavailableError):
            await call
        assert loop.time() == before + 10


async def test_events_break_or_are_lost_in_silence() -> None:
    driver = MemoryDriver()
    async with aclosing(driver.events()) as events:
        assert (await anext(events)).name is None
        driver.engine.telling = False
        await driver.start(tenant())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 3600)
    async with aclosing(driver.events()) as events:
        assert (await anext(events)).name is None
        driver.cut_events()
        with pytest.raises(RuntimeUnavailableError):
            await anext(events)
    async with aclosing(driver.events()) as events:
        assert (await anext(events)).name is None


async def test_two_drivers_on_one_engine_wake_once() -> None:
    engine = MemoryEngine()
    engine.program("gogeta-acme").start_seconds = 3
    one, two = MemoryDriver(engine), MemoryDriver(engine)
    await one.start(tenant())
    await one.stop(tenant())
    first, second = await asyncio.gather(one.start(tenant()), two.start(tenant()))
    assert first == second
    assert engine.count("start", "gogeta-acme") == 2


async def test_adopted_ones_are_never_made_or_removed() -> None:
    driver = MemoryDriver()
    who = tenant(container="theirs")
    with pytest.raises(StartFailedError) as failed:
        await driver.start(who)
    assert failed.value.code is ReasonCode.CONTAINER_MISSING
    await driver.engine.create("theirs", labels={"role": "web"})
    assert (await driver.start(who)).status is Status.RUNNING
    assert (await driver.inspect(tenant(label="role=web"))).status is Status.RUNNING
    await driver.remove(who.name)
    assert (await driver.inspect(who)).status is Status.RUNNING
