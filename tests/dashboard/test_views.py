"""What the pages show, without a browser: words, tiles, the chart of an hour."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.api.representations import STATES
from gogeta.dashboard import views
from gogeta.dashboard.history import MINUTES, History, Minute
from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, TenantRecord
from gogeta.domain.tenant import read_tenant

TENANT = read_tenant({"name": "acme", "hosts": ["a.x"], "process": {"command": ["a"], "memory": "64m"}}, what="test")
ASLEEP = TenantRecord(tenant=TENANT)
AWAKE = replace(
    ASLEEP, desired=DesiredState(state=Desired.STARTED, wakes=1), observed=ObservedState(state=Observed.STARTED)
)
FAILED = replace(AWAKE, observed=ObservedState(state=Observed.FAILED))


def test_an_hour_is_counted_by_the_minute_and_no_longer() -> None:
    history = History()
    for minute in range(200):
        for before, after in ((ASLEEP, AWAKE), (AWAKE, FAILED), (AWAKE, ASLEEP), (AWAKE, AWAKE), (None, AWAKE)):
            history.changed(before, after, minute * 60_000 + 5)
    hour = history.last_hour(199 * 60_000 + 59_999)
    assert hour == [Minute(number, 1, 1, 1) for number in range(140, 200)]
    later = history.last_hour(201 * 60_000)
    assert [minute.wakes for minute in later] == [1] * 58 + [0, 0]


def test_a_clock_that_is_put_back_loses_nothing() -> None:
    history = History()
    history.changed(ASLEEP, AWAKE, 100 * 60_000)
    history.changed(ASLEEP, AWAKE, 40 * 60_000)
    assert sum(minute.wakes for minute in history.last_hour(100 * 60_000)) == 2


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=MINUTES, max_size=MINUTES))
def test_bars_fit_and_show_whatever_happened(counts: list[tuple[int, int]]) -> None:
    bars = views.bars([Minute(number, *pair) for number, pair in enumerate(counts)])
    for bar, (wakes, sleeps) in zip(bars, counts, strict=True):
        assert (bar.wakes > 0, bar.sleeps > 0) == (wakes > 0, sleeps > 0)
        assert max(bar.wakes, bar.sleeps) <= views.HEIGHT


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_actions(state: str) -> None:
    names = [action for action, _ in views.actions(state)]
    assert ("wake" in names) == (state == "passivated")
    assert (names == []) == (state == "routed")
    # What cuts visitors off is asked about first.
    assert all(question for action, question in views.actions(state) if action in ("stop", "restart"))


def test_words() -> None:
    now = 10**12
    told = [views.ago(now - seconds * 1000, now) for seconds in (0, 59, 60, 3599, 3600, 90_000, 200_000)]
    assert told == ["0s", "59s", "1m", "59m", "1h", "1d", "2d"]
    assert views.ago(0, now) == ""
    assert views.ago(now + 5000, now) == "0s"
    assert views.released([ASLEEP, AWAKE]) == "64 MiB by the limits of 1 of 1 sleeping tenants"
    assert views.released([AWAKE]) == ""
    assert [tile.count for tile in views.tiles([ASLEEP, AWAKE, FAILED]) if tile.count] == [1, 1, 1]
