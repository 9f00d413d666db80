"""How far a start is, and when it should be done: stages, steps, estimates, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.progress import LONGEST_RETRY, Again, Stage, StepState, about, again, estimate, progress, stage_of
from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Phase, Reason, ReasonCode, TenantRecord
from gogeta.domain.tenant import read_tenant
from gogeta.domain.upstreams import Endpoint

QUEUED, STARTED = Phase("queued", 2000.0), Phase("started", 1000.0)


def record(desired: Desired = Desired.STARTED, observed: Observed = Observed.STARTING, **more: object) -> TenantRecord:
    endpoints = (Endpoint("10.0.0.1", 80),) if observed is Observed.STARTED else ()
    seen = ObservedState(state=observed, endpoints=endpoints)
    return TenantRecord(
        tenant=read_tenant({"name": "a", "hosts": ["a.test"], "docker": {"image": "secret"}}, what="test"),
        desired=DesiredState(state=desired),
        observed=replace(seen, **more),  # type: ignore[arg-type] # parts of an observed state
    )


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        (record(Desired.PASSIVATED, Observed.STOPPED), Stage.ASKED),
        (record(Desired.STARTED, Observed.STOPPED), Stage.ASKED),
        (record(Desired.STARTED, Observed.STOPPED, phases=(QUEUED, STARTED)), Stage.ASKED),
        (record(Desired.STARTED, Observed.PAUSED), Stage.ASKED),
        (record(Desired.PASSIVATED, Observed.STARTED), Stage.ASKED),
        (record(Desired.PASSIVATED, Observed.STOPPING), Stage.STOPPING),
        (record(Desired.STARTED, Observed.STOPPING), Stage.STOPPING),
        (record(ahead=3), Stage.QUEUED),
        (record(ahead=0), Stage.QUEUED),
        (record(), Stage.STARTING),
        (record(phases=(QUEUED,)), Stage.STARTING),
        (record(phases=(QUEUED, STARTED)), Stage.READYING),
        (record(Desired.STARTED, Observed.STARTED), Stage.READY),
        (record(Desired.STARTED, Observed.FAILED), Stage.FAILED),
        (record(Desired.STOPPED, Observed.STOPPED), Stage.STOPPED),
    ],
)
def test_the_stage_follows_from_the_record(record: TenantRecord, stage: Stage) -> None:
    assert stage_of(record) is stage
    assert progress(record, 1.0).stage is stage


@pytest.mark.parametrize(("desired", "observed"), list(product(Desired, Observed)))
def test_every_state_has_words_that_say_nothing_of_what_is_inside(desired: Desired, observed: Observed) -> None:
    reason = Reason(ReasonCode.IMAGE_MISSING, "no such image: secret", 5)
    known = progress(record(desired, observed, reason=reason, phase="secret", instance="secret"), 3.0)
    assert known.text
    assert known.retry_after >= 1
    assert "secret" not in known.data()
    assert "\n" not in known.data()
    assert [step["name"] for step in json.loads(known.data())["steps"]] == ["queued", "started", "ready"]


def states(known: TenantRecord, running_for: float) -> list[tuple[StepState, float | None]]:
    return [(step.state, step.seconds) for step in progress(known, running_for).steps]


def test_the_steps_have_their_times() -> None:
    todo = (StepState.TODO, None)
    assert states(record(Desired.PASSIVATED, Observed.STOPPED), 9.0) == [todo] * 3
    assert states(record(ahead=1), 1.5) == [(StepState.NOW, 1.5), todo, todo]
    assert states(record(phases=(QUEUED,)), 2.5) == [(StepState.DONE, 2.0), (StepState.NOW, 0.5), todo]
    assert states(record(phases=(QUEUED, STARTED)), 7.0) == [
        (StepState.DONE, 2.0),
        (StepState.DONE, 1.0),
        (StepState.NOW, 4.0),
    ]
    # Our clock may be behind what the phases say.
    assert states(record(phases=(QUEUED, STARTED)), 0.5)[2] == (StepState.NOW, 0.0)


def test_an_estimate_is_the_median_of_its_own_past_starts() -> None:
    known = progress(record(phases=(QUEUED, STARTED), past_starts=(9000.0, 4000.0, 6000.0)), 2.0 + 2.5)
    assert known.elapsed == 2.5
    assert (known.estimate.usual, known.estimate.left, known.estimate.longer) == (6.0, 3.5, False)
    assert known.outlook == "Usually about 6 seconds: about 4 seconds left."
    assert known.percent == 41
    assert known.retry_after == 4


def test_the_wait_in_the_queue_is_not_the_start() -> None:
    known = progress(record(ahead=4, past_starts=(6000.0,)), 50.0)
    assert known.elapsed == 0.0
    assert known.outlook == "Usually ready within about 6 seconds once it is its turn."
    assert known.text == "It waits for its turn; 4 other starts before this one."
    assert known.percent is None
    assert known.retry_after == 10
    assert progress(record(ahead=1), 0.0).text == "It waits for its turn; 1 other start before this one."


def test_what_was_never_started_here_has_no_estimate() -> None:
    known = progress(record(phases=(QUEUED, STARTED)), 5.0)
    assert known.outlook == "It was never started here before, so nobody knows yet how long this takes."
    assert known.percent is None
    assert known.retry_after == 2
    # Who has waited long for it already is not told to come back at once, for ever.
    assert progress(record(), 120.0).retry_after == 30


def test_what_takes_longer_than_usual_says_so() -> None:
    known = progress(record(past_starts=(2000.0, 2000.0, 2000.0)), 30.0)
    assert known.outlook == "This takes longer than usual (about 2 seconds)."
    assert known.estimate.left is None
    assert known.percent == 96
    assert known.retry_after == 8


def test_who_has_outlived_the_quick_starts_is_like_the_slow_ones() -> None:
    assert estimate((1000, 1000, 1000, 9000), 1.2).left == pytest.approx(7.8)


def test_a_registry_that_is_away_is_said() -> None:
    known = progress(record(Desired.PASSIVATED, Observed.STOPPED, past_starts=(1000.0,)), 0.0, cannot=True)
    assert "cannot be woken at the moment" in known.text
    assert known.outlook == ""
    # Once it starts all the same, that is what counts.
    assert not progress(record(), 0.0, cannot=True).cannot


@given(
    past=st.lists(st.floats(0, 1e7), max_size=8), elapsed=st.floats(0, 1e7), ahead=st.none() | st.integers(0, 10_000)
)
def test_whatever_the_past_the_advice_is_sane(past: list[float], elapsed: float, ahead: int | None) -> None:
    known = progress(record(past_starts=tuple(past), ahead=ahead), elapsed)
    assert 1 <= known.retry_after <= LONGEST_RETRY
    assert known.percent is None or 0 <= known.percent <= 96
    assert known.estimate.left is None or known.estimate.left >= 0
    json.loads(known.data())


def test_when_a_failed_start_is_tried_again() -> None:
    def reason(retry_at: int | None) -> Reason:
        return Reason(ReasonCode.EXITED, "x", retry_at)

    assert again(reason(31_000), 1_000) == Again(30, planned=True)
    assert again(reason(1_001), 1_000) == Again(1, planned=True)
    assert again(reason(500), 1_000) == Again(1, planned=True)
    assert again(reason(0), 100_000) == Again(25, planned=True)
    assert again(reason(10_000_000), 1_000) == Again(LONGEST_RETRY, planned=True)
    assert again(reason(None), 1_000) == again(None, 1_000) == Again(60, planned=False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than a second"), (1.2, "about 1 second"), (45, "about 45 seconds"), (100, "about 2 minutes")],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert about(seconds) == words
