"""Why a tenant is awake, and when it would fall asleep: one small value, and the pure function that makes it.

For people and programs that ask. What proxies and declarations tell is read from the record; what only passivator knows
(a busy tenant, its hours, a proxy that was lost) it writes down as vetoes, which are passed in. Stored times are of
several clocks: good enough to be read, never to decide by.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import ConfigDict

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import LastAccess, TenantRecord

_LENIENT: Final = ConfigDict(extra="ignore")


class Keeps(StrEnum):
    """What keeps a tenant awake, as a closed set: metrics count by it."""

    NO_TIMEOUT = "no-timeout"
    """It has no idle timeout, or somebody else runs it."""
    STARTING = "starting"
    """Timers do not run during a start."""
    IN_FLIGHT = "in-flight"
    """Requests or tunnels are open."""
    RECENT_USE = "recent-use"
    """Its idle timeout is not over."""
    HOURS = "hours"
    """Its declaration keeps it awake at this time of the week."""
    BUSY = "busy"
    """It says itself that it is busy."""
    CPU = "cpu"
    """It uses more processor time than its threshold."""
    LOST_PROXY = "lost-proxy"
    """A proxy that had it in use was lost without a word, and may still be serving."""


@dataclass(frozen=True, slots=True)
class AwakeReason:
    """One reason: what it is, a sentence for people, and until when it holds at the longest (epoch ms; None: open)."""

    __pydantic_config__ = _LENIENT

    keeps: Keeps
    detail: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetoes:
    """What passivator last had against putting a tenant to sleep whose idle timeout was over."""

    __pydantic_config__ = _LENIENT

    reasons: tuple[AwakeReason, ...] = ()
    at: int = 0
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wakefulness:
    """Why a tenant is awake. Without reasons it is not, or is about to fall asleep."""

    awake: bool
    reasons: tuple[AwakeReason, ...] = ()
    sleeps_at: int | None = None
    """When it would fall asleep if nothing more happened, epoch ms; None: nobody can say, or never."""


ASLEEP: Final = Wakefulness(awake=False)
_OPEN_ENDED: Final = frozenset({Keeps.NO_TIMEOUT, Keeps.STARTING, Keeps.IN_FLIGHT})


def why_awake(
    record: TenantRecord, access: LastAccess | None, vetoes: tuple[AwakeReason, ...], now_ms: int
) -> Wakefulness:
    """Why the tenant of ``record`` is awake at ``now_ms``; ``access`` is its last access, ``vetoes`` passivator's."""
    if record.tenant.routed_only:
        return Wakefulness(
            awake=True, reasons=(AwakeReason(Keeps.NO_TIMEOUT, "it is routed only: never put to sleep"),)
        )
    if record.desired.state is not Desired.STARTED:
        return ASLEEP
    timeout, observed = record.tenant.sleeps_after, record.observed
    reasons: list[AwakeReason] = []
    if timeout is None:
        reasons.append(AwakeReason(Keeps.NO_TIMEOUT, "it has no idle timeout"))
    if observed.state is Observed.STARTING:
        reasons.append(AwakeReason(Keeps.STARTING, "its timer begins when it is ready"))
    if access is not None and access.in_flight:
        what = "request or tunnel" if access.in_flight == 1 else "requests and tunnels"
        reasons.append(AwakeReason(Keeps.IN_FLIGHT, f"{access.in_flight} {what} open in {access.by}"))
    used = max(access.at if access is not None else 0, record.desired.since, observed.since)
    over = None if timeout is None else used + round(timeout * 1000)
    if over is not None and over > now_ms:
        reasons.append(AwakeReason(Keeps.RECENT_USE, "it was used, started or changed lately", over))
    reasons.extend(veto for veto in vetoes if veto.until is None or veto.until > now_ms)
    if over is None or any(reason.keeps in _OPEN_ENDED for reason in reasons):
        return Wakefulness(awake=True, reasons=tuple(reasons))
    ends = [reason.until for reason in reasons]
    known = [end for end in ends if end is not None]
    # A veto without an end is over when the tenant says so: nobody knows when.
    sleeps_at = None if len(known) < len(ends) else max(known, default=now_ms)
    return Wakefulness(awake=True, reasons=tuple(reasons), sleeps_at=sleeps_at)
