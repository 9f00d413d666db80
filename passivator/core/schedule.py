"""Hours in which a tenant is kept awake: what they mean at a moment of the wall clock. Pure.

Hours keep a tenant from being put to sleep. With ``wake`` they also start it, and keep it running; only an operator's
sleep or stop within them stands. Where this system knows no such time zone, a tenant is rather kept awake than cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gogeta.domain.hours import next_begin, span_at, zone_of
from gogeta.domain.lifecycle import Cause, Desired
from gogeta.domain.sleeping import Awake
from gogeta.domain.state import DesiredState

LOOK_AGAIN: Final = 3600.0
"""Longest time, in seconds, until the wall clock is looked at again: it may have been set."""


@dataclass(frozen=True, slots=True)
class KeptAwake:
    """The hours hold until then (aware); without an end, the zone is not known here."""

    begin: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OutOfHours:
    """They do not hold; the next ones begin then (aware)."""

    begins: datetime | None = None


def look(awake: Awake, wall_ms: int) -> KeptAwake | OutOfHours:
    """What the hours say at a moment, in epoch milliseconds."""
    zone = zone_of(awake.zone)
    if zone is None:
        return KeptAwake()
    moment = _moment(wall_ms)
    span = span_at(awake.hours, zone, moment)
    if span is not None:
        return KeptAwake(span.begin, span.end)
    return OutOfHours(next_begin(awake.hours, zone, moment))


def seconds_until(when: datetime | None, wall_ms: int) -> float:
    """How long to wait before looking again; ``LOOK_AGAIN`` at the most, and never nothing."""
    if when is None:
        return LOOK_AGAIN
    return min(max((when - _moment(wall_ms)) / timedelta(seconds=1), 0.05), LOOK_AGAIN)


def wants_start(awake: Awake | None, desired: DesiredState, wall_ms: int) -> bool:
    """Whether the hours start a tenant that is asleep.

    An operator who puts it to sleep within them has the last word until the next ones begin.
    """
    if awake is None or not awake.wake or desired.state is not Desired.PASSIVATED:
        return False
    now = look(awake, wall_ms)
    if not isinstance(now, KeptAwake) or now.begin is None:
        return False
    return desired.cause is not Cause.SLEEP or _moment(desired.since) < now.begin


def epoch_ms(when: datetime | None) -> int | None:
    """As the registry has times."""
    return None if when is None else round(when.timestamp() * 1000)


def _moment(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1000, UTC)
