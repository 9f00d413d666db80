"""The plan over every combination of what can be: total, in the tables, and never a stop of what should run."""

import itertools

import pytest

from gogeta.domain.lifecycle import Desired, Event, Observed, next_observed
from gogeta.domain.state import ObservedState, Reason, ReasonCode
from gogeta.domain.upstreams import Endpoint
from passivator.core.plan import (
    Action,
    AwaitReady,
    Follow,
    Look,
    Note,
    Nothing,
    Pause,
    Remove,
    Resume,
    Resumed,
    Start,
    Stop,
    StopCause,
    View,
    Wait,
    end_reason,
    plan,
)
from passivator.core.tiers import Depth
from passivator.drivers.base import NOTHING, Health, Runtime, Status

NOW = 1000.0
HERE = Endpoint("127.0.0.1", 8001)
ELSEWHERE = Endpoint("127.0.0.1", 8002)
NOT_READY = Reason(ReasonCode.NOT_READY, "never answered")
CRASHED = Reason(ReasonCode.EXITED, "exit status 1")


def up(instance: str = "i1", *endpoints: Endpoint, health: Health = Health.NONE) -> Runtime:
    return Runtime(status=Status.RUNNING, instance=instance, endpoints=endpoints or (HERE,), health=health)


def ended(instance: str = "i1", code: int = 1) -> Runtime:
    return Runtime(status=Status.EXITED, instance=instance, exit_code=code)


def was(state: Observed, instance: str = "i1", reason: Reason | None = None) -> ObservedState:
    endpoints = (HERE,) if state is Observed.STARTED else ()
    return ObservedState(state=state, instance=instance, endpoints=endpoints, reason=reason)


def decide(desired: Desired | None, observed: ObservedState, runtime: Runtime | None, **more: object) -> Action:
    return plan(View(desired=desired, observed=observed, runtime=runtime, **more), NOW)  # type: ignore[arg-type]


RUNTIMES = [
    None,
    NOTHING,
    ended(),
    ended("i2"),
    Runtime(status=Status.EXITED),
    Runtime(status=Status.BROKEN, instance="i1", endpoints=(HERE,), exit_code=3),
    up(),
    up("i2"),
    up("i1", ELSEWHERE),
    up(health=Health.UNHEALTHY),
    Runtime(status=Status.STOPPING, instance="i1"),
    Runtime(status=Status.PAUSED, instance="i1"),
    Runtime(status=Status.PAUSED, instance="i2"),
]
OBSERVEDS = [
    *(was(state, instance) for state in Observed for instance in ("", "i1")),
    was(Observed.FAILED, reason=NOT_READY),
    was(Observed.FAILED, reason=CRASHED),
]
EVERYTHING = [
    View(
        desired=desired,
        observed=observed,
        runtime=runtime,
        fresh=fresh,
        retry_at=retry_at,
        settled_at=settled_at,
        attempt=attempt,
        failure=CRASHED,
        depth=depth,
    )
    for desired, observed, runtime, fresh, retry_at, settled_at, attempt, depth in itertools.product(
        [None, *Desired], OBSERVEDS, RUNTIMES, [True, False], [0.0, NOW + 5], [0.0, NOW + 0.5], ["", "i1"], Depth
    )
]


def test_every_action_is_in_the_tables() -> None:
    for view in EVERYTHING:
        match plan(view, NOW):
            case Start(event) | Note(event):
                next_observed(view.observed.state, event)
            case AwaitReady(instance, event):
                assert view.runtime is not None
                assert view.runtime.status is Status.RUNNING
                assert instance == view.runtime.instance
                # What follows a check that passes.
                assert next_observed(next_observed(view.observed.state, event), Event.READY) is Observed.STARTED
            case Pause():
                assert next_observed(view.observed.state, Event.PAUSED) is Observed.PAUSED
            case Resumed():
                again = next_observed(view.observed.state, Event.LAPSED)
                assert next_observed(again, Event.READY) is Observed.STARTED


def test_nothing_that_should_run_and_served_is_ever_stopped() -> None:
    for view in EVERYTHING:
        action = plan(view, NOW)
        if isinstance(action, Stop):
            if view.desired is Desired.STARTED:
                assert action.cause is StopCause.FAILED_START
                assert view.observed.state is Observed.FAILED
                broken = view.runtime is not None and view.runtime.status is Status.BROKEN
                if broken:
                    continue  # it does not serve: a part that it needs has ended
                assert view.observed.reason == NOT_READY
                assert view.runtime is not None
                assert view.runtime.instance == view.observed.instance
            else:
                assert action.cause is StopCause.ASLEEP


