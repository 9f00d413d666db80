"""The rules of falling asleep one by one: lost proxies, waiting for proxies, vetoes, depth, hours."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.hours import parse_hours
from gogeta.domain.lifecycle import Cause, Desired
from gogeta.domain.sleeping import Awake, Busy
from gogeta.domain.state import DesiredState, Member
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.wakefulness import Keeps
from passivator.core import schedule
from passivator.core.lost import LEASE, Held, LostProxies
from passivator.core.tiers import Depth, acts_while_asleep, depth, falls_asleep_after
from passivator.core.veto import (
    LATEST,
    SOONEST,
    TRIES,
    Heard,
    KeepAwake,
    LetSleep,
    Said,
    TryAgain,
    is_asked,
    read_status,
    weigh,
)
from passivator.core.yielding import Go, TimeIsUp, WaitForProxies, may_stop

GRACE = 300.0


def tenant(**declared: Any) -> Tenant:  # noqa: ANN401 - parts of a declaration
    return read_tenant({"name": "a", "hosts": ["a.test"], "docker": {"image": "x"}, **declared}, what="test")


# ------------------------------------------------------------------------------------------------------- lost proxies


def lost_with(*here: str) -> LostProxies:
    lost = LostProxies(GRACE)
    lost.present(set(here), 0.0)
    return lost


def test_a_proxy_that_is_there_and_writes_holds_nothing_back_for_long() -> None:
    lost = lost_with("p")
    lost.wrote("a", "p", 1, 10.0)
    # Silent for the whole timeout: it is about to be lost, or said meanwhile what we could not see.
    assert lost.held("a", 100.0, 110.0) == Held("p", 110.0 + LEASE)
    assert lost.held("a", 100.0, 110.0 + LEASE) is None


def test_a_lost_proxy_holds_its_tenants_for_the_grace() -> None:
    lost = lost_with("p")
    lost.wrote("a", "p", 1, 10.0)
    lost.wrote("b", "p", 0, 10.0)
    lost.present(set(), 20.0)
    assert lost.held("a", 5.0, 20.0) == Held("p", 20.0 + GRACE)
    assert lost.held("b", 5.0, 20.0) is None
    assert lost.lost == 1
    assert lost.held("a", 5.0, 20.0 + GRACE) is None


@pytest.mark.parametrize("what", ["goodbye", "forgotten"])
def test_its_last_word_or_the_tenants_end_lifts_that(what: str) -> None:
    lost = lost_with("p")
    lost.wrote("a", "p", 1, 10.0)
    lost.present(set(), 20.0)
    if what == "goodbye":
        lost.wrote("a", "p", 0, 21.0)
    else:
        lost.forget("a")
    assert lost.held("a", 5.0, 22.0) is None


def test_its_return_lifts_that_unless_it_is_silent_again() -> None:
    lost = lost_with("p")
    lost.wrote("a", "p", 1, 10.0)
    lost.present(set(), 20.0)
    lost.present({"p"}, 100.0)
    assert lost.held("a", 5.0, 100.0) is None
    lost.wrote("a", "p", 1, 101.0)
    lost.present(set(), 120.0)
    assert lost.held("a", 5.0, 130.0) == Held("p", 120.0 + GRACE)


def test_who_was_gone_before_our_time_counts_from_our_begin() -> None:
    lost = LostProxies(GRACE)
    lost.wrote("a", "p", 1, 0.5)
    lost.present({"other"}, 1.0)
    assert lost.held("a", 5.0, 50.0) == Held("p", 1.0 + GRACE)


def test_one_that_writes_without_being_listed_is_lost_from_its_last_word() -> None:
    lost = lost_with()
    lost.wrote("a", "p", 1, 10.0)
    lost.wrote("a", "p", 1, 200.0)
    assert lost.held("a", 5.0, 210.0) == Held("p", 200.0 + GRACE)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("pq"), st.integers(0, 2), st.booleans(), st.floats(0.1, 60)),
        max_size=30,
    )
)
def test_it_holds_back_for_a_bounded_time_whatever_happened(story: list[tuple[str, str, int, bool, float]]) -> None:
    lost, now, here = lost_with("p", "q"), 0.0, {"p", "q"}
    for name, by, in_flight, stays, then in story:
        lost.wrote(name, by, in_flight, now)
        here = here | {by} if stays else here - {by}
        lost.present(here, now)
        now += then
        for each in "ab":
            held = lost.held(each, 5.0, now)
            assert held is None or now < held.until <= now + GRACE
    assert all(lost.held(each, 5.0, now + GRACE + 5 + LEASE) is None for each in "ab")


# ------------------------------------------------------------------------------------------------- waiting for proxies


def proxy(name: str, seen: int | None, *draining: str) -> Member:
    return Member(kind="gogeta", id=name, seen=seen, draining=draining)


def ask(*members: Member, now: float = 0.0) -> Go | WaitForProxies | TimeIsUp:
    return may_stop(members, "a", desired_revision=7, decided_at=0.0, limit=30.0, now=now)


def test_a_stop_waits_for_every_proxy_that_tells_and_for_what_it_has_in_flight() -> None:
    passivator = Member(kind="passivator", id="x")
    assert ask(passivator, proxy("old", None)) == Go()
    assert ask(proxy("1", 7), proxy("2", 9, "b")) == Go()
    assert ask(proxy("1", 6), proxy("2", 7)) == WaitForProxies(30.0, unaware=("1",))
    assert ask(proxy("1", 7, "a"), proxy("2", 7)) == WaitForProxies(30.0, draining=("1",))
    assert ask(proxy("1", 7, "a"), proxy("2", 0), now=30.0) == TimeIsUp(("2",), ("1",))


# ------------------------------------------------------------------------------------------------------- vetoes

BUSY = Busy(path="/busy", cpu=20.0, at_most=3600.0)
FREE = Heard(Said.FREE, cpu=1.0)


def weighed(heard: Heard, *, silent: float = 100.0, tries: int = 1, timeout: float = 100.0) -> object:
    return weigh(BUSY, heard, silent=silent, tries=tries, timeout=timeout, wall_ms=0)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, Said.BUSY),
        *((status, Said.FREE) for status in (201, 202, 204, 301, 302, 400, 401, 404, 410)),
        *((status, Said.NOTHING) for status in (None, 429, 500, 502, 503)),
    ],
)
def test_what_a_status_means(status: int | None, said: Said) -> None:
    assert read_status(status) is said


def test_either_way_of_being_busy_keeps_it_awake() -> None:
    for heard, expected in (
        (replace(FREE, said=Said.BUSY), [Keeps.BUSY]),
        (replace(FREE, cpu=20.0), [Keeps.CPU]),
        (Heard(Said.BUSY, cpu=99.0), [Keeps.BUSY, Keeps.CPU]),
        (Heard(Said.NOTHING, cpu=99.0), [Keeps.CPU]),
    ):
        outcome = weighed(heard)
        assert isinstance(outcome, KeepAwake)
        assert [reason.keeps for reason in outcome.reasons] == expected
        assert all(reason.until == 3_500_000 for reason in outcome.reasons)
    assert weighed(FREE) == LetSleep()


def test_what_cannot_be_found_out_is_tried_again_a_few_times() -> None:
    for heard in (Heard(Said.NOTHING, cpu=1.0), Heard(Said.FREE, cpu=None)):
        assert all(isinstance(weighed(heard, tries=tries), TryAgain) for tries in range(1, TRIES))
        assert weighed(heard, tries=TRIES) == LetSleep(unheard=True)


@given(st.floats(0.1, 1e6), st.floats(0, 3599.9))
def test_it_is_asked_again_in_bounds_and_never_after_the_ceiling(timeout: float, silent: float) -> None:
    assert is_asked(BUSY, silent)
    outcome = weighed(Heard(Said.BUSY), silent=silent, timeout=timeout)
    assert isinstance(outcome, KeepAwake)
    assert 0 < outcome.after <= LATEST
    assert outcome.after >= SOONEST or silent + outcome.after >= BUSY.at_most
    assert not is_asked(BUSY, BUSY.at_most)
    assert not is_asked(None, silent)


# ------------------------------------------------------------------------------------------------------- depth


@pytest.mark.parametrize("cause", [None, *Cause])
@pytest.mark.parametrize("silent_long", [True, False])
@pytest.mark.parametrize("can_pause", [True, False])
@pytest.mark.parametrize("pauses", [True, False])
def test_only_an_idle_sleep_pauses_and_not_for_ever(
    cause: Cause | None, *, silent_long: bool, can_pause: bool, pauses: bool
) -> None:
    declared = tenant(sleep={"pause_after": "1m"} if pauses else {})
    found = depth(
        declared, DesiredState(state=Desired.PASSIVATED, cause=cause), silent_long=silent_long, can_pause=can_pause
    )
    assert (found is Depth.PAUSE) == (cause is Cause.IDLE and pauses and can_pause and not silent_long)


def test_when_it_first_falls_asleep() -> None:
    pauses = tenant(sleep={"pause_after": "1m"})
    assert falls_asleep_after(pauses, can_pause=True) == 60
    assert falls_asleep_after(pauses, can_pause=False) == 1800
    assert falls_asleep_after(tenant(idle_timeout="never"), can_pause=True) is None


def test_what_happens_by_itself_to_one_that_sleeps() -> None:
    assert not acts_while_asleep(tenant())
    assert acts_while_asleep(tenant(sleep={"destroy_after": "1d"}))
    hours = {"hours": ["daily 08:00-09:00"]}
    assert not acts_while_asleep(tenant(awake=hours))
    assert acts_while_asleep(tenant(awake={**hours, "wake": True}))


# ------------------------------------------------------------------------------------------------------- hours


def test_hours_of_a_zone_that_nobody_knows_keep_awake_and_start_nothing() -> None:
    mars = Awake(hours=(parse_hours("daily 08:00-09:00"),), zone="Mars/Olympus", wake=True)
    assert schedule.look(mars, 0) == schedule.KeptAwake()
    assert not schedule.wants_start(mars, DesiredState(state=Desired.PASSIVATED), 0)


def test_what_hours_start() -> None:
    # Thursday, 1 January 1970, 8:00 to 9:00 UTC.
    awake = Awake(hours=(parse_hours("thu 08:00-09:00"),), wake=True)
    within, hour = 30_600_000, 3_600_000
    asleep = DesiredState(state=Desired.PASSIVATED, cause=Cause.IDLE, since=within - 60_000)
    assert schedule.wants_start(awake, asleep, within)
    assert not schedule.wants_start(awake, asleep, within + hour)
    assert not schedule.wants_start(replace(awake, wake=False), asleep, within)
    assert not schedule.wants_start(None, asleep, within)
    assert not schedule.wants_start(awake, replace(asleep, state=Desired.STOPPED), within)
    by_hand = replace(asleep, cause=Cause.SLEEP)
    assert not schedule.wants_start(awake, by_hand, within)
    assert schedule.wants_start(awake, replace(by_hand, since=within - hour), within)
