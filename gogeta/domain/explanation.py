"""Why a tenant is as it is, in words: one sentence, what speaks for it, its policies, its last wakes and events.

Made of what the registry holds alone, so that it can be told while every other process is down. How a moment is
written is the caller's business (``Clock``): a person wants the time of the place, a program wants UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gogeta.domain.discovery import Refusal
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.quantities import format_duration
from gogeta.domain.state import DesiredState, LastAccess, Member, Phase, TenantRecord
from gogeta.domain.tenant import Tenant
from gogeta.domain.timeline import EMPTY, News, Timeline, TimelineEvent, Wake, WakeReport, fold, wakes_of

Clock = Callable[[int], str]
"""Epoch milliseconds in words."""

_RUN_BY: Final = {"docker": frozenset({"docker", "swarm", "memory"}), "process": frozenset({"process", "memory"})}
"""What a declaration asks for -> the kinds of driver that do it."""
_REPORTED_EVERY: Final = 120_000
"""Milliseconds after which a proxy that still had it in use would have said so again, by any sensible setting."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Something besides use that keeps a tenant awake: a veto, a schedule."""

    text: str
    """A clause: what it is."""
    until: int | None = None
    """When it ends at the latest, epoch milliseconds; None: nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that an explanation rests on."""

    record: TenantRecord
    now: int
    access: LastAccess | None = None
    timeline: Timeline = EMPTY
    report: WakeReport | None = None
    members: tuple[Member, ...] | None = None
    """The live processes; None when that could not be read."""
    keepers: tuple[Keeper, ...] = ()
    """What keeps it awake besides use."""
    refusals: tuple[Refusal, ...] = ()
    """Labels of containers that concern it and are not in force."""
    unknown: tuple[str, ...] = ()
    """What could not be read, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What there is to say."""

    name: str
    state: str
    """``awake``, ``asleep``, ``falling-asleep``, ``starting``, ``failed``, ``stopped``, ``routed``."""
    sentence: str
    because: tuple[str, ...] = ()
    """What keeps it awake, one by one."""
    would_sleep_at: int | None = None
    """When it would be put to sleep if nobody used it from now on, and by the last use that is known."""
    warnings: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    wakes: tuple[Wake, ...] = ()
    timeline: Timeline = EMPTY


def explain(facts: Facts, clock: Clock) -> Explanation:
    """What there is to say about a tenant."""
    record = facts.record
    # What passivator has not written yet, or cannot write, is in the records themselves.
    news: list[News] = [record]
    if facts.report is not None and facts.report.wake <= record.desired.wakes:
        news.append(facts.report)
    timeline = fold(facts.timeline, news)
    because = _because(facts, clock)
    state, sentence = _sentence(facts, because, clock)
    return Explanation(
        name=record.name,
        state=state,
        sentence=sentence,
        because=because if state == "awake" else (),
        would_sleep_at=_would_sleep_at(facts) if state == "awake" else None,
        warnings=(*_warnings(facts), *map(str, facts.refusals), *facts.unknown),
        policy=tuple(_policy(record.tenant)),
        wakes=wakes_of(timeline.events),
        timeline=timeline,
    )


# ---------------------------------------------------------------------------------------------------- one sentence


def _sentence(facts: Facts, because: tuple[str, ...], clock: Clock) -> tuple[str, str]:
    record = facts.record
    desired, observed = record.desired, record.observed
    if record.tenant.routed_only:
        where = ", ".join(str(upstream) for upstream in record.tenant.upstreams)
        return "routed", f"routed only: its requests go to {where}, which somebody else runs; it is never put to sleep"
    match desired.state:
        case Desired.STOPPED:
            still = "" if observed.state is Observed.STOPPED else f" (it is {observed.state.value} still)"
            return "stopped", (
                f"stopped{_by(desired)}{_at(desired.since, clock)}{still}: requests do not wake it, "
                f"`gogeta start {record.name}` does"
            )
        case Desired.PASSIVATED:
            return _towards_sleep(record, clock)
        case Desired.STARTED:
            return _up(facts, because, clock)


