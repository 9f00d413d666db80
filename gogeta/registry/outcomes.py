"""What a tenant's record means for whoever asked for something. Pure; the command line and the admin API wait by it."""

from __future__ import annotations

from dataclasses import dataclass

from gogeta.domain.lifecycle import Desired, Meeting, Observed
from gogeta.domain.state import Phase, Reason, ReasonCode, TenantRecord
from gogeta.registry.registry import DesiredChange


@dataclass(frozen=True, slots=True)
class Reached:
    """It is what it was asked to be."""

    record: TenantRecord


@dataclass(frozen=True, slots=True)
class Failed:
    """The runtime tried, and it did not work."""

    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Somebody wants something else of it now."""

    record: TenantRecord


@dataclass(frozen=True, slots=True)
class Gone:
    """Its declaration was removed."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not yet; the finished steps and the one under way."""

    record: TenantRecord
    phases: tuple[Phase, ...] = ()
    phase: str = ""


Outcome = Reached | Failed | Overtaken | Gone | Pending


def judge(record: TenantRecord | None, asked: DesiredChange) -> Outcome:
    """What ``record`` means for somebody who asked for ``asked``."""
    if record is None:
        return Gone()
    wanted, observed = asked.desired.state, record.observed
    if record.desired.state is not wanted and record.desired_revision > asked.revision:
        return Overtaken(record)
    # A failure of an earlier start says nothing about this one; with every wake the number grows.
    ours = observed.wakes >= asked.desired.wakes
    if wanted is Desired.STARTED:
        if record.meeting is Meeting.FORWARD:
            return Reached(record)
        if observed.state is Observed.FAILED and ours:
            return Failed(observed.reason)
        return Pending(record, observed.phases, observed.phase) if ours else Pending(record)
    if observed.state is Observed.STOPPED:
        return Reached(record)
    if observed.state is Observed.FAILED and observed.reason and observed.reason.code is ReasonCode.STOP_FAILED:
        return Failed(observed.reason)
    return Pending(record)
