"""A change of what a tenant is, as one value: who made it, why, from what to what, and how long its parts took. Pure.

It is made of two records of the registry, the one before and the one after, so that log lines, spans and webhooks tell
the same, and what others can see, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import Phase, Reason, TenantRecord
from gogeta.domain.trace_context import TraceContext, parse_traceparent

_DOWN: Final = frozenset({Observed.STOPPED, Observed.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change (see the module's docstring). Times are epoch milliseconds."""

    tenant: str
    before: Observed | None
    """None where it is not known any more: it was changed when nobody looked."""
    after: Observed
    at: int
    before_at: int
    """When it became what it was before."""
    decided_at: int
    """When it was said what it should be."""
    who: str
    why: str
    wake: int
    request_id: str
    phases: tuple[Phase, ...]
    """Of the start that this is the end of."""
    reason: Reason | None
    trace: TraceContext | None
    """The wake's span."""
    revision: int
    desired: Desired
    instance: str

    @property
    def event(self) -> str | None:
        """Which event it is; None for steps on the way."""
        if self.after is Observed.STARTED:
            return "started"
        if self.after is Observed.FAILED:
            return "failed"
        if self.after not in _DOWN or self.before in _DOWN:
            return None
        return "stopped" if self.desired is Desired.STOPPED else "passivated"


def transition(before: TenantRecord | None, after: TenantRecord) -> Transition | None:
    """What has changed between two records; None when the tenant is what it was, or has only just been declared."""
    if before is None or before.observed.state is after.observed.state:
        return None
    return _made(before, after)


def missed(after: TenantRecord) -> Transition | None:
    """The change that led to where a tenant is, seen by somebody who was not there; None where there was none."""
    return _made(None, after) if after.observed_revision and after.observed.wakes else None


def _made(before: TenantRecord | None, after: TenantRecord) -> Transition:
    desired, observed = after.desired, after.observed
    ends_start = observed.state in (Observed.STARTED, Observed.FAILED)
    failed = observed.state is Observed.FAILED and observed.reason is not None
    return Transition(
        tenant=after.name,
        before=None if before is None else before.observed.state,
        after=observed.state,
        at=observed.since,
        before_at=observed.since if before is None else before.observed.since,
        decided_at=desired.since,
        who=observed.driver if failed else desired.by,
        why=observed.reason.code.value
        if failed and observed.reason is not None
        else (desired.cause.value if desired.cause is not None else ""),
        wake=desired.wakes,
        request_id=desired.request_id,
        phases=observed.phases
        if ends_start and (before is None or before.observed.state is not Observed.STARTED)
        else (),
        reason=observed.reason,
        trace=parse_traceparent(desired.trace),
        revision=after.observed_revision,
        desired=desired.state,
        instance=observed.instance,
    )
