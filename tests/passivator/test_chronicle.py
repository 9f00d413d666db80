"""Timelines as passivator writes them: behind everything else, one writer, through restarts and troubles."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import Phase
from gogeta.domain.timeline import Kind, Timeline, TimelineEvent, WakeReport, fold, wakes_of
from gogeta.registry import keys
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.store import Put, RegistryRefusedError
from passivator.chronicle import Chronicle
from passivator.meters import Meters
from tests.passivator.stage import Faults, Habit, Stage

pytestmark = pytest.mark.virtual_time
SEEN = (Phase("asked", 2.0), Phase("known", 1400.0), Phase("answered", 5.0))


async def timeline(stage: Stage, name: str = "acme") -> Timeline:
    return (await stage.registry.timeline(name))[0]


async def kinds(stage: Stage) -> list[str]:
    return [event.kind.value for event in (await timeline(stage)).events]


async def wake_and_sleep(stage: Stage) -> None:
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.until("acme", Observed.STOPPED, within=60)
    await asyncio.sleep(3)


async def test_a_wake_and_a_sleep_are_told_with_their_phases_and_the_proxys_report(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="10s")
    await asyncio.sleep(1)
    await stage.registry.change_desired("acme", Cause.REQUEST, request_id="r-1")
    await stage.until("acme", Observed.STARTED)
    report = WakeReport(wake=1, at=5, by="gogeta/a", request_id="r-1", visitor="person", phases=SEEN, held=3)
    await stage.registry.report_wakes({"acme": report})
    await stage.until("acme", Observed.STOPPED, within=60)
    await asyncio.sleep(3)
    told = await kinds(stage)
    assert [kind for kind in told if kind != "starting"] == [
        "declared",
        "asked",
        "ready",
        "first-byte",
        "sleep",
        "stopping",
        "stopped",
    ]
    (wake,) = wakes_of((await timeline(stage)).events)
    assert (wake.by, wake.request_id, wake.outcome, wake.held) == ("test", "r-1", "ready", 3)
    assert [step.name for step in wake.steps] == ["queued", "started", "ready"]
    assert wake.first_byte_ms == 1407.0
    assert stage.metric("passivator_wakes_total", cause="request") == 1
    assert stage.metric("passivator_wake_seconds_count", phase="total") == 1
    assert stage.metric("passivator_timeline_writes_total") > 0


async def test_several_steps_are_one_write(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(start_seconds=0.01, ready_after=0.02)
    await stage.up()
    await stage.declare("acme")
    await asyncio.sleep(1.5)
    await stage.wake("acme")
    await asyncio.sleep(5)
    assert stage.metric("passivator_timeline_writes_total") <= 2
    assert (await kinds(stage))[-1] == "ready"


async def test_sleeping_tenants_cost_nothing_at_the_begin(stage: Stage) -> None:
    for number in range(50):
        await stage.declare(f"tenant-{number}")
    await stage.up()
    await asyncio.sleep(10)
    assert stage.metric("passivator_timeline_writes_total") == 0
    assert (await stage.registry.store.list(keys.TIMELINE)).entries == ()


async def test_it_goes_on_after_a_restart_and_learns_what_was_missed(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(start_seconds=0.01, ready_after=0.02)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    # Killed before a word of it was written.
    await stage.kill()
    assert (await timeline(stage)).events == ()
    await stage.up()
    await asyncio.sleep(5)
    assert [kind for kind in await kinds(stage) if kind != "starting"] == ["asked", "ready"]
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await asyncio.sleep(3)
    await stage.kill()
    await stage.up()
    await asyncio.sleep(5)
    assert [kind for kind in await kinds(stage) if kind != "starting"] == [
        "asked",
        "ready",
        "sleep",
        "stopping",
        "stopped",
    ]


@pytest.mark.parametrize("at", range(0, 60, 3))
async def test_killed_anywhere_nothing_is_told_twice_and_the_end_is_told(stage: Stage, at: int) -> None:
    faults = Faults(at)
    await stage.up(faults)
    await stage.declare("acme", idle_timeout="10s")
    await stage.wake("acme")
    await asyncio.sleep(30)
    await stage.kill()
    await stage.up()
    await asyncio.sleep(60)
    assert (await stage.observed("acme")).state is Observed.STOPPED
    events = (await timeline(stage)).events
    record = await stage.record("acme")
    assert len({(event.kind, event.at, event.wake, event.text) for event in events}) == len(events)
    assert events[-1].kind is Kind.STOPPED
    assert fold(Timeline(events=events), [record]).events == events


async def test_a_registry_that_refuses_timelines_delays_no_start_and_no_stop(stage: Stage) -> None:
    await stage.up()
    await asyncio.sleep(1)
    store, commit = stage.store, stage.store.commit

    async def refusing(operations, guards=()):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if any(operation.key.startswith(keys.TIMELINE) for operation in operations):
            await asyncio.sleep(3)
            raise RegistryRefusedError("permission denied")
        return await commit(operations, guards)

    store.commit = refusing  # type: ignore[method-assign]
    await stage.declare("acme", idle_timeout="10s")
    began = asyncio.get_running_loop().time()
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    assert asyncio.get_running_loop().time() - began < 2
    await stage.until("acme", Observed.STOPPED, within=15)
    store.commit = commit  # type: ignore[method-assign]
    await asyncio.sleep(60)
    told = [kind for kind in await kinds(stage) if kind != "starting"]
    assert told == ["declared", "asked", "ready", "sleep", "stopping", "stopped"]
    assert stage.metric("passivator_timeline_dropped_total") == 0


async def test_news_of_a_long_trouble_are_dropped_from_the_oldest_on_and_counted(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await asyncio.sleep(1)
    commit = stage.store.commit

    async def refusing(operations, guards=()):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if any(operation.key.startswith(keys.TIMELINE) for operation in operations):
            raise RegistryRefusedError("disk full")
        return await commit(operations, guards)

    stage.store.commit = refusing  # type: ignore[method-assign]
    for _ in range(30):
        await stage.registry.change_desired("acme", Cause.WAKE)
        await stage.until("acme", Observed.STARTED)
        await stage.registry.change_desired("acme", Cause.SLEEP)
        await stage.until("acme", Observed.STOPPED)
    stage.store.commit = commit  # type: ignore[method-assign]
    await asyncio.sleep(60)
    assert stage.metric("passivator_timeline_dropped_total") > 0
    wakes = wakes_of((await timeline(stage)).events)
    assert wakes[-1].number == 30


async def test_two_writers_lose_nothing_of_each_other(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(3)
    known, revision = await stage.registry.timeline("acme")
    # Another passivator, which believes that it leads, writes as well.
    other = WakeReport(wake=1, at=9, by="gogeta/b", phases=SEEN)
    assert await stage.registry.write_timelines({"acme": (fold(known, [other]), revision)}) is not None
    assert await stage.registry.write_timelines({"acme": (known, revision)}) is None
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await asyncio.sleep(5)
    told = await kinds(stage)
    assert "first-byte" in told
    assert told[-1] == "stopped"


async def test_nothing_is_left_of_a_removed_tenant(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="5s")
    await wake_and_sleep(stage)
    await stage.registry.report_wakes({"acme": WakeReport(wake=1, at=1, phases=SEEN)})
    await stage.registry.remove("acme")
    await asyncio.sleep(10)
    for prefix in (keys.TIMELINE, keys.WAKES):
        assert (await stage.registry.store.list(prefix)).entries == ()
    # And its successor of the same name begins anew.
    await stage.declare("acme", idle_timeout="5s")
    await wake_and_sleep(stage)
    events = (await timeline(stage)).events
    assert events[0].kind is Kind.DECLARED
    assert [event.wake for event in events if event.kind is Kind.ASKED] == [1]


async def test_a_late_write_does_not_outlive_its_tenant(stage: Stage) -> None:
    await stage.declare("acme")
    record = await stage.record("acme")
    meters = Meters(CollectorRegistry(), driver="memory")
    chronicle = Chronicle(stage.registry, TenantMirror(stage.registry.store), meters, mine=lambda _: True)
    chronicle.note("acme", TimelineEvent(at=1, kind=Kind.NOTE, text="moved house"))
    late = asyncio.Event()
    store, commit = stage.registry.store, stage.registry.store.commit

    async def slow(operations, guards=()):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if isinstance(operations[0], Put) and operations[0].key.startswith(keys.TIMELINE):
            await late.wait()
        return await commit(operations, guards)

    store.commit = slow  # type: ignore[method-assign]
    writing = asyncio.create_task(chronicle.write())
    await asyncio.sleep(1)
    await stage.registry.remove("acme")
    chronicle.changed("acme", record, None)
    late.set()
    await writing
    assert (await stage.registry.store.list(keys.TIMELINE)).entries == ()


async def test_a_crash_loop_stays_readable(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(dies_after=0.2, ready_after=None)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await asyncio.sleep(300)
    events = (await timeline(stage)).events
    failed = [event for event in events if event.kind in (Kind.FAILED, Kind.CRASHED)]
    assert len(events) < 8
    assert failed[-1].times > 3
    assert failed[-1].why == "exited"


async def test_the_end_of_a_wake_that_a_killed_passivator_never_told_is_told_before_what_came_after_it(
    stage: Stage,
) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.kill()
    await stage.registry.report_wakes({"acme": WakeReport(wake=1, at=1, phases=SEEN)})
    await stage.up()
    await asyncio.sleep(0.1)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await asyncio.sleep(3)
    told = await kinds(stage)
    assert told.index("ready") < told.index("first-byte") < told.index("sleep")
    assert told[-1] == "stopped"
    assert told.count("first-byte") == 1
