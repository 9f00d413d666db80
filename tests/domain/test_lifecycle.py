"""Every row of the tables, and the promises that hold between them."""

import itertools

import pytest

from gogeta.domain.lifecycle import (
    DESIRED_TRANSITIONS,
    MEETINGS,
    OBSERVED_TRANSITIONS,
    Cause,
    Desired,
    Event,
    Meeting,
    Observed,
    meet,
    next_desired,
    next_observed,
)


@pytest.mark.parametrize(("desired", "observed"), list(itertools.product(Desired, Observed)))
def test_every_pair_of_states_has_a_meeting(desired: Desired, observed: Observed) -> None:
    meeting = meet(desired, observed)
    assert (meeting is Meeting.STOPPED) == (desired is Desired.STOPPED)
    assert (meeting is Meeting.WAKE) == (desired is Desired.PASSIVATED)
    assert (meeting is Meeting.FORWARD) == (desired is Desired.STARTED and observed is Observed.STARTED)
    assert len(MEETINGS) == len(Desired) * len(Observed)


@pytest.mark.parametrize(("current", "cause"), list(itertools.product(Desired, Cause)))
def test_only_an_operator_ends_an_operators_stop(current: Desired, cause: Cause) -> None:
    following = next_desired(current, cause)
    assert set(DESIRED_TRANSITIONS) == set(Desired)
    if current is Desired.STOPPED:
        assert (following is not None) == (cause in {Cause.START, Cause.SLEEP, Cause.STOP})
    if cause in {Cause.REQUEST, Cause.IN_USE, Cause.WAKE, Cause.START}:
        assert following in {Desired.STARTED, None}
    if cause is Cause.IDLE:
        assert following is (Desired.PASSIVATED if current is Desired.STARTED else None)
    if cause is Cause.STOP:
        assert following is Desired.STOPPED


@pytest.mark.parametrize("observed", list(Observed))
def test_a_start_a_stop_an_exit_and_a_failure_can_be_recorded_from_anywhere(observed: Observed) -> None:
    assert set(OBSERVED_TRANSITIONS) == set(Observed)
    assert next_observed(observed, Event.STOP) is Observed.STOPPING
    assert next_observed(observed, Event.EXITED) is Observed.STOPPED
    assert next_observed(observed, Event.FAILED) is Observed.FAILED
    assert next_observed(observed, Event.LAPSED) is Observed.STARTING
    assert next_observed(observed, Event.PAUSED) is Observed.PAUSED


@pytest.mark.parametrize("observed", list(Observed))
def test_started_is_reached_only_by_being_ready_from_starting(observed: Observed) -> None:
    reaching = {event for event, following in OBSERVED_TRANSITIONS[observed].items() if following is Observed.STARTED}
    expected = {Event.READY} if observed in {Observed.STARTING, Observed.STARTED} else set()
    assert reaching == expected


def test_a_missing_event_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        next_observed(Observed.STOPPED, Event.READY)
