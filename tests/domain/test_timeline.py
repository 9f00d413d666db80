"""The timeline's rules: bounds, order, nothing twice, old values read, and wakes as wholes."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Phase, Reason, ReasonCode, TenantRecord
from gogeta.domain.tenant import read_tenant
from gogeta.domain.timeline import (
    EMPTY,
    LONGEST_TEXT,
    MOST_BYTES,
    MOST_EVENTS,
    Kind,
    Timeline,
    TimelineEvent,
    WakeReport,
    fold,
    wakes_of,
    weight,
)
from gogeta.registry.codec import decode, encode

ACME = read_tenant({"name": "acme", "hosts": ["acme.example"], "process": {"command": ["run"]}}, what="test")
STEPS = (Phase("queued", 1.0), Phase("started", 300.0), Phase("ready", 99.0))


class History:
    """A tenant's records as the mirror tells them, one after the other."""

    def __init__(self) -> None:
        self.revision = 1
        self.now = 1_767_225_600_000
        self.record = TenantRecord(
            tenant=ACME,
            revision=1,
            desired_revision=1,
            desired=DesiredState(state=Desired.PASSIVATED, by="cli/x", since=self.now),
        )
        self.records = [self.record]

    def desire(self, state: Desired, cause: Cause, by: str = "gogeta/a", request_id: str = "") -> None:
        self.revision += 1
        self.now += 1000
        wakes = self.record.desired.wakes + (state is Desired.STARTED)
        desired = DesiredState(state=state, cause=cause, by=by, since=self.now, wakes=wakes, request_id=request_id)
        self._next(desired=desired, desired_revision=self.revision)

    def observe(self, state: Observed, **parts: object) -> None:
        self.revision += 1
        self.now += 100
        observed = ObservedState(
            state=state,
            since=self.now,
            wakes=self.record.desired.wakes,
            driver="process",
            **parts,  # type: ignore[arg-type]
        )
        self._next(observed=observed, observed_revision=self.revision)

    def _next(self, **parts: object) -> None:
        self.record = replace(self.record, **parts)  # type: ignore[arg-type]
        self.records.append(self.record)

    def cycle(self) -> None:
        """A wake and a sleep."""
        self.desire(Desired.STARTED, Cause.REQUEST, request_id="r-1")
        self.observe(Observed.STARTING, phase="starting")
        self.observe(Observed.STARTED, phases=STEPS)
        self.desire(Desired.PASSIVATED, Cause.IDLE, "passivator/p")
        self.observe(Observed.STOPPING)
        self.observe(Observed.STOPPED)

    def fail(self, code: ReasonCode = ReasonCode.EXITED) -> None:
        self.observe(Observed.STARTING, phase="starting")
        self.observe(Observed.FAILED, reason=Reason(code, "ended with exit code 3"))


def kinds(timeline: Timeline) -> list[str]:
    return [event.kind.value for event in timeline.events]


def test_a_cycle_is_told_in_its_order_with_who_and_why() -> None:
    history = History()
    history.cycle()
    timeline = fold(EMPTY, history.records)
    assert kinds(timeline) == ["declared", "asked", "starting", "ready", "sleep", "stopping", "stopped"]
    asked, ready, sleep = timeline.events[1], timeline.events[3], timeline.events[4]
    assert (asked.who, asked.why, asked.wake, asked.request_id) == ("gogeta/a", "request", 1, "r-1")
    assert (ready.phases, ready.wake) == (STEPS, 1)
    assert (sleep.who, sleep.why) == ("passivator/p", "idle")


def test_what_is_told_twice_is_there_once_also_after_every_prefix() -> None:
    history = History()
    history.cycle()
    history.desire(Desired.STARTED, Cause.REQUEST)
    history.fail()
    history.fail()
    whole = fold(EMPTY, history.records)
    for place in range(len(history.records)):
        died_here = fold(EMPTY, history.records[: place + 1])
        # A restart hears of what it knows already, and of the rest.
        assert fold(died_here, history.records) == whole
        assert fold(whole, [history.records[place]]) == whole


def test_who_missed_everything_learns_it_from_the_last_record_alone() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.WAKE, "cli/x")
    history.observe(Observed.STARTED, phases=STEPS)
    timeline = fold(EMPTY, [history.record])
    assert kinds(timeline) == ["asked", "ready"]
    history.desire(Desired.PASSIVATED, Cause.SLEEP)
    assert kinds(fold(EMPTY, [history.record])) == ["ready", "sleep"]
    history.observe(Observed.STOPPED)
    assert kinds(fold(timeline, [history.record])) == ["asked", "ready", "sleep", "stopped"]