def _towards_sleep(record: TenantRecord, clock: Clock) -> tuple[str, str]:
    desired, observed = record.desired, record.observed
    why = _why_asleep(record, clock)
    if observed.state is Observed.FAILED and observed.reason is not None:
        return "asleep", (
            f"asleep{_since(max(desired.since, observed.since), clock)} {why}; what it did last failed: "
            f"{observed.reason.message}; the next request wakes it"
        )
    if observed.state in (Observed.STOPPED, Observed.PAUSED):
        since = observed.since if desired.cause is not None else 0
        kept = ", paused in memory" if observed.state is Observed.PAUSED else ""
        return "asleep", f"asleep{_since(since, clock)}{kept} {why}; the next request wakes it"
    return "falling-asleep", (
        f"falling asleep{_since(desired.since, clock)} {why}; it is {observed.state.value}, "
        "and a request that comes now wakes it again"
    )


def _why_asleep(record: TenantRecord, clock: Clock) -> str:
    desired = record.desired
    match desired.cause:
        case None:
            return f"because nobody has asked for it since it was declared{_at(desired.since, clock)}"
        case Cause.IDLE:
            return f"because nobody used it for {format_duration(record.tenant.sleeps_after)}"
        case Cause.ROOM:
            return "because memory was short, others waited for it, and nobody was using it"
        case Cause.SLEEP:
            return f"because {desired.by or 'somebody'} put it to sleep{_at(desired.since, clock)}"
        case _:
            return f"because of {desired.cause.value}{_by(desired)}"


def _up(facts: Facts, because: tuple[str, ...], clock: Clock) -> tuple[str, str]:
    record = facts.record
    desired, observed = record.desired, record.observed
    asked = f"{_asked_for(desired)}{_at(desired.since, clock)}"
    match observed.state:
        case Observed.STARTED if observed.endpoints:
            return "awake", f"awake because {_and(because)}; {_until(facts, clock)}"
        case Observed.FAILED:
            reason = observed.reason
            what = f"because {reason.message} ({reason.code.value})" if reason is not None else "for no known reason"
            again = (
                f"tried again{_at(reason.retry_at, clock)}"
                if reason is not None and reason.retry_at and reason.retry_at > facts.now
                else "tried again in a moment"
                if reason is not None and reason.retry_at
                else "given up; the next request is worth one more try"
                if reason is not None and reason.on_request
                else f"not tried again by itself; `gogeta start {record.name}` tries it"
            )
            return "failed", f"failed{_since(observed.since, clock)} {what}; {again}"
        case Observed.STOPPING:
            return "starting", f"starting, {asked}: it was being stopped, and is started again when that is done"
        case Observed.STOPPED if observed.wakes < desired.wakes or not observed.phase:
            return "starting", f"starting, {asked}: passivator has not begun yet"
        case _:
            phase = observed.phase or observed.state.value
            return "starting", f"starting{_since(observed.since, clock)}, {asked}: {phase}"


def _until(facts: Facts, clock: Clock) -> str:
    if facts.record.tenant.sleeps_after is None:
        return "it never sleeps, its idle timeout is `never`"
    if any(keeper.until is None for keeper in _keepers(facts)):
        return "while that is so it does not sleep"
    at = _would_sleep_at(facts) or 0
    if _in_use(facts):
        return f"would sleep{_at(at, clock)} if that ended now"
    if at > facts.now:
        return f"would sleep{_at(at, clock)} if nobody uses it"
    return f"should have been put to sleep{_at(at, clock)}, or is about to be"


def _would_sleep_at(facts: Facts) -> int | None:
    record, timeout = facts.record, facts.record.tenant.sleeps_after
    if timeout is None:
        return None
    used = facts.access.at if facts.access is not None else 0
    if facts.access is not None and _in_use(facts):
        used = facts.now
    over = max(used, record.desired.since, record.observed.since) + round(timeout * 1000)
    ends = [keeper.until for keeper in _keepers(facts)]
    # Nobody knows when a veto without an end is over.
    return None if None in ends else max((over, *(end for end in ends if end is not None)))


