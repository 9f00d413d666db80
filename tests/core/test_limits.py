"""What is too large, too slow, or too many: pure functions of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.limits import Bounds, Mark, bounds_of, pace, too_large
from gogeta.domain.tenant import read_tenant

DEFAULTS = Bounds(body=1000, exchange=60.0, idle=64)


@pytest.mark.parametrize(
    ("declared", "bounds"),
    [
        ({}, DEFAULTS),
        ({"limits": {"body": "2k"}}, Bounds(2048, 60.0, 64)),
        ({"limits": {"body": 0}}, Bounds(0, 60.0, 64)),
        ({"limits": {"exchange": "1h"}}, Bounds(1000, 3600.0, 64)),
        ({"limits": {"exchange": "never"}}, Bounds(1000, 0.0, 64)),
        ({"limits": {"exchange": 0}}, Bounds(1000, 0.0, 64)),
        ({"keep_alive": False}, Bounds(1000, 60.0, 0)),
    ],
)
def test_a_tenants_own_limits_stand_before_the_settings(declared: dict[str, object], bounds: Bounds) -> None:
    tenant = read_tenant({"name": "a", "hosts": ["a"], "upstreams": ["http://a"], **declared}, what="test")
    assert bounds_of(tenant, DEFAULTS) == bounds


@pytest.mark.parametrize(
    ("length", "received", "limit", "verdict"),
    [
        (10, 0, 10, False),
        (11, 0, 10, True),
        (None, 10, 10, False),
        (None, 11, 10, True),
        (0, 0, 10, False),
        (1 << 60, 0, 0, False),
        (None, 1 << 60, 0, False),
    ],
)
def test_what_is_too_large(length: int | None, received: int, limit: int, verdict: bool) -> None:  # noqa: FBT001 - a table
    assert too_large(length, received, limit) is verdict


@pytest.mark.parametrize(
    ("received", "now", "after"),
    [
        (100, 29.0, Mark(0.0, 100)),
        (100 + 300, 30.0, Mark(30.0, 400)),
        (100 + 299, 30.0, None),
        (100, 30.0, None),
        # A sweep that comes late asks for more in all, not for more a second.
        (100 + 350, 35.0, Mark(35.0, 450)),
        (100 + 349, 35.0, None),
    ],
)
def test_what_is_too_slow(received: int, now: float, after: Mark | None) -> None:
    assert pace(Mark(0.0, 100), received, now, minimum=10, window=30.0) == after


@given(st.lists(st.integers(0, 100), max_size=50))
def test_nobody_who_keeps_the_rate_in_every_second_is_ever_too_slow(extra: list[int]) -> None:
    mark: Mark | None = Mark(0.0, 0)
    received = 0
    for second, more in enumerate(extra, 1):
        received += 10 + more
        assert mark is not None
        mark = pace(mark, received, float(second), minimum=10, window=5.0)
    assert mark is not None
