"""The sentences: what an operator reads for each way a tenant can be."""

from dataclasses import replace
from itertools import product

import pytest

from gogeta.domain.explanation import Explanation, Facts, Keeper, explain, explanation_data
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import (
    DesiredState,
    LastAccess,
    Member,
    ObservedState,
    Reason,
    ReasonCode,
    TenantRecord,
)
from gogeta.domain.tenant import read_tenant
from gogeta.domain.timeline import EMPTY, WakeReport
from gogeta.domain.upstreams import Endpoint

MINUTE = 60_000
NOW = 14 * 60 * MINUTE
ALL = (Member(kind="gogeta", id="web1-1"), Member(kind="passivator", id="p-1", driver="docker"))


def clock(moment: int) -> str:
    minutes = moment // MINUTE
    return f"{minutes // 60:02}:{minutes % 60:02}"


def tenant(**more: object) -> TenantRecord:
    data = {"name": "acme", "hosts": ["acme.example"], "docker": {"image": "x"}, **more}
    return TenantRecord(tenant=read_tenant(data, what="test"), revision=1, desired_revision=2, observed_revision=3)


def awake(**more: object) -> TenantRecord:
    return replace(
        tenant(**more),
        desired=DesiredState(
            state=Desired.STARTED,
            cause=Cause.REQUEST,
            by="gogeta/web1-1",
            since=NOW - 90 * MINUTE,
            wakes=3,
            request_id="r-7",
        ),
        observed=ObservedState(
            state=Observed.STARTED, since=NOW - 89 * MINUTE, wakes=3, endpoints=(Endpoint("10.0.0.1", 80),)
        ),
    )


def asleep(cause: Cause | None, by: str = "passivator/p-1", **more: object) -> TenantRecord:
    return replace(
        tenant(**more),
        desired=DesiredState(state=Desired.PASSIVATED, cause=cause, by=by, since=NOW - 10 * MINUTE, wakes=3),
        observed=ObservedState(state=Observed.STOPPED, since=NOW - 9 * MINUTE, wakes=3),
    )


def told(record: TenantRecord, **facts: object) -> Explanation:
    return explain(Facts(record=record, now=NOW, members=ALL, **facts), clock)  # type: ignore[arg-type]


def test_awake_because_of_sockets_and_when_it_would_sleep() -> None:
    access = LastAccess(at=NOW - MINUTE, by="gogeta/web1-1", in_flight=2, tunnels=2)
    one = told(awake(), access=access)
    assert one.sentence == (
        "awake because 2 WebSockets at gogeta/web1-1 (as of 13:59); would sleep at 14:30 if that ended now"
    )
    assert (one.state, one.would_sleep_at) == ("awake", NOW + 30 * MINUTE)
    both = told(awake(), access=replace(access, in_flight=3, tunnels=1))
    assert "1 WebSocket and 2 requests in flight at gogeta/web1-1" in both.sentence
    requests = told(awake(), access=replace(access, in_flight=1, tunnels=0))
    assert "awake because 1 request in flight at" in requests.sentence


def test_awake_because_it_was_used() -> None:
    one = told(awake(), access=LastAccess(at=NOW - 25 * MINUTE, by="gogeta/web1-1"))
    assert one.sentence == "awake because it was used last at 13:35; would sleep at 14:05 if nobody uses it"
    before = told(awake())
    assert before.sentence.startswith(
        "awake because it was woken by a request through gogeta/web1-1 (request r-7) at 12:30; should have been put to "
        "sleep at 13:01, or is about to be"
    )


def test_a_proxy_that_died_keeps_nothing_awake() -> None:
    access = LastAccess(at=NOW - 20 * MINUTE, by="gogeta/gone-9", in_flight=4, tunnels=4)
    one = told(awake(), access=access)
    assert "it had 4 WebSockets at gogeta/gone-9 at 13:40, which is not alive any more" in one.sentence
    assert "would sleep at 14:10 if nobody uses it" in one.sentence


def test_never_sleeps_and_other_reasons() -> None:
    never = told(awake(idle_timeout="never"), access=LastAccess(at=NOW - MINUTE))
    assert never.sentence.endswith("it never sleeps, its idle timeout is `never`")
    assert never.would_sleep_at is None
    hours = Keeper("its hours are on (Mon-Fri 8-18 CET)", NOW + 240 * MINUTE)
    kept = told(awake(), keepers=(hours, Keeper("that was once so", NOW - 1)))
    assert kept.sentence == (
        "awake because its hours are on (Mon-Fri 8-18 CET) (until 18:00); would sleep at 18:00 if nobody uses it"
    )
    assert kept.would_sleep_at == NOW + 240 * MINUTE
    busy = told(awake(), keepers=(hours, Keeper("it says that it is busy")))
    assert busy.sentence.endswith(" (until 18:00) and it says that it is busy; while that is so it does not sleep")
    assert busy.would_sleep_at is None


