"""What a proxy reports of the wakes that it asked for: once a wake, all of its time in steps, and never in the way."""

from __future__ import annotations

import asyncio

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Reason, ReasonCode
from gogeta.domain.timeline import WakeReport
from gogeta.registry.registry import DesiredChange
from tests.net.stage import Stage, reset, stage
from tests.net.talk import NAVIGATES, OK, App, get, until
from tests.net.test_tunnels import ASKS, Socket


def started(wakes: int) -> DesiredState:
    return DesiredState(state=Desired.STARTED, wakes=wakes)


def plays_registry(on: Stage, *, changed: bool = True) -> None:
    """Wakes are counted, and are ours or another proxy's."""
    count = 0

    async def wake(name: str, _: Cause) -> DesiredChange:
        nonlocal count
        count += 1
        on.change(name, desired=started(count))
        return DesiredChange(started(count), on.revision, changed=changed)

    on.registry.on_wake = wake


async def answers(on: Stage, app: App) -> None:
    on.change("acme", observed=on.observed(await on.upstream(app)))


def looked_at(on: Stage) -> bool:
    """Whether each exchange costs a look."""
    return on.proxy.fleet.entries["acme"].limited


async def reported(on: Stage) -> list[WakeReport]:
    """All reports, after one more round."""
    on.proxy.awaiting.collect()
    await on.proxy.awaiting.flush()
    return [report for batch in on.registry.reports for report in batch.values()]


async def test_the_request_that_asks_is_named_and_its_steps_are_all_of_its_time() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        loop = asyncio.get_running_loop()
        began = loop.time()
        asking = [asyncio.create_task(on.ask(get(f"/{number}", "X-Request-Id: mine-1"))) for number in range(5)]
        await until(lambda: on.proxy.tally.held == 5)
        await answers(on, App())
        assert [(await task).status for task in asking] == [200] * 5
        took = (loop.time() - began) * 1000
        (report,) = await reported(on)
        assert (report.wake, report.by, report.visitor, report.held) == (1, "test", "program", 5)
        assert [phase.name for phase in report.phases] == ["asked", "known", "answered"]
        assert all(phase.ms >= 0 for phase in report.phases)
        # Each of them is rounded.
        assert 0 < sum(phase.ms for phase in report.phases) <= took + 0.1
        assert on.registry.askers == [report.request_id]
        assert report.request_id
        assert on.proxy.tally.wake_seconds.counts.count(0) < len(on.proxy.tally.wake_seconds.counts)
        assert await reported(on) == [report]


async def test_a_wake_that_another_proxy_asked_for_is_reported_by_that_one() -> None:
    async with stage() as on:
        plays_registry(on, changed=False)
        on.declare()
        asking = asyncio.create_task(on.ask(get()))
        await until(lambda: on.proxy.tally.held)
        await answers(on, App())
        assert (await asking).status == 200
        assert await reported(on) == []
        assert not on.proxy.fleet.entries["acme"].limited


async def test_a_person_who_got_the_page_has_his_first_byte_when_he_comes_again() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare(wake={"mode": "page"})
        assert (await on.ask(get("/", *NAVIGATES))).status == 503
        await answers(on, App())
        assert await reported(on) == []
        assert looked_at(on)
        await asyncio.sleep(0.05)
        assert (await on.ask(get("/", *NAVIGATES))).status == 200
        (report,) = await reported(on)
        assert report.visitor == "person"
        assert {phase.name: phase.ms for phase in report.phases}["known"] >= 50
        # From now on nothing is looked at any more.
        assert not looked_at(on)
        assert on.proxy.fleet.entries["acme"].awaited is None


async def test_who_leaves_before_the_answer_does_not_count() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        async with on.visitor() as leaves:
            leaves.send(get())
            await until(lambda: on.proxy.tally.held)
            reset(leaves.writer)
            await until(lambda: not on.proxy.connections)
        await answers(on, App())
        assert await reported(on) == []
        assert (await on.ask(get())).status == 200
        (report,) = await reported(on)
        assert report.wake == 1


