"""Counting connections by address."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.census import UNCOUNTED, Census


@pytest.mark.parametrize(
    ("peer", "whose"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unix", UNCOUNTED),
        ("", UNCOUNTED),
        ("10.1.2.3", UNCOUNTED),
        ("::ffff:10.1.2.3", UNCOUNTED),
    ],
)
def test_whom_a_connection_counts_for(peer: str, whose: str) -> None:
    assert Census(1, [ip_network("10.0.0.0/8")]).whose(peer) == whose


def test_one_too_many_is_refused_and_not_counted() -> None:
    census = Census(2)
    assert [census.enter("192.0.2.1") for _ in range(4)] == ["192.0.2.1", "192.0.2.1", None, None]
    assert census.enter("192.0.2.2") == "192.0.2.2"
    census.leave("192.0.2.1")
    assert census.enter("192.0.2.1") == "192.0.2.1"
    assert census.enter("192.0.2.1") is None


def test_without_a_limit_nothing_is_counted() -> None:
    census = Census(0)
    assert census.enter("192.0.2.1") == UNCOUNTED
    census.leave(UNCOUNTED)
    assert len(census) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=200))
def test_it_knows_of_nobody_who_has_left(history: list[tuple[bool, int]]) -> None:
    census, inside = Census(3), Counter[str]()
    for enters, number in history:
        peer = f"192.0.2.{number}"
        if enters:
            whose = census.enter(peer)
            assert (whose is None) == (inside[peer] == 3)
            if whose is not None:
                inside[whose] += 1
        elif inside[peer]:
            census.leave(peer)
            inside[peer] -= 1
    assert len(census) == len(+inside)
