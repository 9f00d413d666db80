"""Tenants, members and their revisions as the API shows them. Pure: from the registry's values to JSON-able data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gogeta.domain.discovery import Refusal
from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, Member, ObservedState, TenantRecord
from gogeta.domain.tenant import tenant_to_data
from gogeta.kit.clock import rfc3339

STATES: Final = (
    "failed",
    "paused",
    "passivated",
    "routed",
    "started",
    "starting",
    "stopped",
    "stopping",
)
"""What a tenant can be in one word."""
HIDDEN: Final = "***"
"""What stands instead of a variable's value for those who may not see secrets."""


def state_of(record: TenantRecord) -> str:
    """Desired and observed state in one word, one of ``STATES``."""
    if record.tenant.routed_only:
        return "routed"
    if record.observed.state is not Observed.STOPPED:
        return record.observed.state.value
    # Nothing runs: then it matters what is meant to be.
    return "starting" if record.desired.state is Desired.STARTED else record.desired.state.value


def etag_of(record: TenantRecord) -> str:
    """The entity tag: revisions of the declaration, the desired and the observed state, in this order."""
    return f'"{record.revision}.{record.desired_revision}.{record.observed_revision}"'


def tenant_data(record: TenantRecord, *, secrets: bool = True) -> dict[str, Any]:
    """Everything about one tenant. Without ``secrets`` the values of its environment are hidden."""
    declaration = tenant_to_data(record.tenant)
    return {
        **summary_data(record),
        "policy": {
            "idle_timeout": record.tenant.idle_timeout,
            "sleeps_after": record.tenant.sleeps_after,
            "stop_grace": record.tenant.stop_grace,
            "wake_mode": record.tenant.wake.mode,
            "https_only": record.tenant.https_only,
        },
        "declaration": declaration if secrets else _without_secrets(declaration),
    }


def summary_data(record: TenantRecord) -> dict[str, Any]:
    """One tenant as a list has it."""
    routed = record.tenant.routed_only
    return {
        "name": record.name,
        "state": state_of(record),
        "since": _time(0 if routed else max(record.observed.since, record.desired.since)),
        "meets": record.meeting.value,
        "hosts": list(record.tenant.hosts),
        "runs": record.tenant.driver or "upstreams",
        "group": record.tenant.group,
        "endpoints": [str(endpoint) for endpoint in record.endpoints],
        "desired": None if routed else _desired(record.desired),
        "observed": None if routed else _observed(record.observed),
        "etag": etag_of(record),
        "revision": record.revision,
    }


def member_data(member: Member) -> dict[str, Any]:
    """A process of ours that is alive."""
    return {
        "id": member.id,
        "since": _time(member.since),
        "listeners": [str(endpoint) for endpoint in member.listeners],
        "driver": member.driver or None,
        "group": member.group or None,
        "role": member.role or None,
    }


def refusal_data(refusal: Refusal) -> dict[str, Any]:
    """Labels of containers that are not in force."""
    return {
        "source": refusal.source,
        "why": refusal.why.value,
        "message": refusal.message,
        "tenants": list(refusal.names),
    }


def change_data(name: str, before: TenantRecord | None, after: TenantRecord | None, at: int) -> dict[str, Any]:
    """A change of a tenant as the event stream tells it; ``at``: when this process heard of it."""
    data: dict[str, Any] = {"name": name, "at": rfc3339(at), "was": None if before is None else state_of(before)}
    if after is None:
        return data
    return {**data, "declared": before is None or before.revision != after.revision, **summary_data(after)}


def _desired(desired: DesiredState) -> dict[str, Any]:
    return {
        "state": desired.state.value,
        "since": _time(desired.since),
        "cause": desired.cause.value if desired.cause else None,
        "by": desired.by,
        "wakes": desired.wakes,
    }


def _observed(observed: ObservedState) -> dict[str, Any]:
    reason = observed.reason
    return {
        "state": observed.state.value,
        "since": _time(observed.since),
        "phase": observed.phase or None,
        "phases": [{"name": phase.name, "ms": phase.ms} for phase in observed.phases],
        "ahead": observed.ahead,
        "past_starts": list(observed.past_starts),
        "instance": observed.instance or None,
        "wakes": observed.wakes,
        "reason": None
        if reason is None
        else {
            "code": reason.code.value,
            "message": reason.message,
            "retry_at": _time(reason.retry_at),
            "failures": reason.failures,
            "given_up": reason.given_up,
        },
    }


def _without_secrets(declaration: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {**value, "env": dict.fromkeys(value["env"], HIDDEN)}
        if key in ("docker", "process") and "env" in value
        else value
        for key, value in declaration.items()
    }


def _time(milliseconds: int | None) -> str | None:
    # Years past 9999 are no times that anybody can read.
    return rfc3339(milliseconds) if milliseconds and 0 < milliseconds < 253_402_300_800_000 else None