def test_nothing_that_should_sleep_is_ever_started() -> None:
    for view in EVERYTHING:
        if view.desired is not Desired.STARTED:
            assert not isinstance(plan(view, NOW), Start | AwaitReady | Resume | Resumed)


def test_only_what_should_be_paused_is_and_only_a_start_that_was_ready() -> None:
    for view in EVERYTHING:
        action = plan(view, NOW)
        if isinstance(action, Pause) or action == Note(Event.PAUSED):
            assert view.desired in (Desired.PASSIVATED, Desired.STOPPED)
            assert view.depth is Depth.PAUSE
            assert view.observed.state in (Observed.STARTED, Observed.PAUSED)
            assert view.runtime is not None
            assert view.runtime.instance == view.observed.instance != ""
        if isinstance(action, Pause) and view.observed.state is Observed.STARTED:
            assert view.settled_at <= NOW, "proxies have a say in it"


def test_only_the_very_start_that_was_paused_goes_on_without_a_check() -> None:
    for view in EVERYTHING:
        if isinstance(plan(view, NOW), Resume | Resumed):
            assert view.desired is Desired.STARTED
            assert view.observed.state is Observed.PAUSED
            assert view.runtime is not None
            assert view.runtime.instance == view.observed.instance != ""


def test_what_is_deep_asleep_runs_in_no_way() -> None:
    for view in EVERYTHING:
        if view.desired in (Desired.PASSIVATED, Desired.STOPPED) and view.depth is Depth.STOP:
            assert not isinstance(plan(view, NOW), Pause)
            if isinstance(plan(view, NOW), Nothing):
                assert view.runtime is not None
                assert view.runtime.status in {Status.ABSENT, Status.EXITED}


def test_only_what_is_not_declared_is_removed_and_only_on_fresh_evidence() -> None:
    for view in EVERYTHING:
        assert isinstance(plan(view, NOW), Remove) == (view.desired is None and view.fresh)


def test_nothing_starts_without_the_registry_or_before_its_retry_time() -> None:
    for view in EVERYTHING:
        if isinstance(plan(view, NOW), Start):
            assert view.fresh
            assert view.retry_at <= NOW


def test_what_is_as_it_should_be_is_left_alone() -> None:
    for view in EVERYTHING:
        if isinstance(plan(view, NOW), Nothing):
            assert view.runtime is not None
            if view.desired is Desired.STARTED:
                assert view.observed.state is Observed.STARTED
                assert view.runtime.instance == view.observed.instance
            elif view.runtime.status is Status.PAUSED:
                assert view.observed.state is Observed.PAUSED
                assert view.depth is Depth.PAUSE
            else:
                assert view.observed.state is Observed.STOPPED
                assert view.runtime.status in {Status.ABSENT, Status.EXITED}


def test_every_wait_ends_later_than_now() -> None:
    for view in EVERYTHING:
        if isinstance(action := plan(view, NOW), Wait):
            assert action.until > NOW