def test_a_crash_loop_is_one_line_that_says_how_often() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.REQUEST)
    for _ in range(100):
        history.fail()
    timeline = fold(EMPTY, history.records)
    assert kinds(timeline) == ["declared", "asked", "starting", "failed"]
    failed = timeline.events[-1]
    assert (failed.times, failed.why, failed.last) == (100, "exited", history.record.observed.since)
    assert failed.at < failed.last
    history.observe(Observed.STARTED, phases=STEPS)
    ready = fold(timeline, history.records)
    assert kinds(ready)[3:] == ["failed", "ready"]
    assert (wakes_of(ready.events)[-1].outcome, wakes_of(ready.events)[-1].tries) == ("ready", 100)


def test_one_that_crashes_again_and_again_after_it_was_ready_is_one_line_too() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.REQUEST)
    for _ in range(60):
        history.observe(Observed.STARTED, phases=STEPS)
        history.observe(Observed.FAILED, reason=Reason(ReasonCode.EXITED, "ended with exit code 3"))
    timeline = fold(EMPTY, history.records)
    assert kinds(timeline) == ["declared", "asked", "ready", "crashed"]
    assert timeline.events[-1].times == 60
    history.observe(Observed.STARTED, phases=STEPS)
    history.fail()
    # What failed then was a start: that is something else.
    assert kinds(fold(timeline, history.records))[3:] == ["crashed", "ready", "starting", "failed"]


def test_another_reason_is_another_line() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.REQUEST)
    history.fail()
    history.fail(ReasonCode.NOT_READY)
    history.fail(ReasonCode.NOT_READY)
    timeline = fold(EMPTY, history.records)
    assert [(event.why, event.times) for event in timeline.events if event.kind is Kind.FAILED] == [
        ("exited", 1),
        ("not-ready", 2),
    ]


def test_a_tenant_that_had_served_has_crashed_and_not_failed_to_start() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.REQUEST)
    history.observe(Observed.STARTED, phases=STEPS)
    history.observe(Observed.FAILED, reason=Reason(ReasonCode.OUT_OF_MEMORY, "killed"))
    timeline = fold(EMPTY, history.records)
    assert kinds(timeline)[-1] == "crashed"
    assert fold(timeline, [history.record]) == timeline
    assert wakes_of(timeline.events)[0].outcome == "ready"


def test_the_first_byte_belongs_to_its_wake_and_is_told_once() -> None:
    history = History()
    history.cycle()
    history.cycle()
    seen = (Phase("asked", 3.0), Phase("known", 420.0), Phase("answered", 7.0))
    report = WakeReport(wake=2, at=history.now, by="gogeta/a", request_id="r-2", visitor="program", phases=seen, held=7)
    timeline = fold(EMPTY, [*history.records, report, report, replace(report, wake=1)])
    assert kinds(timeline).count("first-byte") == 1
    first, second = wakes_of(timeline.events)
    assert first.first_byte_ms is None
    assert (second.first_byte_ms, second.ready_ms, second.held, second.request_id) == (430.0, 400.0, 7, "r-2")
    assert timeline.events[-1].at == history.now + 430


def test_a_wake_of_what_had_not_been_stopped_needed_no_start() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.REQUEST)
    history.observe(Observed.STARTED, phases=STEPS)
    history.desire(Desired.PASSIVATED, Cause.IDLE)
    history.desire(Desired.STARTED, Cause.IN_USE)
    since = history.record.observed.since
    history.revision += 1
    history._next(  # noqa: SLF001 - as passivator keeps `since`
        observed=replace(history.record.observed, wakes=2, since=since), observed_revision=history.revision
    )
    timeline = fold(EMPTY, history.records)
    assert kinds(timeline) == ["declared", "asked", "ready", "sleep", "asked", "ready"]
    assert (timeline.events[-1].text, timeline.events[-1].at) == ("it still ran", history.record.desired.since)


def test_clocks_that_differ_take_no_phase_away() -> None:
    history = History()
    # The proxy's clock is a minute ahead of passivator's.
    history.now += 60_000
    history.desire(Desired.STARTED, Cause.REQUEST)
    history.now -= 60_000
    history.observe(Observed.STARTED, phases=STEPS)
    (wake,) = wakes_of(fold(EMPTY, history.records).events)
    assert (wake.outcome, wake.steps) == ("ready", STEPS)


