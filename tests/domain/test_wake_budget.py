"""Wake budgets: never more than so many in any hour, by any clocks, and nobody is shut out for good."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.wake_budget import (
    HOUR_MS,
    MINUTE_MS,
    History,
    milliseconds_to_wait,
    with_wake,
    within_the_hour,
    without_wake,
)

NOW = 1_767_225_600_000
PAUSES = st.lists(st.integers(0, 20 * MINUTE_MS), max_size=120)


def most_in_an_hour(wakes: list[int]) -> int:
    """The largest number of wakes in any 60 minutes, by brute force: each window that ends with a wake."""
    return max((sum(wake - HOUR_MS <= other <= wake for other in wakes) for wake in wakes), default=0)


@given(PAUSES, st.integers(1, 12))
def test_never_more_than_the_limit_in_any_hour(pauses: list[int], limit: int) -> None:
    history: History = ()
    now = NOW
    wakes: list[int] = []
    for pause in pauses:
        now += pause
        if not milliseconds_to_wait(history, now, limit):
            history = with_wake(history, now)
            wakes.append(now)
    assert most_in_an_hour(wakes) <= limit


@given(PAUSES, st.integers(1, 5))
def test_a_wait_is_as_long_as_it_says_and_never_much_longer_than_needed(pauses: list[int], limit: int) -> None:
    history: History = ()
    now = NOW
    wakes: list[int] = []
    for pause in pauses:
        now += pause
        wait = milliseconds_to_wait(history, now, limit)
        if wait:
            assert milliseconds_to_wait(history, now + wait - 1, limit) == 1
            now += wait
            # By the letter of the hour it could have been a minute sooner, no more.
            assert sum(now - HOUR_MS - MINUTE_MS < wake for wake in wakes) >= limit - 1
        assert not milliseconds_to_wait(history, now, limit)
        history = with_wake(history, now)
        wakes.append(now)
    assert most_in_an_hour(wakes) <= limit


@given(st.lists(st.tuples(st.integers(0, 5 * MINUTE_MS), st.integers(0, 2)), max_size=100), st.integers(1, 8))
def test_clocks_that_differ_shift_the_window_by_no_more_than_that(steps: list[tuple[int, int]], limit: int) -> None:
    skews = (0, 3 * MINUTE_MS, -3 * MINUTE_MS)
    history: History = ()
    now = NOW
    wakes: list[int] = []
    for pause, proxy in steps:
        now += pause
        theirs = now + skews[proxy]
        if not milliseconds_to_wait(history, theirs, limit):
            history = with_wake(history, theirs)
            wakes.append(now)
    apart = 6 * MINUTE_MS
    assert max((sum(wake - HOUR_MS + apart < other <= wake for other in wakes) for wake in wakes), default=0) <= limit


@given(PAUSES)
def test_a_history_stays_small_and_in_order(pauses: list[int]) -> None:
    history: History = ()
    now = NOW
    for pause in pauses:
        now += pause
        history = with_wake(history, now)
        assert len(history) <= 62
        assert all(one[0] < two[0] for one, two in pairwise(history))


def test_a_thousand_wakes_are_a_few_numbers() -> None:
    history: History = ()
    for number in range(10_000):
        history = with_wake(history, NOW + number * 1000)
    assert len(history) <= 62
    assert sum(count for _, count in history) >= 3600


def test_no_limit_is_no_limit() -> None:
    assert milliseconds_to_wait(((NOW // MINUTE_MS, 10**6),), NOW, 0) == 0


@pytest.mark.parametrize("jump", [-86_400_000, -2 * HOUR_MS, 2 * HOUR_MS, 86_400_000])
def test_a_clock_that_jumps_shuts_nobody_out(jump: int) -> None:
    history = with_wake((), NOW)
    assert milliseconds_to_wait(history, NOW, 1) > 0
    assert milliseconds_to_wait(history, NOW + jump, 1) == 0


@pytest.mark.parametrize("back", [0, MINUTE_MS, 30 * MINUTE_MS, HOUR_MS])
def test_whoever_has_to_wait_waits_two_hours_at_the_most(back: int) -> None:
    history = with_wake((), NOW)
    assert 0 < milliseconds_to_wait(history, NOW - back, 1) <= 2 * HOUR_MS + MINUTE_MS


@given(
    st.lists(st.tuples(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70)), max_size=20),
    st.integers(0, 5),
)
def test_whatever_stands_in_the_registry_is_a_history(pairs: list[tuple[int, int]], limit: int) -> None:
    wait = milliseconds_to_wait(tuple(pairs), NOW, limit)
    assert 0 <= wait <= 2 * HOUR_MS + MINUTE_MS
    assert within_the_hour(with_wake(tuple(pairs), NOW), NOW) == with_wake(tuple(pairs), NOW)


def test_a_wake_that_was_none_is_taken_back() -> None:
    history = with_wake(with_wake((), NOW), NOW)
    assert without_wake(history, NOW) == with_wake((), NOW)
    assert without_wake(with_wake((), NOW), NOW) == ()
    assert without_wake((), NOW) == ()