@pytest.mark.parametrize(
    ("desired", "observed", "runtime", "expected"),
    [
        # A wake: it is started without looking first.
        (Desired.STARTED, was(Observed.STOPPED), None, Start(Event.START)),
        (Desired.STARTED, was(Observed.STARTED), None, Look()),
        (Desired.STARTED, was(Observed.STARTED), up(), Nothing()),
        # Another start or another address: shown to be ready again before anybody is sent there.
        (Desired.STARTED, was(Observed.STARTED), up("i2"), AwaitReady("i2", Event.LAPSED)),
        (Desired.STARTED, was(Observed.STARTED), up("i1", ELSEWHERE), AwaitReady("i1", Event.LAPSED)),
        # Recorded before a restart of ours, and running: go on from there.
        (Desired.STARTED, was(Observed.STARTING), up(), AwaitReady("i1", Event.LAPSED)),
        (Desired.STARTED, was(Observed.STOPPING), up(), AwaitReady("i1", Event.LAPSED)),
        # A request during a stop: started anew when that has ended.
        (Desired.STARTED, was(Observed.STOPPING), ended(), Start(Event.START)),
        (Desired.STARTED, was(Observed.STOPPING), Runtime(status=Status.STOPPING), Start(Event.START)),
        (Desired.STARTED, was(Observed.STARTED), Runtime(status=Status.PAUSED), Start(Event.LAPSED)),
        (Desired.STARTED, was(Observed.FAILED, reason=NOT_READY), up(), Stop(StopCause.FAILED_START)),
        (Desired.STARTED, was(Observed.FAILED, reason=CRASHED), up("i2"), AwaitReady("i2", Event.LAPSED)),
        (Desired.STARTED, was(Observed.FAILED, reason=CRASHED), ended(), Start(Event.START)),
        (Desired.PASSIVATED, was(Observed.STARTED), up(), Stop(StopCause.ASLEEP)),
        (Desired.STOPPED, was(Observed.PAUSED), Runtime(status=Status.PAUSED), Stop(StopCause.ASLEEP)),
        # A stop that a restart of ours interrupted.
        (Desired.PASSIVATED, was(Observed.STOPPING), up(), Stop(StopCause.ASLEEP)),
        (Desired.PASSIVATED, was(Observed.STOPPING), ended(), Note(Event.EXITED)),
        (Desired.PASSIVATED, was(Observed.FAILED, reason=CRASHED), NOTHING, Note(Event.EXITED)),
        (Desired.PASSIVATED, was(Observed.STOPPED), NOTHING, Nothing()),
        # Started by hand behind our back.
        (Desired.PASSIVATED, was(Observed.STOPPED), up(), Stop(StopCause.ASLEEP)),
    ],
)
def test_the_rows_people_ask_about(
    desired: Desired, observed: ObservedState, runtime: Runtime | None, expected: Action
) -> None:
    assert decide(desired, observed, runtime) == expected


@pytest.mark.parametrize(
    ("desired", "observed", "runtime", "expected"),
    [
        (Desired.PASSIVATED, was(Observed.STARTED), up(), Pause()),
        # Continued by hand, or a pause that a crash of ours came before.
        (Desired.PASSIVATED, was(Observed.PAUSED), up(), Pause()),
        (Desired.PASSIVATED, was(Observed.PAUSED), Runtime(status=Status.PAUSED, instance="i1"), Nothing()),
        # Paused by hand, as it should be anyway.
        (Desired.PASSIVATED, was(Observed.STARTED), Runtime(status=Status.PAUSED, instance="i1"), Note(Event.PAUSED)),
        # Another start than the one that was ready, one that is still starting, and one that is being stopped.
        (Desired.PASSIVATED, was(Observed.STARTED), up("i2"), Stop(StopCause.ASLEEP)),
        (Desired.PASSIVATED, was(Observed.STARTING), up(), Stop(StopCause.ASLEEP)),
        (Desired.PASSIVATED, was(Observed.STOPPING), up(), Stop(StopCause.ASLEEP)),
        (Desired.PASSIVATED, was(Observed.PAUSED), ended(), Note(Event.EXITED)),
        # A wake: it is looked at first, since a pause may have ended in many ways.
        (Desired.STARTED, was(Observed.PAUSED), None, Look()),
        (Desired.STARTED, was(Observed.PAUSED), Runtime(status=Status.PAUSED, instance="i1"), Resume()),
        (Desired.STARTED, was(Observed.PAUSED), up(), Resumed()),
        (Desired.STARTED, was(Observed.PAUSED), up("i2"), AwaitReady("i2", Event.LAPSED)),
        (Desired.STARTED, was(Observed.PAUSED), Runtime(status=Status.PAUSED, instance="i2"), Start(Event.START)),
        (Desired.STARTED, was(Observed.PAUSED), ended(), Start(Event.START)),
    ],
)
def test_the_rows_about_pauses(
    desired: Desired, observed: ObservedState, runtime: Runtime | None, expected: Action
) -> None:
    assert decide(desired, observed, runtime, depth=Depth.PAUSE) == expected


def test_a_crash_of_what_served_is_recorded_with_what_the_runtime_says() -> None:
    action = decide(Desired.STARTED, was(Observed.STARTED), ended(code=3))
    assert isinstance(action, Note)
    assert action.event is Event.CRASHED
    assert action.reason is not None
    assert "exit code 3" in action.reason.message


