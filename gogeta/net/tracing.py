"""The spans of requests and of the wakes that they ask for, on a proxy that traces.

``TracedProxy`` is the proxy with two steps more, so that one that does not trace pays for none of them. A request whose
trace is not kept is passed on with a span's id of our own and is otherwise left alone. A wake is a span below that of
the request that asked; the others that waited for it are linked to it, and it to some of them. Its context goes into
the registry with the wish, so that the controller's spans belong to the same trace. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gogeta.core.access_record import Ending
from gogeta.core.field_lines import FieldLines
from gogeta.core.fields import TRACED_REQUEST_KINDS
from gogeta.core.pages import grpc_type
from gogeta.core.refusal import STATUS, Reason
from gogeta.core.response import SWITCHING
from gogeta.domain.trace_context import TraceContext, parse_traceparent, parse_tracestate
from gogeta.kit.tracing import MOST_LINKS, SERVER, Span, Tracing, attributes, exact_epoch
from gogeta.net.forwarder import Proxy

if TYPE_CHECKING:
    from gogeta.core.request import RequestHead
    from gogeta.domain.upstreams import Forbidden
    from gogeta.kit.tasks import Tasks
    from gogeta.net.access_log import AccessLog
    from gogeta.net.exchange import Exchange
    from gogeta.net.fleet import Entry
    from gogeta.net.theming import Theming
    from gogeta.registry.registry import Registry
    from gogeta.settings import ServeSettings

_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"})
_MOST_OPEN: Final = 50_000
"""Requests whose spans are under way; more are not traced."""
_LONGEST: Final = 512
"""Characters of an attribute that a visitor has made."""


@dataclass(slots=True, eq=False)
class WakeTrace:
    """The span of a wake that a request here asked for."""

    context: TraceContext
    asker: TraceContext
    joined: list[TraceContext] = field(default_factory=list)
    """Some of those that waited for it, too."""
    lost: bool = False
    """Another's wish was first: that one is the wake, and this is none."""


@dataclass(slots=True, eq=False)
class _Open:
    context: TraceContext
    parent: str
    waited: bool = False
    wake: WakeTrace | None = None


class RequestTracing:
    """Spans of one worker's requests and wakes."""

    def __init__(self, tracing: Tracing, clock: Callable[[], float]) -> None:
        """``clock``: what exchanges are measured with."""
        self._tracing = tracing
        self._clock = clock
        self._open: dict[Exchange, _Open] = {}

    def begin(self, exchange: Exchange) -> None:
        """A request's head is complete: it gets a span, and the tenant hears of it."""
        head = exchange.head
        parent = _parent_of(head)
        context = self._tracing.begin(parent)
        lines = f"traceparent: {context.traceparent}\r\n"
        if context.state:
            lines += f"tracestate: {context.state}\r\n"
        exchange.head = head.with_lines(lines.encode("ascii"))
        if context.sampled and len(self._open) < _MOST_OPEN:
            self._open[exchange] = _Open(context, "" if parent is None else parent.span_id)

    def wakes(self, exchange: Exchange) -> WakeTrace | None:
        """This request asks for a wake: the wake's span; None when its trace is not kept."""
        request = self._open.get(exchange)
        if request is None:
            return None
        request.waited = True
        request.wake = wake = WakeTrace(self._tracing.begin(request.context), request.context)
        return wake

    def waits(self, exchange: Exchange, entry: Entry) -> None:
        """This request waits, or is shown, that its tenant starts."""
        request = self._open.get(exchange)
        if request is None or request.wake is not None:
            return
        request.waited = True
        wake = None if entry.awaited is None else entry.awaited.trace
        if wake is not None:
            request.wake = wake
            if len(wake.joined) < MOST_LINKS:
                wake.joined.append(request.context)

    def woken(
        self, entry: Entry, wake: WakeTrace, began: float, steps: tuple[tuple[str, float], ...], failed: str | None
    ) -> None:
        """A wake is over; ``steps`` are its parts and when each of them ended. Times are of the exact clock."""
        if wake.lost:
            return
        epoch = exact_epoch()
        since = began
        for name, until in steps:
            part = Span(name, self._tracing.begin(wake.context), wake.context.span_id, since + epoch, until + epoch)
            self._tracing.note(part)
            since = max(since, until)
        self._tracing.note(
            Span(
                "wake",
                wake.context,
                wake.asker.span_id,
                began + epoch,
                since + epoch,
                attributes=attributes(gogeta__tenant=entry.name),
                links=tuple(wake.joined),
                error=failed,
            )
        )

    def ended(self, exchange: Exchange) -> None:
        """A request is over."""
        request = self._open.pop(exchange, None)
        if request is None:
            return
        epoch, now = exact_epoch(), self._clock()
        entry, via = exchange.entry, exchange.via
        context, began = request.context, exchange.began
        sent = exchange.forwarded_at or (0.0 if via is None else began)
        first = exchange.first_byte_at or now
        if request.waited and (exchange.held_since != began or sent > began or not sent):
            self._part("held", context, began + epoch, (sent or now) + epoch)
        if sent:
            self._part("upstream", context, sent + epoch, first + epoch, network__peer__address=via and via.address)
            if first < now:
                self._part("response", context, first + epoch, now + epoch)
        status = SWITCHING if exchange.ending is Ending.UPGRADE else exchange.status
        method = exchange.method.decode("ascii") if exchange.method in _METHODS else "_OTHER"
        self._tracing.note(
            Span(
                method if entry is None else f"{method} {entry.name}",
                context,
                request.parent,
                began + epoch,
                now + epoch,
                SERVER,
                attributes(
                    http__request__method=method,
                    http__response__status_code=status or None,
                    url__path=_text(exchange.target.partition(b"?")[0]),
                    url__scheme=exchange.downstream.listener.forwarding.scheme.decode("ascii"),
                    server__address=_text(exchange.head.host),
                    client__address=exchange.downstream.peer,
                    gogeta__tenant=None if entry is None else entry.name,
                    gogeta__request_id=_text(exchange.request_id),
                    gogeta__refusal=exchange.refusal,
                    gogeta__ending=exchange.ending.value,
                ),
                links=self._links(request, entry),
                error=_failure(exchange),
            )
        )

    def _part(self, name: str, context: TraceContext, began: float, ended: float, **known: object) -> None:
        self._tracing.note(
            Span(name, self._tracing.begin(context), context.span_id, began, ended, attributes=attributes(**known))
        )

    def _links(self, request: _Open, entry: Entry | None) -> tuple[TraceContext, ...]:
        """The wake that it waited for, unless that is below it."""
        wake = request.wake
        if not request.waited or (wake is not None and not wake.lost and wake.asker is request.context):
            return ()
        if wake is not None and not wake.lost:
            return (wake.context,)
        other = None if entry is None else parse_traceparent(entry.record.desired.trace)
        return () if other is None else (other,)


