"""The life cycle as stories, on virtual time: whole controllers over a simulated runtime and a registry in memory."""

import asyncio
from dataclasses import replace

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import TenantName
from gogeta.registry.store import Delete
from passivator.drivers.base import Status
from tests.passivator.stage import Faults, Habit, Stage

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


# ---------------------------------------------------------------------------------------------- waking and sleeping


async def test_a_wake_starts_the_tenant_and_tells_where_it_answers_and_how_long_each_phase_took(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await asyncio.sleep(1)
    assert await stage.wake("acme") == 1
    began = now()
    observed = await stage.until("acme", Observed.STARTED)
    assert 1.2 < now() - began < 1.6
    assert observed.endpoints == stage.runtime.look(TenantName("acme")).endpoints
    assert observed.instance == "acme-1"
    assert observed.wakes == 1
    phases = {phase.name: phase.ms for phase in observed.phases}
    assert list(phases) == ["queued", "started", "ready"]
    assert phases["started"] == pytest.approx(300, abs=30)
    assert phases["ready"] == pytest.approx(1000, abs=300)


async def test_the_phase_under_way_is_shown(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(start_seconds=2, ready_after=2)
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    assert (await stage.until("acme", Observed.STARTING)).phase == "starting"
    await asyncio.sleep(3)
    observed = await stage.observed("acme")
    assert observed.phase == "waiting until it is ready"
    assert [phase.name for phase in observed.phases] == ["queued", "started"]


async def test_many_wakes_are_one_start(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    wakes = await asyncio.gather(*(stage.wake("acme") for _ in range(50)))
    assert set(wakes) == {1}
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(60)
    assert stage.counted("start", "acme") == 1


async def test_an_idle_tenant_sleeps_after_its_timeout_and_not_before(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="10m")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    began = now()
    await asyncio.sleep(300)
    await stage.use("acme")
    used = now()
    await stage.until("acme", Observed.STOPPING, within=1000)
    assert 600 <= now() - used < 602
    assert now() - began > 890
    await stage.until("acme", Observed.STOPPED)
    record = await stage.record("acme")
    assert (record.desired.state, record.desired.cause) == (Desired.PASSIVATED, Cause.IDLE)
    assert not stage.runtime.running("acme")
    assert stage.metric("passivator_passivations_total", cause="idle") == 1


async def test_a_tenant_in_use_is_never_put_to_sleep(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="10s")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    for _ in range(200):
        await stage.use("acme", in_flight=1)
        await asyncio.sleep(1)
    assert stage.counted("stop", "acme") == 0
    assert (await stage.record("acme")).desired.state is Desired.STARTED


async def test_never_means_never(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(3 * 3600)
    assert stage.runtime.running("acme")


async def test_the_idle_timer_does_not_run_during_a_start(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(ready_after=50)
    await stage.up()
    await stage.declare("acme", idle_timeout="5s")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED, within=60)
    ready = now()
    await stage.until("acme", Observed.STOPPING)
    assert 5 <= now() - ready < 6


async def test_a_tenant_is_judged_anew_at_once_when_its_idle_timeout_is_changed(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(100)
    await stage.declare("acme", idle_timeout="50s")
    await stage.until("acme", Observed.STOPPED, within=5)


async def test_use_between_the_judgement_and_its_writing_keeps_it_awake(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="10s")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(9.5)
    stage.store.delay = 2.0
    await asyncio.sleep(1)
    await stage.use("acme")
    await asyncio.sleep(5)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    assert stage.counted("stop", "acme") == 0


async def test_a_proxy_takes_a_sleep_back_before_anything_is_stopped(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(0.3)
    await stage.registry.change_desired("acme", Cause.IN_USE)
    await asyncio.sleep(10)
    assert stage.counted("stop", "acme") == 0
    assert (await stage.observed("acme")).state is Observed.STARTED


async def test_a_sleep_taken_back_at_the_last_moment_that_we_have_not_heard_of_stops_nothing(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(0.4)
    # Its watch is cut silently: it does not see what follows, but its calls go through.
    stage.store.silence_watches()
    await stage.registry.change_desired("acme", Cause.IN_USE)
    await asyncio.sleep(20)
    assert stage.counted("stop", "acme") == 0
    assert (await stage.observed("acme")).state is Observed.STARTED


@pytest.mark.parametrize("after", [0.1, 0.5, 0.51, 0.6, 0.9, 1.0, 1.01, 1.1, 2.0])
async def test_a_request_at_any_moment_of_going_to_sleep_is_served_in_the_end(stage: Stage, after: float) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(after)
    await stage.wake("acme")
    await asyncio.sleep(5)
    observed = await stage.until("acme", Observed.STARTED)
    assert stage.runtime.running("acme")
    assert observed.endpoints == stage.runtime.look(TenantName("acme")).endpoints
    assert observed.wakes == 2


async def test_a_stop_asked_for_during_a_start_is_honoured(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(ready_after=20)
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await asyncio.sleep(3)
    await stage.registry.change_desired("acme", Cause.STOP)
    await stage.until("acme", Observed.STOPPED, within=3)
    await asyncio.sleep(30)
    assert not stage.runtime.running("acme")


async def test_an_operators_stop_is_not_undone_by_idling_or_looking(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.registry.change_desired("acme", Cause.STOP)
    await asyncio.sleep(100)
    assert stage.counted("start", "acme") == 0
    await stage.registry.change_desired("acme", Cause.START)
    await stage.until("acme", Observed.STARTED)


# ------------------------------------------------------------------------------------------------------- failures


async def test_a_crash_of_a_good_tenant_is_answered_by_a_start_at_once(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    first = await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(100)
    stage.runtime.end("acme")
    crashed = now()
    await stage.until("acme", Observed.STARTING, Observed.FAILED, within=1)
    second = await stage.until("acme", Observed.STARTED)
    assert now() - crashed < 2
    assert second.instance != first.instance
    assert second.endpoints != first.endpoints
    assert stage.metric("passivator_crashes_total", reason="exited") == 1


async def test_a_crash_that_no_event_told_of_is_found_by_the_resync(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    stage.runtime.things[TenantName("acme")].habit.dies_after = 0.0
    await asyncio.sleep(stage.settings.resync + 3)
    assert stage.counted("start", "acme") >= 2


async def test_a_proxys_hint_makes_it_look_at_once_and_is_cleared(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    observed = await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(5)
    stage.runtime.things[TenantName("acme")].habit.dies_after = 0.0
    await stage.registry.suspect("acme", observed.instance)
    await asyncio.sleep(0.2)
    assert (await stage.observed("acme")).state is not Observed.STARTED
    assert not stage.space.list("/gogeta/v1/suspects/").entries


async def test_a_hint_about_an_earlier_start_changes_nothing(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(5)
    calls = len(stage.runtime.calls)
    await stage.registry.suspect("acme", "an earlier one")
    await asyncio.sleep(1)
    assert len(stage.runtime.calls) == calls
    assert not stage.space.list("/gogeta/v1/suspects/").entries


async def test_a_missing_image_fails_at_once_with_its_reason_and_is_tried_again_later_and_later(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.IMAGE_MISSING)
    stage.settings = replace(stage.settings, max_failures=0)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    observed = await stage.until("acme", Observed.FAILED, within=1)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.IMAGE_MISSING
    assert observed.reason.retry_at is not None
    await asyncio.sleep(3600)
    assert 12 <= stage.counted("start", "acme") <= 40
    assert stage.metric("passivator_starts_total", result="failed", reason="image-missing") >= 12


async def test_once_the_image_is_there_the_next_try_succeeds_and_an_operator_need_not_wait_for_it(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.IMAGE_MISSING)
    stage.settings = replace(stage.settings, max_failures=0)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await asyncio.sleep(1000)
    starts = stage.counted("start", "acme")
    while stage.counted("start", "acme") == starts:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(1)
    stage.runtime.habits["acme"] = Habit()
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    # A visitor's wake has to wait for the next try, and is told why.
    await stage.wake("acme")
    assert (await stage.until("acme", Observed.FAILED, within=1)).reason is not None
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await stage.registry.change_desired("acme", Cause.WAKE)
    await stage.until("acme", Observed.STARTED, within=3)


async def test_an_operator_who_asks_again_for_what_has_failed_gets_a_new_try_at_once(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.IMAGE_MISSING)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await asyncio.sleep(1000)
    await stage.until("acme", Observed.FAILED)
    stage.runtime.habits["acme"] = Habit()
    again = await stage.registry.change_desired("acme", Cause.START, renew=True)
    observed = await stage.until("acme", Observed.STARTED, within=3)
    assert observed.wakes == again.desired.wakes


async def test_a_tenant_that_never_gets_ready_fails_in_its_time_is_stopped_and_started_anew(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(ready_after=None)
    await stage.up()
    await stage.declare("acme", ready={"timeout": "20s"})
    await stage.wake("acme")
    began = now()
    observed = await stage.until("acme", Observed.FAILED)
    assert 20 <= now() - began < 21
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.NOT_READY
    await asyncio.sleep(0.6)
    assert not stage.runtime.running("acme")
    stage.runtime.habits["acme"] = Habit()
    await stage.until("acme", Observed.STARTED)


async def test_one_that_turns_unhealthy_or_dies_while_it_starts_does_not_use_up_its_time(stage: Stage) -> None:
    stage.runtime.habits["red"] = Habit(ready_after=None, unhealthy_after=2)
    stage.runtime.habits["dead"] = Habit(ready_after=None, dies_after=2)
    await stage.up()
    for name, code in (("red", ReasonCode.UNHEALTHY), ("dead", ReasonCode.EXITED)):
        await stage.declare(name)
        await stage.wake(name)
        observed = await stage.until(name, Observed.FAILED, within=5)
        assert observed.reason is not None
        assert observed.reason.code is code
        assert name == "red" or "exit code 3: I am dead" in observed.reason.message


async def test_a_tenant_that_fails_for_ever_and_that_nobody_uses_is_put_to_sleep(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.COMMAND_FAILED)
    await stage.up()
    await stage.declare("acme", idle_timeout="10m")
    await stage.wake("acme")
    await stage.until("acme", Observed.FAILED)
    await asyncio.sleep(700)
    record = await stage.record("acme")
    assert record.desired.state is Desired.PASSIVATED
    assert record.observed.state is Observed.STOPPED
    assert record.observed.reason is not None, "why it failed is still there"
    starts = stage.counted("start", "acme")
    await asyncio.sleep(3600)
    assert stage.counted("start", "acme") == starts


async def test_a_stop_that_fails_is_recorded_and_tried_again(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    stage.runtime.habits["acme"].stop_fails = True
    await stage.registry.change_desired("acme", Cause.SLEEP)
    observed = await stage.until("acme", Observed.FAILED)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.STOP_FAILED
    stage.runtime.habits["acme"].stop_fails = False
    await stage.until("acme", Observed.STOPPED)


async def test_one_that_was_paused_by_hand_is_resumed(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    thing = stage.runtime.things[TenantName("acme")]
    thing.runtime = replace(thing.runtime, status=Status.PAUSED)
    stage.runtime.tell("acme")
    await asyncio.sleep(3)
    await stage.until("acme", Observed.STARTED)
    assert stage.runtime.running("acme")


async def test_one_that_was_started_by_hand_while_it_should_sleep_is_stopped(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await asyncio.sleep(1)
    stage.runtime.run(TenantName("acme"))
    stage.runtime.tell("acme")
    await asyncio.sleep(2)
    assert not stage.runtime.running("acme")


# ------------------------------------------------------------------------------------------------------- outages


async def test_while_the_registry_is_away_nothing_is_stopped_and_nobody_is_put_to_sleep(stage: Stage) -> None:
    await stage.up()
    await stage.declare("idle", idle_timeout="10s")
    await stage.declare("stopping")
    for name in ("idle", "stopping"):
        await stage.wake(name)
        await stage.until(name, Observed.STARTED)
    await stage.registry.change_desired("stopping", Cause.SLEEP)
    await asyncio.sleep(0.2)
    stage.store.go_away()
    await asyncio.sleep(3600)
    assert stage.problems["registry"]
    assert stage.runtime.running("idle")
    assert stage.runtime.running("stopping")
    stage.store.come_back()
    back = now()
    await stage.until("stopping", Observed.STOPPED)
    assert stage.runtime.running("idle"), "its proxies get time to write what they held back"
    await stage.until("idle", Observed.STOPPED)
    assert now() - back > 10
    assert stage.problems["registry"] is None


async def test_a_start_under_way_when_the_registry_goes_is_finished_and_recorded_when_it_is_back(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTING)
    stage.store.go_away()
    await asyncio.sleep(60)
    assert stage.runtime.running("acme")
    assert (await stage.observed("acme")).state is Observed.STARTING
    stage.store.come_back()
    await stage.until("acme", Observed.STARTED, within=10)
    assert stage.counted("start", "acme") == 1


async def test_while_the_registry_is_away_nothing_new_is_started(stage: Stage) -> None:
    # What starts anew may get an address that proxies, who hear nothing either, still take for another tenant's.
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    stage.store.go_away()
    await asyncio.sleep(30)
    stage.runtime.end("acme")
    await asyncio.sleep(600)
    assert stage.counted("start", "acme") == 1
    stage.store.come_back()
    await stage.until("acme", Observed.STARTING, Observed.FAILED, within=10)
    await stage.until("acme", Observed.STARTED)
    assert stage.counted("start", "acme") == 2


async def test_lost_answers_and_compactions_change_nothing(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    for _ in range(5):
        stage.store.answers_to_lose = 2
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        stage.store.answers_to_lose = 2
        stage.space.compact()
        stage.store.cut_watches()
        await stage.registry.change_desired("acme", Cause.SLEEP)
        await stage.until("acme", Observed.STOPPED)
    assert stage.counted("start", "acme") == 5
    assert stage.metric("passivator_faults_total") == 0


async def test_while_the_runtime_is_away_nothing_is_called_failed_and_it_goes_on_when_it_is_back(stage: Stage) -> None:
    await stage.up()
    await stage.declare("up")
    await stage.declare("waking")
    await stage.wake("up")
    await stage.until("up", Observed.STARTED)
    stage.runtime.down = True
    stage.runtime.tell(None)
    await stage.wake("waking")
    await asyncio.sleep(120)
    assert stage.problems["runtime"]
    assert (await stage.observed("up")).state is Observed.STARTED
    waking = await stage.observed("waking")
    assert (waking.state, waking.phase) == (Observed.STARTING, "waiting for the runtime")
    assert len(stage.runtime.calls) < 200, "no hot loop"
    stage.runtime.down = False
    await stage.until("waking", Observed.STARTED)
    assert stage.counted("stop", "up") == 0
    await asyncio.sleep(40)
    assert stage.problems["runtime"] is None


async def test_a_runtime_and_a_registry_that_are_not_there_yet_are_waited_for(stage: Stage) -> None:
    await stage.declare("acme")
    await stage.wake("acme")
    stage.runtime.down = True
    await stage.up()
    stage.store.go_away()
    await asyncio.sleep(60)
    assert stage.problems["registry"]
    assert stage.problems["runtime"]
    stage.runtime.down = False
    stage.store.come_back()
    await stage.until("acme", Observed.STARTED)


# ------------------------------------------------------------------------------------------------------- restarts


async def test_after_a_restart_what_runs_and_should_is_left_alone(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    before = await stage.until("acme", Observed.STARTED)
    await stage.kill()
    await stage.up()
    assert await stage.history("acme", 60) == [Observed.STARTED]
    assert await stage.observed("acme") == before
    assert stage.counted("start", "acme") == 1


async def test_after_a_restart_it_is_put_to_sleep_in_its_time(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="60s")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(50)
    await stage.kill()
    await stage.up()
    restarted = now()
    await stage.until("acme", Observed.STOPPED, within=100)
    assert now() - restarted >= 60


async def test_after_a_restart_what_crashed_meanwhile_is_started_and_what_should_sleep_is_stopped(stage: Stage) -> None:
    await stage.up()
    for name in ("crashed", "asleep"):
        await stage.declare(name)
        await stage.wake(name)
        await stage.until(name, Observed.STARTED)
    await stage.kill()
    stage.runtime.end("crashed")
    await stage.registry.change_desired("asleep", Cause.SLEEP)
    await stage.up()
    await stage.until("asleep", Observed.STOPPED)
    assert not stage.runtime.running("asleep")
    await asyncio.sleep(3)
    await stage.until("crashed", Observed.STARTED)


# ------------------------------------------------------------------------------------------------------- declarations


async def test_a_removed_tenant_is_stopped_removed_and_forgotten(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.remove("acme")
    await asyncio.sleep(3)
    assert not stage.runtime.things
    assert not [entry.key for entry in stage.space.list("/gogeta/v1/").entries if entry.key.endswith("/acme")]
    assert stage.metric("passivator_removals_total") == 1


async def test_a_tenant_removed_while_passivator_was_down_is_cleaned_up(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.kill()
    await stage.registry.remove("acme")
    await stage.up()
    await asyncio.sleep(3)
    assert not stage.runtime.things


async def test_a_tenant_removed_and_declared_again_at_once_is_a_new_one(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.remove("acme")
    await stage.declare("acme")
    await asyncio.sleep(5)
    assert not stage.runtime.running("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)


async def test_what_this_registry_never_knew_is_left_alone(stage: Stage) -> None:
    stage.runtime.run(TenantName("stranger"))
    await stage.up()
    await asyncio.sleep(200)
    assert stage.runtime.running("stranger")


async def test_a_lost_registry_removes_nothing(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.kill()
    stage.space.commit([Delete(entry.key) for entry in stage.space.list("/").entries], ())
    await stage.up()
    await asyncio.sleep(100)
    assert stage.runtime.running("acme")


async def test_a_changed_command_of_a_running_tenant_waits_for_its_next_start(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.declare("acme", docker={"image": "app:2"})
    await asyncio.sleep(100)
    assert stage.counted("start", "acme") == 1
    assert stage.counted("stop", "acme") == 0


async def test_a_tenant_of_another_driver_is_left_to_its_passivator(stage: Stage) -> None:
    await stage.up(kind="process")
    await stage.declare("acme")
    other = Stage()
    other.space, other.registry = stage.space, stage.registry
    await other.up(kind="docker")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(60)
    assert stage.counted("start", "acme") == 0
    assert other.counted("start", "acme") == 1
    await other.kill()


async def test_a_tenant_that_no_passivator_runs_says_which_one_is_missing(stage: Stage) -> None:
    await stage.up(kind="process")
    await stage.declare("acme")
    await stage.wake("acme")
    observed = await stage.until("acme", Observed.FAILED, within=20)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.BAD_SPEC
    assert "passivator --driver docker" in observed.reason.message
    other = Stage()
    other.space, other.registry = stage.space, stage.registry
    await other.up(kind="docker")
    await stage.until("acme", Observed.STARTED)
    await other.kill()


async def test_a_tenant_that_moves_to_another_driver_leaves_nothing_behind(stage: Stage) -> None:
    await stage.up(kind="docker")
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.declare("acme", docker=None, upstreams=["http://10.0.0.7"])
    await asyncio.sleep(3)
    assert not stage.runtime.things
    assert (await stage.observed("acme")).state is Observed.STOPPED


# ------------------------------------------------------------------------------------------------------- many


async def test_never_more_starts_at_once_than_allowed_and_all_get_their_turn_in_order() -> None:
    stage = Stage(max_starts=4)
    await stage.up()
    names = [f"t{number:02}" for number in range(50)]
    for name in names:
        await stage.declare(name)
    await asyncio.sleep(1)
    for name in names:
        await stage.wake(name)
    await asyncio.sleep(0.1)
    waiting = await stage.observed("t49")
    assert waiting.state is Observed.STARTING
    assert "45 before it" in waiting.phase
    most = 0.0
    for _ in range(400):
        most = max(most, stage.metric("passivator_starts_in_progress"))
        await asyncio.sleep(0.05)
    for name in names:
        assert (await stage.observed(name)).state is Observed.STARTED
    assert stage.runtime.most_starting == 4
    assert most == 4
    # Four start side by side; beyond that nobody overtakes.
    assert all(abs(stage.runtime.order.index(name) - place) < 4 for place, name in enumerate(names))
    await stage.kill()


class SlowClaim(Faults):
    """One tenant's first record takes long to be written."""

    def __init__(self, tenant: str) -> None:
        super().__init__()
        self._tenant = tenant

    async def point(self, name: str) -> None:
        if name.startswith("before commit") and name.endswith(f"observed/{self._tenant}"):
            self._tenant = "nobody"
            await asyncio.sleep(3)
        await super().point(name)


async def test_a_claim_that_takes_long_costs_a_tenant_its_place_no_more_than_its_own_time() -> None:
    stage = Stage(max_starts=1)
    await stage.up(SlowClaim("t01"))
    names = [f"t{number:02}" for number in range(6)]
    for name in names:
        await stage.declare(name)
    await asyncio.sleep(1)
    for name in names:
        await stage.wake(name)
    await asyncio.sleep(20)
    assert stage.runtime.order == names
    await stage.kill()


async def test_who_does_not_want_to_start_any_more_leaves_the_queue() -> None:
    stage = Stage(max_starts=1)
    await stage.up()
    for name in ("a", "b", "c"):
        await stage.declare(name)
        await stage.wake(name)
    await asyncio.sleep(0.1)
    await stage.registry.change_desired("b", Cause.SLEEP)
    await stage.until("c", Observed.STARTED, within=4)
    assert stage.counted("start", "b") == 0
    assert (await stage.observed("b")).state is Observed.STOPPED
    await stage.kill()


async def test_a_slow_stop_of_one_does_not_delay_another(stage: Stage) -> None:
    stage.runtime.habits["slow"] = Habit(stop_seconds=600)
    await stage.up()
    for name in ("slow", "quick"):
        await stage.declare(name)
    await stage.wake("slow")
    await stage.until("slow", Observed.STARTED)
    await stage.registry.change_desired("slow", Cause.SLEEP)
    await stage.until("slow", Observed.STOPPING)
    await stage.wake("quick")
    await stage.until("quick", Observed.STARTED, within=2)
