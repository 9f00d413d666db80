"""What happened to a tenant lately, and why: a bounded list of events, and the rules by which it grows.

Events are read from the tenant's own records (who changed what it should be, what passivator saw of it) and from the
report of the proxy that asked for a wake. ``fold`` takes them in: pure, and harmless when it is told the same twice, so
that whoever writes a timeline may die at any point and go on later from what is there.

Times are epoch milliseconds of whoever wrote the record, for people. Lengths of time are never differences of two
hosts' clocks: passivator measures its own steps, and the proxy that asked measures its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import Phase, TenantRecord

_LENIENT: Final = ConfigDict(extra="ignore")

MOST_EVENTS: Final = 50
MOST_BYTES: Final = 12 * 1024
"""Most bytes of a timeline's value, by a count that errs on the large side."""
LONGEST_TEXT: Final = 200
"""Most characters of one event's text, and of any name in it."""
_FRAME: Final = 192
"""What an event takes beside its texts and phases."""
_PHASE: Final = 48
_MOST_PHASES: Final = 8


class Kind(StrEnum):
    """What happened."""

    DECLARED = "declared"
    """It came into being, asleep."""
    ASKED = "asked"
    """Somebody asked for it to run; ``why`` is the cause."""
    SLEEP = "sleep"
    """It was decided that it sleeps; ``why`` is the cause."""
    STOP = "stop"
    """An operator decided that it does not run."""
    STARTING = "starting"
    READY = "ready"
    FIRST_BYTE = "first-byte"
    """A request of its wake got the first byte of its own answer."""
    FAILED = "failed"
    CRASHED = "crashed"
    """It had served, and ended by itself."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    PAUSED = "paused"
    NOTE = "note"
    """Something else that is worth knowing; the text says what."""
    OTHER = "other"
    """Of a kind that a newer version writes and this one does not know."""


def _kind(value: object) -> object:
    if isinstance(value, str) and value not in Kind.__members__.values():
        return Kind.OTHER
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """One thing that happened."""

    __pydantic_config__ = _LENIENT

    at: int
    """When it happened, epoch milliseconds of whoever saw it."""
    kind: Annotated[Kind, BeforeValidator(_kind)]
    """What happened."""
    who: str = ""
    """Who did or saw it: ``gogeta/HOST-PID``, ``passivator/HOST-PID``, ``cli/USER``, or the driver's kind."""
    why: str = ""
    """A cause or the code of a reason."""
    wake: int = 0
    """The number of the wake it belongs to."""
    text: str = ""
    """For people: a reason's sentence, the step under way."""
    request_id: str = ""
    """Of the request that asked; the access log has it too."""
    phases: tuple[Phase, ...] = ()
    """Finished steps. passivator's for starts; the proxy's for the first byte, which together are all of its time."""
    held: int = 0
    """Requests of the asking proxy that waited for this wake when the first was answered."""
    times: int = 1
    """How often it happened in a row, when the same happened again and again."""
    last: int = 0
    """When it happened last, if more than once."""

    @property
    def latest(self) -> int:
        """When it happened, the last time."""
        return self.last or self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeReport:
    """What the proxy that asked for a wake saw of it: the steps are of its own clock, and together all of its time."""

    __pydantic_config__ = _LENIENT

    wake: int
    """The number of the wake."""
    at: int
    """When the request came that asked, epoch milliseconds of the proxy's clock."""
    by: str = ""
    """The proxy."""
    request_id: str = ""
    """The request that asked."""
    visitor: str = ""
    """``person`` for a navigation, ``program`` for anything else."""
    phases: tuple[Phase, ...] = ()
    """``asked`` (until the wish stood in the registry), ``known`` (until the proxy knew that it answers), ``answered``
    (until the first byte of its answer)."""
    held: int = 0
    """Requests of that proxy that waited for this wake when the first was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A tenant's last events, the oldest first, in the order in which passivator learned of them."""

    __pydantic_config__ = _LENIENT

    events: tuple[TimelineEvent, ...] = ()
    """At most ``MOST_EVENTS``, and ``MOST_BYTES`` bytes in all."""
    dropped: int = 0
    """How many older ones there were."""
    desired_revision: int = 0
    """Of the desired state that was taken in last: nothing is told twice, however long ago it happened."""
    observed_revision: int = 0
    """Of the observed state that was taken in last."""
    reported: int = 0
    """The number of the wake that was reported last."""


EMPTY: Final = Timeline()
News = TenantRecord | WakeReport | TimelineEvent
"""What a timeline can be told of."""


def fold(timeline: Timeline, news: Iterable[News]) -> Timeline:
    """The timeline after ``news``, told in that order. What it knows already changes nothing."""
    for item in news:
        if isinstance(item, TenantRecord):
            timeline = _fold_record(timeline, item)
        elif isinstance(item, WakeReport):
            if item.wake > timeline.reported:
                timeline = replace(_add(timeline, _answered(item)), reported=item.wake)
        else:
            timeline = _add(timeline, item)
    return _bounded(timeline)