def test_asleep_and_why() -> None:
    assert told(asleep(Cause.IDLE)).sentence == (
        "asleep since 13:51 because nobody used it for 30m; the next request wakes it"
    )
    assert told(asleep(Cause.SLEEP, "cli/ann@host")).sentence == (
        "asleep since 13:51 because cli/ann@host put it to sleep at 13:50; the next request wakes it"
    )
    assert told(asleep(Cause.ROOM)).sentence == (
        "asleep since 13:51 because memory was short, others waited for it, and nobody was using it; "
        "the next request wakes it"
    )
    assert told(asleep(None, "cli/ann@host")).sentence == (
        "asleep because nobody has asked for it since it was declared at 13:50; the next request wakes it"
    )


def test_falling_asleep() -> None:
    record = replace(asleep(Cause.IDLE), observed=ObservedState(state=Observed.STOPPING, since=NOW))
    one = told(record)
    assert one.state == "falling-asleep"
    assert one.sentence.endswith("it is stopping, and a request that comes now wakes it again")


def test_stopped_by_an_operator() -> None:
    record = replace(
        asleep(None), desired=DesiredState(state=Desired.STOPPED, cause=Cause.STOP, by="cli/ann@host", since=NOW)
    )
    assert told(record).sentence == (
        "stopped by cli/ann@host at 14:00: requests do not wake it, `gogeta start acme` does"
    )


def test_failed_and_when_it_is_tried_again() -> None:
    reason = Reason(ReasonCode.EXITED, "ended with exit code 3", NOW + 2 * MINUTE)
    record = replace(awake(), observed=ObservedState(state=Observed.FAILED, since=NOW - MINUTE, wakes=3, reason=reason))
    assert told(record).sentence == ("failed since 13:59 because ended with exit code 3 (exited); tried again at 14:02")
    for_good = replace(record, observed=replace(record.observed, reason=replace(reason, retry_at=None)))
    assert told(for_good).sentence.endswith("not tried again by itself; `gogeta start acme` tries it")
    given_up = replace(reason, retry_at=None, given_up=True, on_request=True, failures=8)
    once_more = replace(record, observed=replace(record.observed, reason=given_up))
    assert told(once_more).sentence.endswith("given up; the next request is worth one more try")


def test_starting_and_how_far_it_is() -> None:
    record = replace(
        awake(),
        observed=ObservedState(state=Observed.STARTING, since=NOW, wakes=3, phase="waiting for its turn, 2 before it"),
    )
    assert told(record).sentence == (
        "starting since 14:00, woken by a request through gogeta/web1-1 (request r-7) at 12:30: "
        "waiting for its turn, 2 before it"
    )
    unseen = replace(record, observed=ObservedState(state=Observed.STOPPED, wakes=2))
    assert told(unseen).sentence.endswith("passivator has not begun yet")


def test_routed_only() -> None:
    record = TenantRecord(
        tenant=read_tenant({"name": "r", "hosts": ["r.example"], "upstreams": ["http://10.0.0.7:8080"]}, what="test")
    )
    one = told(record)
    assert (one.state, one.timeline) == ("routed", EMPTY)
    assert "10.0.0.7:8080" in one.sentence
    assert one.warnings == ()


def test_it_says_who_is_not_alive() -> None:
    nobody = explain(Facts(record=asleep(Cause.IDLE), now=NOW, members=()), clock)
    assert nobody.warnings == (
        "no gogeta is alive: nobody passes its requests on",
        "no passivator for driver docker is alive: nobody starts or stops it",
    )
    other = (ALL[0], Member(kind="passivator", id="x", driver="process"))
    assert explain(Facts(record=asleep(Cause.IDLE), now=NOW, members=other), clock).warnings == nobody.warnings[1:]
    assert told(asleep(Cause.IDLE)).warnings == ()
    unknown = Facts(record=asleep(Cause.IDLE), now=NOW, unknown=("which processes are alive could not be read",))
    assert explain(unknown, clock).warnings == ("which processes are alive could not be read",)


def test_the_policy_in_words() -> None:
    assert told(awake()).policy[:2] == (
        "put to sleep when nobody used it for 30m",
        "ready when its port accepts a connection, within 1m of its start",
    )
    modes = {
        mode: told(awake(wake={"mode": mode, "hold": "2s", "timeout": "30s"})).policy[2]
        for mode in ("auto", "page", "hold")
    }
    assert "a person waits for 2s and then sees the starting page" in modes["auto"]
    assert "at once" in modes["page"]
    assert "nobody sees a page" in modes["hold"]


def test_a_report_of_an_earlier_tenant_of_the_name_is_passed_over() -> None:
    report = WakeReport(wake=99, at=NOW)
    assert not [event for event in told(awake(), report=report).timeline.events if event.kind == "first-byte"]
    assert [
        event for event in told(awake(), report=replace(report, wake=3)).timeline.events if event.kind == "first-byte"
    ]


@pytest.mark.parametrize(("desired", "observed", "cause"), list(product(Desired, Observed, [None, *Cause])))
def test_there_is_something_to_say_about_every_pair_of_states(
    desired: Desired, observed: Observed, cause: Cause | None
) -> None:
    record = replace(tenant(), desired=DesiredState(state=desired, cause=cause), observed=ObservedState(state=observed))
    for access in (None, LastAccess(at=NOW, in_flight=1, by="gogeta/web1-1")):
        data = explanation_data(told(record, access=access), clock)
        assert data["sentence"].startswith(data["state"].replace("-", " "))
        assert "  " not in data["sentence"]
        assert "None" not in data["sentence"]
