"""What the pages show, made from the registry's values: rows, tiles, bars. Pure; it must not know HTML nor HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gogeta.api.representations import STATES, state_of
from gogeta.dashboard.history import Minute
from gogeta.domain.lifecycle import Observed
from gogeta.domain.quantities import format_age, format_size
from gogeta.domain.state import Member, TenantRecord

ORDER: Final = ("failed", "starting", "stopping", "started", "paused", "routed", "stopped", "passivated")
"""In which order states are told: what needs somebody first."""
assert sorted(ORDER) == sorted(STATES)  # noqa: S101 - a new state has its place here, too
ACTIONS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "asleep": (("wake", ""), ("stop", "Requests will not wake it any more. Stop it?")),
    "up": (
        ("sleep", ""),
        ("restart", "What is in flight is waited for, and then cut. Restart it?"),
        ("stop", "What is in flight is waited for, and then cut; requests will not wake it. Stop it?"),
    ),
    "stopped": (("start", ""), ("sleep", "")),
    "routed": (),
}
"""What can be done to a tenant: the action, and the question before it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A tenant in the list."""

    name: str
    state: str
    hosts: tuple[str, ...]
    runs: str
    since: str
    detail: str
    """What is going on, or what is wrong."""


def row(record: TenantRecord, now: int) -> Row:
    """The row of a tenant."""
    observed = record.observed
    since = 0 if record.tenant.routed_only else max(observed.since, record.desired.since)
    reason = observed.reason if observed.state is Observed.FAILED else None
    detail = f"{reason.code}: {reason.message}" if reason else observed.phase
    runs = record.tenant.driver or "upstreams"
    return Row(record.name, state_of(record), record.tenant.hosts, runs, ago(since, now), detail)


def ago(then: int, now: int) -> str:
    """How long ago, in one unit or two; empty for never."""
    return format_age((now - then) / 1000) if then else ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A state, and how many tenants are in it."""

    state: str
    count: int


def tiles(records: Iterable[TenantRecord]) -> list[Tile]:
    """A tile for each state, in the order of ``ORDER``."""
    counts = dict.fromkeys(ORDER, 0)
    for record in records:
        counts[state_of(record)] += 1
    return [Tile(state, count) for state, count in counts.items()]


def released(records: Iterable[TenantRecord]) -> str:
    """The memory that sleeping tenants would take, by the limits they declare; empty where none declares one."""
    size = declaring = asleep = 0
    for record in records:
        if state_of(record) not in ("passivated", "stopped"):
            continue
        asleep += 1
        spec = record.tenant.docker or record.tenant.process
        if spec is not None and spec.memory:
            size += spec.memory
            declaring += 1
    if not declaring:
        return ""
    return f"{format_size(size)} by the limits of {declaring} of {asleep} sleeping tenants"


@dataclass(frozen=True, slots=True)
class Bar:
    """A minute in the chart: heights in pixels, of ``HEIGHT``."""

    x: int
    wakes: int
    sleeps: int
    title: str


HEIGHT: Final = 40
WIDTH: Final = 6


def bars(hour: list[Minute]) -> list[Bar]:
    """The chart of an hour: wakes upwards, sleeps downwards, scaled to its highest."""
    most = max((max(minute.wakes, minute.sleeps) for minute in hour), default=0) or 1
    return [
        Bar(
            place * WIDTH,
            -(-minute.wakes * HEIGHT // most),
            -(-minute.sleeps * HEIGHT // most),
            f"{len(hour) - 1 - place} min ago: {minute.wakes} woke, {minute.sleeps} fell asleep",
        )
        for place, minute in enumerate(hour)
    ]


@dataclass(frozen=True, slots=True)
class Process:
    """One of our processes."""

    kind: str
    id: str
    since: str
    role: str
    where: str


def processes(members: Iterable[Member], now: int) -> list[Process]:
    """All that are alive, proxies first."""
    return [
        Process(
            member.kind,
            member.id,
            ago(member.since, now),
            " ".join(part for part in (member.role, member.driver, member.group) if part),
            ", ".join(str(endpoint) for endpoint in member.listeners),
        )
        for member in sorted(members, key=lambda member: (member.kind, member.id))
    ]


def actions(state: str) -> tuple[tuple[str, str], ...]:
    """What can be done to a tenant in this state."""
    match state:
        case "routed" | "stopped":
            return ACTIONS[state]
        case "passivated":
            return ACTIONS["asleep"]
        case _:
            return ACTIONS["up"]


def steps(wake: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of a wake with the share of the whole that each took, in per cent."""
    whole = sum(step["ms"] for step in wake["steps"]) or 1.0
    return [{**step, "share": round(100 * step["ms"] / whole, 1)} for step in wake["steps"]]
