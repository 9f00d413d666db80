"""What passivator tells of a start that is under way: its place in the queue, and how long earlier ones took."""

import asyncio

import pytest

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import PAST_STARTS, ObservedState, Phase, ReasonCode
from gogeta.registry.codec import decode
from passivator.core.past import past_starts, place_told_again
from tests.passivator.stage import Habit, Stage

pytestmark = pytest.mark.virtual_time


async def test_the_place_in_the_queue_is_told_and_moves_with_the_queue() -> None:
    stage = Stage(max_starts=1)
    names = [f"t{number}" for number in range(5)]
    try:
        await stage.up()
        for name in names:
            stage.runtime.habits[name] = Habit(start_seconds=10, ready_after=5)
            await stage.declare(name)
        for name in names:
            await stage.wake(name)
            await stage.until(name, Observed.STARTING)
        await asyncio.sleep(2)
        assert [(await stage.observed(name)).ahead for name in names] == [None, 0, 1, 2, 3]
        await stage.until("t0", Observed.STARTED)
        await asyncio.sleep(2)
        assert [(await stage.observed(name)).ahead for name in names] == [None, None, 0, 1, 2]
        for name in names:
            assert (await stage.until(name, Observed.STARTED, within=120)).ahead is None
    finally:
        await stage.kill()


async def test_a_long_queue_is_no_storm_of_writes() -> None:
    stage = Stage(max_starts=4)
    names = [f"t{number}" for number in range(100)]
    try:
        await stage.up()
        for name in names:
            stage.runtime.habits[name] = Habit(start_seconds=1, ready_after=0.5)
            await stage.declare(name)
        await asyncio.gather(*(stage.wake(name) for name in names))
        before = stage.space.revision
        began = asyncio.get_running_loop().time()
        for name in names:
            await stage.until(name, Observed.STARTED, within=300)
        took = asyncio.get_running_loop().time() - began
        # Each start alone is some writes. Told at each step of the queue, places would be 100 * 100 / 2 more.
        assert stage.space.revision - before < 100 * 6 + took * 20
        assert took < 60
    finally:
        await stage.kill()


async def test_past_starts_are_remembered_over_sleeps_and_restarts(stage: Stage) -> None:
    await stage.up()
    stage.runtime.habits["acme"] = Habit(start_seconds=2, ready_after=3)
    await stage.declare("acme")
    for wake in range(PAST_STARTS + 2):
        await stage.wake("acme")
        observed = await stage.until("acme", Observed.STARTED)
        assert len(observed.past_starts) == min(wake + 1, PAST_STARTS)
        assert observed.past_starts[-1] == pytest.approx(5000, abs=500)
        await stage.registry.change_desired("acme", Cause.SLEEP)
        assert (await stage.until("acme", Observed.STOPPED)).past_starts == observed.past_starts
        if wake == 1:
            await stage.kill()
            await stage.up()


async def test_a_failed_start_is_no_part_of_the_history(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.BAD_SPEC)
    await stage.wake("acme")
    assert len((await stage.until("acme", Observed.FAILED)).past_starts) == 1


def test_the_history_is_bounded_and_of_whole_starts_alone() -> None:
    phases = (Phase("queued", 50_000), Phase("started", 100), Phase("ready", 20))
    assert past_starts((), phases) == (120,)
    assert past_starts(tuple(range(PAST_STARTS)), phases) == (*range(1, PAST_STARTS), 120)
    # Begun by another passivator: only its end was seen.
    assert past_starts((7,), (Phase("ready", 20),)) == (7,)
    assert past_starts((7,), ()) == (7,)


def test_further_behind_is_told_more_rarely() -> None:
    pauses = [place_told_again(ahead) for ahead in (0, 1, 10, 100, 1000, 100_000)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 1
    assert pauses[-1] <= 20


def test_old_values_read() -> None:
    observed = decode(ObservedState, b'{"version": 1, "state": "started"}', what="test")
    assert (observed.ahead, observed.past_starts) == (None, ())