def _fold_record(timeline: Timeline, record: TenantRecord) -> Timeline:
    if record.tenant.routed_only:
        return timeline
    # Revisions only grow: what is not newer was told before, even if it was merged or dropped since.
    desired = _desired_event(record) if record.desired_revision > timeline.desired_revision else None
    observed = _observed_event(record) if record.observed_revision > timeline.observed_revision else None
    if observed is not None and _ran_on(timeline, observed):
        # A wake of what had never been stopped needed no start.
        observed = replace(observed, at=record.desired.since, phases=(), text="it still ran")
    told = [event for event in (desired, observed) if event is not None]
    if len(told) > 1 and _came_before(record):
        told.reverse()
    for event in told:
        timeline = _add(timeline, event)
    return replace(
        timeline,
        desired_revision=max(record.desired_revision, timeline.desired_revision),
        observed_revision=max(record.observed_revision, timeline.observed_revision),
    )


def _came_before(record: TenantRecord) -> bool:
    """Whether what was seen is older than what was decided: when both are news, one of them came first."""
    if record.desired.state is Desired.STARTED:
        return record.observed.wakes < record.desired.wakes
    return record.observed.since < record.desired.since


def _desired_event(record: TenantRecord) -> TimelineEvent | None:
    desired = record.desired
    if not record.desired_revision:
        return None
    created = desired.state is Desired.PASSIVATED and desired.cause is None
    return TimelineEvent(
        at=desired.since,
        kind=Kind.DECLARED if created else _DECIDED[desired.state],
        who=desired.by,
        why=desired.cause.value if desired.cause is not None else "",
        wake=desired.wakes,
        request_id=desired.request_id,
    )


_DECIDED: Final = {Desired.STARTED: Kind.ASKED, Desired.PASSIVATED: Kind.SLEEP, Desired.STOPPED: Kind.STOP}
_SEEN: Final = {
    Observed.STOPPED: Kind.STOPPED,
    Observed.STARTING: Kind.STARTING,
    Observed.STARTED: Kind.READY,
    Observed.STOPPING: Kind.STOPPING,
    Observed.PAUSED: Kind.PAUSED,
    Observed.FAILED: Kind.FAILED,
}


def _observed_event(record: TenantRecord) -> TimelineEvent | None:
    observed = record.observed
    if not record.observed_revision or (observed.state is Observed.STOPPED and not observed.since):
        # What never ran has not stopped.
        return None
    reason = observed.reason if observed.state is Observed.FAILED else None
    return TimelineEvent(
        at=observed.since,
        kind=_SEEN[observed.state],
        who=observed.driver,
        why=reason.code.value if reason is not None else "",
        wake=observed.wakes,
        text=reason.message if reason is not None else observed.phase,
        phases=observed.phases if observed.state in (Observed.STARTING, Observed.STARTED, Observed.FAILED) else (),
    )


def _ran_on(timeline: Timeline, event: TimelineEvent) -> bool:
    """Whether a later wake found what an earlier one had started."""
    return event.kind is Kind.READY and any(
        known.kind is Kind.READY and known.at == event.at and known.wake < event.wake for known in timeline.events
    )


def _answered(report: WakeReport) -> TimelineEvent:
    took = sum(phase.ms for phase in report.phases)
    return TimelineEvent(
        at=report.at + round(took),
        kind=Kind.FIRST_BYTE,
        who=report.by,
        why=report.visitor,
        wake=report.wake,
        request_id=report.request_id,
        phases=report.phases,
        held=report.held,
    )


def _add(timeline: Timeline, event: TimelineEvent) -> Timeline:
    event = _trimmed(event)
    events = timeline.events
    last = next((known for known in reversed(events) if known.kind in _STATES), None)
    if event.kind is Kind.FAILED and last is not None and _served(last):
        event = replace(event, kind=Kind.CRASHED)
    for place in range(len(events) - 1, -1, -1):
        if _same(events[place], event):
            known = events[place]
            kind = known.kind if known.kind in _ENDS else event.kind
            newer = replace(event, kind=kind, times=known.times, at=known.at, last=known.last)
            return replace(timeline, events=(*events[:place], newer, *events[place + 1 :]))
    if (merged := _again(events, event)) is not None:
        return replace(timeline, events=merged)
    return replace(timeline, events=(*events, event))


_STATES: Final = frozenset((*_SEEN.values(), Kind.CRASHED))
_ENDS: Final = frozenset({Kind.FAILED, Kind.CRASHED})


def _served(last: TimelineEvent) -> bool:
    return last.kind is Kind.READY


def _same(known: TimelineEvent, event: TimelineEvent) -> bool:
    """Whether both tell of one thing: then the newer word about it counts."""
    kinds = known.kind is event.kind or (known.kind in _ENDS and event.kind in _ENDS)
    return kinds and known.wake == event.wake and event.at in (known.at, known.latest) and known.why == event.why


