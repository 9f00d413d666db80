"""Tells what becomes of tenants: one log line each, spans, and what is to be told to others.

It hears of changes from the mirror of the registry, as the chronicle does, so no start and no stop ever waits for it;
only who leads tells. What a change means is decided in ``core/transition.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from gogeta.domain.lifecycle import Observed
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.domain.trace_context import TraceContext
from gogeta.kit.tracing import Span, Tracing, attributes
from passivator.core.transition import Transition, transition

logger = logging.getLogger(__name__)

Listener = Callable[[Transition], None]
_MOST_OWN: Final = 10_000
"""Tenants whose own traces are remembered."""
_ASLEEP: Final = frozenset({Observed.STOPPED, Observed.PAUSED})


class Transitions:
    """The mirror's subscriber that makes transitions of changes, and hands them on."""

    def __init__(self, mine: Callable[[TenantRecord], bool], listeners: Iterable[Listener]) -> None:
        """``mine``: whether a tenant is ours to tell of. Listeners must not block."""
        self._mine = mine
        self._listeners = tuple(listeners)

    def changed(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        """A tenant's record is another."""
        if after is None or not self._mine(after):
            return
        if (change := transition(before, after)) is not None:
            for listener in self._listeners:
                try:
                    listener(change)
                except Exception:
                    # What is told to others must never end what the mirror tells us.
                    logger.exception("tenant %s: its transition cannot be told", name)


def log_line(change: Transition) -> None:
    """The one line of the log for a transition."""
    fields: dict[str, Any] = {
        "tenant": change.tenant,
        "from": None if change.before is None else change.before.value,
        "to": change.after.value,
        "who": change.who,
        "why": change.why,
        "wake": change.wake,
    }
    if change.request_id:
        fields["request_id"] = change.request_id
    if change.trace is not None:
        fields["trace_id"] = change.trace.trace_id
    fields.update((f"{phase.name}_ms", phase.ms) for phase in change.phases)
    if change.phases:
        fields["total_ms"] = round(sum(phase.ms for phase in change.phases), 3)
    failed = change.after is Observed.FAILED
    if failed and change.reason is not None:
        fields["reason"] = change.reason.message
        fields["failures"] = change.reason.failures
    logger.log(
        logging.WARNING if failed else logging.INFO,
        "tenant %s: %s -> %s",
        change.tenant,
        fields["from"],
        fields["to"],
        extra={"fields": fields},
    )


class TransitionSpans:
    """Spans of starts and of ways to sleep, in the trace of the wake that they belong to."""

    def __init__(self, tracing: Tracing) -> None:
        """``tracing`` is where they go."""
        self._tracing = tracing
        self._own: dict[str, tuple[int, TraceContext]] = {}
        """Of wakes that nobody traced: what our own trace of them began with."""

    def __call__(self, change: Transition) -> None:
        """The listener."""
        if change.after is Observed.STARTED:
            self._start(change, None)
        elif change.after is Observed.FAILED and change.before is not Observed.STARTED:
            self._start(change, change.reason.code.value if change.reason is not None else "failed")
        elif change.after is Observed.FAILED:
            crashed = change.reason.code.value if change.reason is not None else "failed"
            self._whole("tenant.crash", change, change.at, error=crashed)
        elif change.after in _ASLEEP and change.before is Observed.STOPPING:
            self._sleep(change)

    def _parent(self, change: Transition) -> TraceContext | None:
        if change.trace is not None:
            return change.trace
        wake, context = self._own.get(change.tenant, (-1, None))
        return context if wake == change.wake else None

    def _whole(self, name: str, change: Transition, began: float, *, error: str | None = None) -> TraceContext:
        parent = self._parent(change)
        context = self._tracing.begin(parent)
        if parent is None:
            if len(self._own) >= _MOST_OWN:
                self._own.pop(next(iter(self._own)))
            self._own[change.tenant] = change.wake, context
        known = attributes(
            gogeta__tenant=change.tenant,
            gogeta__who=change.who,
            gogeta__why=change.why,
            gogeta__wake=change.wake,
            gogeta__request_id=change.request_id,
            gogeta__instance=change.instance,
            gogeta__reason=change.reason.message if error is not None and change.reason is not None else None,
        )
        span = Span(
            name,
            context,
            "" if parent is None else parent.span_id,
            began / 1000,
            change.at / 1000,
            attributes=known,
            error=error,
        )
        self._tracing.note(span)
        return context

    def _part(self, name: str, whole: TraceContext, began: float, ended: float, error: str | None = None) -> None:
        part = self._tracing.begin(whole)
        self._tracing.note(Span(name, part, whole.span_id, began / 1000, ended / 1000, error=error))

    def _start(self, change: Transition, error: str | None) -> None:
        took = sum(phase.ms for phase in change.phases)
        # What is ready now took that long; of a failure, the part that failed stands in no phase.
        began = change.at - took if error is None else min(change.before_at, change.at - took)
        if not change.phases and change.before is Observed.STARTING:
            began = change.before_at
        whole = self._whole("tenant.start", change, began, error=error)
        since = float(began)
        for phase in change.phases:
            self._part(phase.name, whole, since, since + phase.ms)
            since += phase.ms
        if error is not None and since < change.at:
            self._part("failed", whole, since, change.at, error)

    def _sleep(self, change: Transition) -> None:
        announced = min(change.before_at, change.at)
        decided = min(change.decided_at, announced)
        whole = self._whole("tenant.sleep", change, decided)
        self._part("decision", whole, decided, decided)
        self._part("drain", whole, decided, announced)
        self._part("stop", whole, announced, change.at)
