"""What sleeping saves is sums over time: of tenants asleep, and of the memory that those do not take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, TenantRecord
from gogeta.domain.tenant import read_tenant
from passivator.core.savings import Savings, asleep

MIB = 1024 * 1024


def test_time_asleep_is_added_up_over_tenants_while_they_still_sleep() -> None:
    savings = Savings()
    savings.note("a", Observed.STOPPED, 10, now=100.0)
    savings.note("b", Observed.STOPPED, 20, now=110.0)
    savings.note("c", Observed.PAUSED, 40, now=110.0)
    assert savings.seconds(120.0) == {Observed.STOPPED: 20.0 + 10.0, Observed.PAUSED: 10.0}
    assert savings.released == 30, "what is frozen in memory releases none"
    assert savings.byte_seconds(120.0) == 10 * 20 + 20 * 10
    savings.note("a", None, 10, now=120.0)
    assert savings.released == 20
    assert savings.seconds(130.0) == {Observed.STOPPED: 40.0, Observed.PAUSED: 20.0}


def test_a_pause_that_becomes_a_stop_releases_memory_from_then_on() -> None:
    savings = Savings()
    savings.note("a", Observed.PAUSED, 8 * MIB, now=0.0)
    savings.note("a", Observed.STOPPED, 8 * MIB, now=60.0)
    assert savings.seconds(90.0) == {Observed.PAUSED: 60.0, Observed.STOPPED: 30.0}
    assert savings.byte_seconds(90.0) == 30 * 8 * MIB


def test_whoever_follows_counts_nothing() -> None:
    savings = Savings()
    savings.note("a", Observed.STOPPED, 10, now=0.0)
    savings.clear(now=5.0)
    assert savings.seconds(100.0)[Observed.STOPPED] == 5.0
    assert savings.released == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([None, Observed.STOPPED, Observed.PAUSED]),
        st.integers(0, 100),
        st.floats(0, 1000),
    )
)


@given(STEPS)
def test_it_is_the_sum_of_each_tenants_own_time(steps: list[tuple[str, Observed | None, int, float]]) -> None:
    savings, now = Savings(), 0.0
    is_asleep: dict[str, tuple[Observed | None, int]] = {}
    seconds = {Observed.STOPPED: 0.0, Observed.PAUSED: 0.0}
    byte_seconds = 0.0
    for name, depth, memory, lasts in steps:
        savings.note(name, depth, memory, now)
        is_asleep[name] = depth, memory
        now += lasts
        for each, takes in is_asleep.values():
            if each is not None:
                seconds[each] += lasts
            if each is Observed.STOPPED:
                byte_seconds += lasts * takes
    assert savings.seconds(now) == pytest.approx(seconds)
    assert savings.byte_seconds(now) == pytest.approx(byte_seconds)


@pytest.mark.parametrize(
    ("desired", "observed", "is_so"),
    [
        (Desired.PASSIVATED, Observed.STOPPED, Observed.STOPPED),
        (Desired.PASSIVATED, Observed.PAUSED, Observed.PAUSED),
        (Desired.PASSIVATED, Observed.STARTED, None),
        (Desired.PASSIVATED, Observed.STOPPING, None),
        (Desired.PASSIVATED, Observed.FAILED, None),
        (Desired.STARTED, Observed.STOPPED, None),
        (Desired.STOPPED, Observed.STOPPED, None),
    ],
)
def test_asleep_is_who_wakes_at_the_next_request(desired: Desired, observed: Observed, is_so: Observed | None) -> None:
    tenant = read_tenant({"name": "a", "hosts": ["a.example"], "docker": {"image": "x"}}, what="test")
    record = TenantRecord(tenant=tenant, desired=DesiredState(state=desired), observed=ObservedState(state=observed))
    assert asleep(record) is is_so
    routed = read_tenant({"name": "a", "hosts": ["a.example"], "upstreams": ["http://10.0.0.7:80"]}, what="test")
    assert asleep(TenantRecord(tenant=routed)) is None
    assert asleep(None) is None