def _keepers(facts: Facts) -> list[Keeper]:
    """Those that still hold."""
    return [keeper for keeper in facts.keepers if keeper.until is None or keeper.until > facts.now]


# ------------------------------------------------------------------------------------------------ what speaks for it


def _in_use(facts: Facts) -> bool:
    access = facts.access
    if access is None or not access.in_flight:
        return False
    if facts.members is not None:
        return access.by in {f"{member.kind}/{member.id}" for member in facts.members}
    return facts.now - access.at < _REPORTED_EVERY


def _because(facts: Facts, clock: Clock) -> tuple[str, ...]:
    record, access = facts.record, facts.access
    found: list[str] = []
    if access is not None and access.in_flight:
        tunnels = min(access.tunnels, access.in_flight)
        counted = [
            _count(tunnels, "WebSocket", "WebSockets"),
            _count(access.in_flight - tunnels, "request in flight", "requests in flight"),
        ]
        use = " and ".join(each for each in counted if each)
        if _in_use(facts):
            found.append(f"{use} at {access.by or 'a proxy'} (as of {clock(access.at)})")
        else:
            found.append(
                f"it had {use} at {access.by or 'a proxy'}{_at(access.at, clock)}, which is not alive any more"
            )
    for keeper in _keepers(facts):
        until = f" (until {clock(keeper.until)})" if keeper.until is not None else ""
        found.append(keeper.text + until)
    if not found:
        used = access.at if access is not None else 0
        since = record.desired.since
        if used >= since and used:
            found.append(f"it was used last{_at(used, clock)}")
        else:
            found.append(f"it was {_asked_for(record.desired)}{_at(since, clock)}")
    return tuple(found)


def _asked_for(desired: DesiredState) -> str:
    match desired.cause:
        case Cause.REQUEST:
            who = f"woken by a request through {desired.by or 'a proxy'}"
            return f"{who} (request {desired.request_id})" if desired.request_id else who
        case Cause.IN_USE:
            return f"kept awake by {desired.by or 'a proxy'}, which had it in use while it fell asleep,"
        case Cause.HOURS:
            return "started for its hours"
        case Cause.WAKE | Cause.START:
            return f"{'woken' if desired.cause is Cause.WAKE else 'started'}{_by(desired)}"
        case _:
            return f"asked for{_by(desired)}"


def _warnings(facts: Facts) -> list[str]:
    record, members = facts.record, facts.members
    if members is None:
        return []
    warnings = []
    if not _proxies(members):
        warnings.append("no gogeta is alive: nobody passes its requests on")
    driver = record.tenant.driver
    if driver is not None and not any(
        member.kind == "passivator" and member.driver in _RUN_BY.get(driver, {driver}) for member in members
    ):
        warnings.append(f"no passivator for driver {driver} is alive: nobody starts or stops it")
    return warnings


def _proxies(members: tuple[Member, ...]) -> bool:
    return any(member.kind == "gogeta" for member in members)


def _policy(tenant: Tenant) -> list[str]:
    if tenant.routed_only:
        return ["routed only: not started, not stopped, not watched"]
    ready, wake = tenant.ready, tenant.wake
    lines = [
        *(["declared by the labels of its containers, and withdrawn with them"] if tenant.discovered else ()),
        *_sleeping(tenant),
        (f"ready when {ready.path} answers 2xx or 3xx" if ready.path else "ready when its port accepts a connection")
        + f", within {format_duration(ready.timeout)} of its start",
    ]
    program = f"a program's request waits for up to {format_duration(wake.timeout)}"
    person = {
        "auto": f"a person waits for {format_duration(wake.hold)} and then sees the starting page; {program}",
        "page": f"a person sees the starting page at once; {program}",
        "hold": f"everybody's request waits for up to {format_duration(wake.timeout)}, nobody sees a page",
    }
    lines.append("while it starts, " + person.get(wake.mode, program))
    lines.append(f"at a stop it gets {format_duration(tenant.stop_grace)} to end by itself")
    return lines