def test_what_never_ran_has_not_stopped() -> None:
    history = History()
    history.revision += 1
    history._next(observed=ObservedState(state=Observed.STOPPED), observed_revision=history.revision)  # noqa: SLF001 - so
    assert kinds(fold(EMPTY, history.records)) == ["declared"]


def test_routed_only_tenants_have_no_timeline() -> None:
    tenant = read_tenant({"name": "r", "hosts": ["r.example"], "upstreams": ["http://10.0.0.1:1"]}, what="test")
    assert fold(EMPTY, [TenantRecord(tenant=tenant, desired_revision=3, observed_revision=4)]) == EMPTY


texts = st.text(max_size=300)
events = st.builds(
    TimelineEvent,
    at=st.integers(0, 2**42),
    kind=st.sampled_from(Kind),
    who=texts,
    why=st.sampled_from(["", "request", "exited"]),
    wake=st.integers(0, 10**9),
    text=texts,
    request_id=texts,
    phases=st.lists(st.builds(Phase, texts, st.floats(0, 1e9)), max_size=12).map(tuple),
    held=st.integers(0, 10**6),
    times=st.just(1),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, max_size=120))
def test_it_is_bounded_and_its_value_reads_back(news: list[TimelineEvent]) -> None:
    timeline = EMPTY
    for event in news:
        timeline = fold(timeline, [event])
        assert len(timeline.events) <= MOST_EVENTS
    assert sum(weight(event) for event in timeline.events) <= MOST_BYTES
    assert all(len(event.text) <= LONGEST_TEXT for event in timeline.events)
    value = encode(timeline)
    assert len(value) <= MOST_BYTES + 200
    assert decode(Timeline, value, what="timeline") == timeline


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, max_size=60))
def test_events_stay_in_the_order_in_which_they_were_learned(news: list[TimelineEvent]) -> None:
    timeline = fold(EMPTY, [replace(event, wake=place, why="") for place, event in enumerate(news)])
    places = [event.wake for event in timeline.events]
    assert places == sorted(places)
    assert len(places) + timeline.dropped == len(news)


steps = st.lists(
    st.sampled_from(["wake", "sleep", "starting", "started", "failed", "stopping", "stopped"]), min_size=1, max_size=40
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.data())
def test_a_writer_that_dies_anywhere_and_is_told_again_ends_with_the_same(
    names: list[str], data: st.DataObject
) -> None:
    history = History()
    for name in names:
        match name:
            case "wake":
                history.desire(Desired.STARTED, Cause.REQUEST)
            case "sleep":
                history.desire(Desired.PASSIVATED, Cause.IDLE)
            case "failed":
                history.observe(Observed.FAILED, reason=Reason(ReasonCode.EXITED, "ended"))
            case _:
                history.observe(Observed(name))
    records = history.records
    whole = fold(EMPTY, records)
    split = data.draw(st.integers(0, len(records)))
    back = data.draw(st.integers(0, split))
    assert fold(fold(EMPTY, records[:split]), records[back:]) == whole


def test_what_was_dropped_for_want_of_room_is_not_told_again_at_the_end() -> None:
    history = History()
    history.desire(Desired.STARTED, Cause.REQUEST)
    for number in range(MOST_EVENTS):
        history.observe(Observed.STARTED, phases=STEPS)
        history.observe(Observed.STARTING, phase=f"step {number}")
    timeline = fold(EMPTY, history.records)
    assert Kind.ASKED not in {event.kind for event in timeline.events}
    assert fold(timeline, history.records[-5:]) == timeline
    assert fold(timeline, history.records) == timeline


def test_long_texts_leave_room_for_fewer_events() -> None:
    long = [TimelineEvent(at=at, kind=Kind.READY, who="ä" * 300, text='"' * 300) for at in range(MOST_EVENTS)]
    timeline = fold(EMPTY, long)
    assert 0 < len(timeline.events) < MOST_EVENTS
    assert len(encode(timeline)) <= MOST_BYTES
    assert timeline.events[-1].at == MOST_EVENTS - 1
    assert timeline.dropped == MOST_EVENTS - len(timeline.events)


def test_what_newer_and_older_versions_wrote_is_read() -> None:
    value = (
        b'{"version":1,"events":[{"at":5,"kind":"teleported","who":"x","new_field":1},{"at":6,"kind":"ready"}],'
        b'"something":true}'
    )
    timeline = decode(Timeline, value, what="timeline")
    assert kinds(timeline) == ["other", "ready"]
    assert decode(Timeline, b'{"version":1}', what="timeline") == EMPTY