def test_a_start_of_ours_that_died_is_a_crash_and_one_of_another_life_is_begun_anew() -> None:
    assert isinstance(decide(Desired.STARTED, was(Observed.STARTING), ended(), attempt="i1"), Note)
    assert decide(Desired.STARTED, was(Observed.STARTING), ended()) == Start(Event.START)


def test_a_proxy_has_time_to_take_back_the_sleep_of_what_serves() -> None:
    assert decide(Desired.PASSIVATED, was(Observed.STARTED), up(), settled_at=NOW + 0.5) == Wait(NOW + 0.5)
    assert decide(Desired.PASSIVATED, was(Observed.STARTING), up(), settled_at=NOW + 0.5) == Stop(StopCause.ASLEEP)


def test_a_tenant_held_back_by_failures_says_so_to_who_wakes_it() -> None:
    action = decide(Desired.STARTED, was(Observed.STOPPED), None, retry_at=NOW + 9, failure=CRASHED)
    assert action == Note(Event.FAILED, CRASHED)
    assert decide(Desired.STARTED, was(Observed.FAILED), NOTHING, retry_at=NOW + 9) == Wait(NOW + 9)


@pytest.mark.parametrize(
    ("runtime", "code", "words"),
    [
        (ended(code=127), ReasonCode.COMMAND_FAILED, "127"),
        (ended(code=-9), ReasonCode.EXITED, "signal 9"),
        (
            Runtime(status=Status.EXITED, instance="i1", exit_code=137, out_of_memory=True),
            ReasonCode.OUT_OF_MEMORY,
            "memory",
        ),
        (NOTHING, ReasonCode.EXITED, "not there"),
        (Runtime(status=Status.EXITED, instance="i1", exit_code=1, message="x" * 9999), ReasonCode.EXITED, "xxx"),
    ],
)
def test_an_end_is_told_in_the_runtimes_words(runtime: Runtime, code: ReasonCode, words: str) -> None:
    reason = end_reason(runtime)
    assert reason.code is code
    assert words in reason.message
    assert len(reason.message) < 600


BROKEN = Runtime(status=Status.BROKEN, instance="i1", endpoints=(HERE,), exit_code=3, message="service db")


def test_a_part_that_ended_is_a_crash_and_then_all_of_it_is_stopped_and_started_anew() -> None:
    crash = decide(Desired.STARTED, was(Observed.STARTED), BROKEN)
    assert crash == Note(Event.CRASHED, Reason(ReasonCode.EXITED, "ended with exit code 3: service db"))
    failed = was(Observed.FAILED, reason=CRASHED)
    assert decide(Desired.STARTED, failed, BROKEN) == Stop(StopCause.FAILED_START)
    assert decide(Desired.STARTED, failed, BROKEN, stop_retry_at=NOW + 5) == Wait(NOW + 5)
    lost = decide(Desired.STARTED, was(Observed.STARTING), BROKEN, attempt="i1")
    assert isinstance(lost, Note)
    # Of a start that another process began, or that has yet to be made, nothing is known: it is completed.
    assert decide(Desired.STARTED, was(Observed.STARTING), BROKEN) == Start(Event.START)
    assert decide(Desired.STARTED, was(Observed.STOPPED), BROKEN) == Start(Event.START)


def test_what_is_left_of_it_is_stopped_when_it_should_be_asleep() -> None:
    assert decide(Desired.PASSIVATED, was(Observed.STOPPED), BROKEN) == Stop(StopCause.ASLEEP)
    assert decide(Desired.STOPPED, was(Observed.FAILED), BROKEN) == Stop(StopCause.ASLEEP)


def test_a_start_by_hand_counts_as_a_wake_where_containers_declare_the_tenant() -> None:
    for runtime in (up(), BROKEN):
        assert decide(Desired.PASSIVATED, was(Observed.STOPPED), runtime, follows=True) == Follow()
        assert isinstance(decide(Desired.PASSIVATED, was(Observed.STOPPED), runtime, follows=True, fresh=False), Wait)
        # Not one that is only on its way to sleep, not against an operator's stop, and not where a file declares it.
        assert isinstance(decide(Desired.PASSIVATED, was(Observed.STOPPING), runtime, follows=True), Stop)
        assert isinstance(decide(Desired.STOPPED, was(Observed.STOPPED), runtime, follows=True), Stop)
        assert isinstance(decide(Desired.PASSIVATED, was(Observed.STOPPED), runtime), Stop)
