"""Wakes by address: a limit for each, and a table that stays small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.wakes_by_address import WakesByAddress
from gogeta.domain.wake_budget import HOUR_MS, MINUTE_MS


def test_each_address_has_a_budget_of_its_own() -> None:
    table = WakesByAddress(2)
    for _ in range(2):
        assert table.wait("a", 0) == 0
        table.take("a", 0)
    assert table.wait("a", 1000) > 0
    assert table.wait("b", 1000) == 0
    assert table.wait("a", HOUR_MS + MINUTE_MS) == 0


def test_without_an_address_or_a_limit_nothing_is_counted() -> None:
    table = WakesByAddress(1)
    for _ in range(5):
        table.take("", 0)
    assert table.wait("", 0) == 0
    unlimited = WakesByAddress(0)
    unlimited.take("a", 0)
    assert (len(table), len(unlimited)) == (0, 0)


def test_what_was_no_wake_is_given_back() -> None:
    table = WakesByAddress(1)
    table.take("a", 5)
    table.give_back("a", 5)
    assert (table.wait("a", 5), len(table)) == (0, 0)
    table.give_back("a", 5)


def test_the_table_is_bounded_and_forgets_who_woke_longest_ago() -> None:
    table = WakesByAddress(1, most=3)
    for number, whose in enumerate("abca"):
        table.take(whose, number)
    table.take("d", 9)
    assert len(table) == 3
    assert table.wait("b", 9) == 0
    assert table.wait("a", 9) > 0


def test_what_is_over_goes_by_itself() -> None:
    table = WakesByAddress(1)
    for number in range(8):
        table.take(f"early-{number}", 0)
    later = 2 * HOUR_MS
    for number in range(8):
        table.take(f"late-{number}", later)
    assert len(table) == 8


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20 * MINUTE_MS), st.booleans()), max_size=80))
def test_never_more_than_the_limit_in_any_hour(steps: list[tuple[str, int, bool]]) -> None:
    table, limit, now = WakesByAddress(3), 3, 0
    wakes: list[tuple[str, int]] = []
    for whose, pause, real in steps:
        now += pause
        if table.wait(whose, now) == 0:
            table.take(whose, now)
            if real:
                wakes.append((whose, now))
            else:
                table.give_back(whose, now)
    for whose, at in wakes:
        assert sum(other == whose and at - HOUR_MS <= when <= at for other, when in wakes) <= limit