class TracedProxy(Proxy):
    """A proxy whose requests have spans."""

    __slots__ = ()

    def __init__(
        self,
        settings: ServeSettings,
        registry: Registry,
        forbidden: Forbidden,
        tasks: Tasks,
        access_log: AccessLog | None = None,
        theming: Theming | None = None,
        *,
        tracing: Tracing,
    ) -> None:
        """As ``Proxy``; ``tracing`` is where spans go."""
        super().__init__(settings, registry, forbidden, tasks, access_log, theming)
        self.request_fields = FieldLines(TRACED_REQUEST_KINDS)
        self.tracing = RequestTracing(tracing, self.clock)

    def begin(self, exchange: Exchange) -> None:
        """A request's head is complete: it gets a span, and its way begins."""
        assert self.tracing is not None  # noqa: S101 - set above
        self.tracing.begin(exchange)
        super().begin(exchange)

    def ended(self, exchange: Exchange) -> None:
        """An exchange is over, in whatever way."""
        super().ended(exchange)
        assert self.tracing is not None  # noqa: S101 - set above
        self.tracing.ended(exchange)


def _parent_of(head: RequestHead) -> TraceContext | None:
    """The span that a request says it belongs to; None when it says none, or not well, or more than one."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value, kind, _ in head.fields:
        if kind == 12:  # Kind.DROP, among which both are
            lower = name.lower()
            if lower == b"traceparent":
                parents.append(value)
            elif lower == b"tracestate":
                states.append(value)
    if len(parents) != 1:
        return None
    parent = parse_traceparent(parents[0].decode("latin-1"))
    if parent is None or not states:
        return parent
    state = parse_tracestate([value.decode("latin-1") for value in states])
    return TraceContext(parent.trace_id, parent.span_id, parent.sampled, state, parent.random)


def _text(value: bytes) -> str:
    return value[:_LONGEST].decode("utf-8", "backslashreplace")


def _failure(exchange: Exchange) -> str | None:
    """Why a request counts as failed: what a tenant or we failed at, and what broke off on this side."""
    if exchange.status >= 500:
        return exchange.refusal or f"status {exchange.status}"
    if exchange.refusal and grpc_type(exchange.head.field(b"content-type")) is not None:
        # Refused in gRPC's words, under 200 in HTTP's: it counts as what they stand for.
        return exchange.refusal if STATUS[Reason(exchange.refusal)] >= 500 else None
    if exchange.ending in (Ending.UPSTREAM, Ending.TIMEOUT):
        return exchange.ending.value
    return None