def _sleeping(tenant: Tenant) -> list[str]:
    timeout, sleep, busy, awake = tenant.idle_timeout, tenant.sleep, tenant.busy, tenant.awake
    lines = []
    if sleep.pause_after is not None:
        lines.append(f"paused when nobody used it for {format_duration(sleep.pause_after)}")
    if timeout is not None:
        end = "stopped" if lines else "put to sleep"
        lines.append(f"{end} when nobody used it for {format_duration(timeout)}")
    if sleep.destroy_after is not None:
        lines.append(f"removed altogether when nobody used it for {format_duration(sleep.destroy_after)}")
    if not lines:
        lines.append("never put to sleep")
    if awake is not None:
        hours = ", ".join(str(each) for each in awake.hours)
        lines.append(f"{'started for and ' if awake.wake else ''}kept awake in its hours: {hours} ({awake.zone})")
    if busy is not None:
        told = [f"{busy.path} answers 200"] if busy.path else []
        told += [f"it uses {busy.cpu:g}% of a processor"] if busy.cpu is not None else []
        lines.append(
            f"kept awake while {' or '.join(told)}, for up to {format_duration(busy.at_most)} after its last use"
        )
    return lines


# ------------------------------------------------------------------------------------------------------------ words


def _by(desired: DesiredState) -> str:
    return f" by {desired.by}" if desired.by else ""


def _at(moment: int | None, clock: Clock) -> str:
    return f" at {clock(moment)}" if moment else ""


def _since(moment: int, clock: Clock) -> str:
    return f" since {clock(moment)}" if moment else ""


def _count(number: int, one: str, many: str) -> str:
    return "" if not number else f"1 {one}" if number == 1 else f"{number} {many}"


def _and(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


# -------------------------------------------------------------------------------------------------------- as data


def explanation_data(explanation: Explanation, stamp: Clock) -> dict[str, Any]:
    """The explanation as JSON-able data; ``stamp`` writes its times. Public: members are added, never changed."""
    at = explanation.would_sleep_at
    return {
        "name": explanation.name,
        "state": explanation.state,
        "sentence": explanation.sentence,
        "because": list(explanation.because),
        "would_sleep_at": stamp(at) if at else None,
        "warnings": list(explanation.warnings),
        "policy": list(explanation.policy),
        "wakes": [_wake_data(wake, stamp) for wake in explanation.wakes],
        "timeline": timeline_data(explanation.timeline, stamp),
    }


def timeline_data(timeline: Timeline, stamp: Clock) -> dict[str, Any]:
    """The events, the oldest first, and how many older ones were dropped."""
    return {"events": [_event_data(event, stamp) for event in timeline.events], "dropped": timeline.dropped}


def _event_data(event: TimelineEvent, stamp: Clock) -> dict[str, Any]:
    return {
        "at": stamp(event.at),
        "kind": event.kind.value,
        "who": event.who,
        "why": event.why,
        "wake": event.wake,
        "text": event.text,
        "request_id": event.request_id or None,
        "phases": _phases(event.phases),
        "held": event.held,
        "times": event.times,
        "last": stamp(event.latest),
    }


def _wake_data(wake: Wake, stamp: Clock) -> dict[str, Any]:
    return {
        "wake": wake.number,
        "asked_at": stamp(wake.at) if wake.at else None,
        "by": wake.by,
        "why": wake.why,
        "request_id": wake.request_id or None,
        "outcome": wake.outcome,
        "failed_tries": wake.tries,
        "steps": _phases(wake.steps),
        "ready_ms": wake.ready_ms,
        "seen_by_proxy": _phases(wake.seen),
        "first_byte_ms": wake.first_byte_ms,
        "held": wake.held,
    }


def _phases(phases: tuple[Phase, ...]) -> list[dict[str, Any]]:
    return [{"name": phase.name, "ms": phase.ms} for phase in phases]