async def test_a_socket_that_wakes_is_reported_while_it_is_open_and_counted_as_a_tunnel() -> None:
    async with stage() as on, on.visitor() as one, on.visitor() as other:
        plays_registry(on)
        on.declare()
        one.send(get("/", *ASKS))
        await until(lambda: on.proxy.tally.held)
        await answers(on, Socket())
        assert (await one.answer()).status == 101
        assert [report.wake for report in await reported(on)] == [1]
        other.send(get("/", *ASKS))
        assert (await other.answer()).status == 101
        entry = on.proxy.fleet.entries["acme"]
        assert (entry.tunnels, entry.in_flight) == (2, 2)
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        access = on.registry.accesses[-1]["acme"]
        assert (access.tunnels, access.in_flight) == (2, 2)
        other.writer.close()
        await until(lambda: entry.tunnels == 1)
        one.writer.close()
        await until(lambda: not entry.tunnels and not entry.in_flight)


async def test_each_wake_has_its_own_report() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        for _ in range(2):
            on.change(observed=on.observed(None), desired=DesiredState(state=Desired.PASSIVATED))
            asking = asyncio.create_task(on.ask(get()))
            await until(lambda: on.proxy.tally.held)
            await answers(on, App())
            assert (await asking).status == 200
            await reported(on)
        assert [report.wake for report in await reported(on)] == [1, 2]


async def test_a_wake_that_could_not_be_asked_for_is_no_part_of_the_next() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        on.registry.away = True
        async with on.visitor() as waits:
            waits.send(get("/first"))
            await until(lambda: on.proxy.tally.wakes["unavailable"])
            reset(waits.writer)
            await until(lambda: not on.proxy.connections)
        await until(lambda: (waking := on.proxy.fleet.entries["acme"].waking) is not None and waking.done())
        on.registry.away = False
        asking = asyncio.create_task(on.ask(get("/second")))
        await until(lambda: on.registry.askers[-1] and on.proxy.tally.wakes["asked"])
        await answers(on, App())
        assert (await asking).status == 200
        (report,) = await reported(on)
        assert report.request_id == on.registry.askers[-1] != on.registry.askers[0]


async def test_a_registry_that_is_away_delays_the_report_and_no_request() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        asking = asyncio.create_task(on.ask(get()))
        await until(lambda: on.proxy.tally.held)
        await answers(on, App(OK))
        on.registry.away = True
        assert (await asking).status == 200
        assert await reported(on) == []
        on.registry.away = False
        assert [report.wake for report in await reported(on)] == [1]


async def test_a_tenant_that_goes_is_not_waited_for() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        asking = asyncio.create_task(on.ask(get()))
        await until(lambda: on.proxy.tally.held)
        entry = on.proxy.fleet.entries["acme"]
        on.become("acme", None)
        assert (await asking).status in (404, 502, 503)
        assert await reported(on) == []
        assert entry.awaited is None


@pytest.mark.parametrize("path", ["/", "/again"])
async def test_a_tenant_that_is_awake_is_not_looked_at(path: str) -> None:
    async with stage() as on:
        await on.serve()
        assert (await on.ask(get(path))).status == 200
        assert not on.proxy.fleet.entries["acme"].limited
        assert await reported(on) == []


async def test_wakes_are_counted_by_how_they_ended() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare()
        ends = on.proxy.tally.wake_ends
        asking = asyncio.create_task(on.ask(get()))
        await until(lambda: on.proxy.tally.held)
        on.change("acme", observed=ObservedState(state=Observed.FAILED, reason=Reason(ReasonCode.EXITED, "it ended")))
        assert (await asking).status == 503
        await reported(on)
        await reported(on)
        assert ends == {"failed": 1}, "once, however often it is looked at"
        await answers(on, App())
        assert (await on.ask(get())).status == 200
        await reported(on)
        assert ends == {"failed": 1, "answered": 1}, "it was tried again, and then it answered"


async def test_a_wake_whose_answer_nobody_fetched_is_counted_as_that() -> None:
    async with stage() as on:
        plays_registry(on)
        on.declare(wake={"mode": "page"})
        assert (await on.ask(get("/", *NAVIGATES))).status == 503
        await answers(on, App())
        await reported(on)
        assert not on.proxy.tally.wake_ends
        on.change("acme", desired=DesiredState(state=Desired.PASSIVATED), observed=on.observed(None))
        assert (await on.ask(get("/", *NAVIGATES))).status == 503
        assert on.proxy.tally.wake_ends == {"unfetched": 1}