_TRIES: Final = frozenset({Kind.STARTING, Kind.READY})
_LIES_BETWEEN: Final = {
    Kind.FAILED: frozenset({Kind.STARTING, Kind.STOPPING, Kind.STOPPED}),
    Kind.CRASHED: frozenset({*_TRIES, Kind.STOPPING, Kind.STOPPED, Kind.FIRST_BYTE}),
    Kind.NOTE: frozenset[Kind](),
}
"""What may happen again and again -> what lies between two times of it."""


def _again(events: tuple[TimelineEvent, ...], event: TimelineEvent) -> tuple[TimelineEvent, ...] | None:
    """The events when ``event`` is the last thing that happened once more; None when it is not.

    A start that fails again and again is one line that says how often, and not all that there is room for. What lies
    between two failures of one wake is the second try itself.
    """
    over = _LIES_BETWEEN.get(event.kind)
    if over is None:
        return None
    for place in range(len(events) - 1, -1, -1):
        known = events[place]
        alike = (known.kind, known.why, known.who) == (event.kind, event.why, event.who)
        if alike and known.wake == event.wake and (event.kind is not Kind.NOTE or known.text == event.text):
            between = tuple(each for each in events[place + 1 :] if each.kind not in _TRIES)
            again = replace(event, at=known.at, last=event.at, times=known.times + 1)
            return (*events[:place], again, *between)
        if known.kind not in over:
            return None
    return None


def _trimmed(event: TimelineEvent) -> TimelineEvent:
    return replace(
        event,
        who=_text(event.who),
        why=_text(event.why),
        text=_text(event.text),
        request_id=_text(event.request_id),
        phases=tuple(Phase(_text(phase.name), phase.ms) for phase in event.phases[:_MOST_PHASES]),
    )


def _text(text: str) -> str:
    # What others wrote may hold what cannot be written again.
    text = text.encode(errors="replace").decode()
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _bounded(timeline: Timeline) -> Timeline:
    events, size = timeline.events, 0
    room = 0
    for event in reversed(events):
        size += weight(event)
        if room == MOST_EVENTS or size > MOST_BYTES:
            break
        room += 1
    if room == len(events):
        return timeline
    return replace(timeline, events=events[len(events) - room :], dropped=timeline.dropped + len(events) - room)


def weight(event: TimelineEvent) -> int:
    """No fewer bytes than the event takes in its value."""
    texts = (event.who, event.why, event.text, event.request_id, *(phase.name for phase in event.phases))
    return _FRAME + _PHASE * len(event.phases) + sum(_in_json(text) for text in texts)


def _in_json(text: str) -> int:
    # Control characters become \u0001: six bytes for one.
    return sum(6 if letter < " " or letter in '"\\\x7f' else len(letter.encode()) for letter in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """One wake as a whole: what the events with its number say together. None is what is not known (yet)."""

    number: int
    at: int = 0
    """When it was asked for."""
    by: str = ""
    why: str = ""
    request_id: str = ""
    steps: tuple[Phase, ...] = ()
    """passivator's: ``queued``, ``started``, ``ready``."""
    seen: tuple[Phase, ...] = ()
    """The asking proxy's: ``asked``, ``known``, ``answered``."""
    held: int = 0
    outcome: str = ""
    """``ready``, ``failed: CODE``, ``under way``, ``taken back``."""
    tries: int = 0
    """Starts that failed."""

    @property
    def ready_ms(self) -> float | None:
        """How long passivator's steps took together; None when it did not become ready."""
        return _sum(self.steps) if self.outcome == "ready" and self.steps else None

    @property
    def first_byte_ms(self) -> float | None:
        """From the request that asked to the first byte of its answer, by the proxy's clock."""
        return _sum(self.seen) if self.seen else None


def _sum(steps: tuple[Phase, ...]) -> float:
    return round(sum(step.ms for step in steps), 3)


def wakes_of(events: Iterable[TimelineEvent]) -> tuple[Wake, ...]:
    """The wakes that events tell of, the oldest first; those whose begin is forgotten are left out."""
    wakes: dict[int, Wake] = {}
    for event in events:
        if event.kind is Kind.ASKED:
            wakes[event.wake] = Wake(
                number=event.wake,
                at=event.at,
                by=event.who,
                why=event.why,
                request_id=event.request_id,
                outcome="under way",
            )
        elif (wake := wakes.get(event.wake)) is not None:
            wakes[event.wake] = _grown(wake, event)
    return tuple(wakes.values())


def _grown(wake: Wake, event: TimelineEvent) -> Wake:
    ready = wake.outcome == "ready"
    match event.kind:
        case Kind.READY if not ready:
            return replace(wake, steps=event.phases, outcome="ready")
        case Kind.STARTING if not ready:
            return replace(wake, steps=event.phases)
        case Kind.FAILED | Kind.CRASHED if not ready:
            return replace(wake, steps=event.phases, outcome=f"failed: {event.why}", tries=wake.tries + event.times)
        case Kind.SLEEP | Kind.STOP if wake.outcome == "under way":
            return replace(wake, outcome="taken back")
        case Kind.FIRST_BYTE:
            return replace(wake, seen=event.phases, held=event.held, request_id=event.request_id or wake.request_id)
    return wake
