"""Spans on their way to a collector: noted at the cost of one append, encoded and sent by a thread of its own.

What is traced only calls ``note`` with a span that is over. Nothing on the loop's side waits for a socket or a lock:
while the collector is away or slow, spans are dropped and counted, and nothing else happens. OpenTelemetry (the extra
``tracing``) is imported only where somebody asked for spans. Which spans there are is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import random
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta import __version__
from gogeta.domain.errors import Fault, GogetaError
from gogeta.domain.trace_context import TraceContext, keeps
from gogeta.kit.clock import epoch_of_monotonic

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

SERVER: Final = "server"
INTERNAL: Final = "internal"
CLOSE_SECONDS: Final = 2.0
"""For what is queued to be sent at the end."""
SEND_SECONDS: Final = 10.0
"""Longest time for one batch, with the exporter's own tries."""
MOST_LINKS: Final = 32
_bits: Final = random.Random().getrandbits  # noqa: S311 - identifiers, no secrets
_PAUSE: Final = 0.5
"""Seconds between two looks at the queue."""
_BATCH: Final = 64
"""Spans encoded in one go: the loop's thread waits for as long as that takes."""
_PATH: Final = "/v1/traces"
_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class TracingMissingError(GogetaError):
    """Spans are asked for, and what sends them is not installed."""

    fault = Fault.OPERATOR

    def __init__(self) -> None:
        """Say what to install."""
        super().__init__(
            "--tracing: OpenTelemetry is not installed",
            hint="install the extra (`pip install 'gogeta[tracing]'`), or leave --tracing out",
        )


def require_opentelemetry() -> None:
    """Raise TracingMissingError when spans cannot be sent, before anything is started that would need it."""
    for name in _NEEDED:
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            found = None
        if found is None:
            raise TracingMissingError


@dataclass(slots=True)
class Span:
    """One span that is over. Times are epoch seconds; ``parent`` is a span's id, empty for the first of a trace."""

    name: str
    context: TraceContext
    parent: str
    began: float
    ended: float
    kind: str = INTERNAL
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    links: tuple[TraceContext, ...] = ()
    error: str | None = None
    """Why it counts as failed; None when it does not."""


class Tracing:
    """Where spans of one process go, and which traces are kept."""

    def __init__(self, endpoint: str, service: str, *, share: float = 1.0, capacity: int = 4096) -> None:
        """``endpoint``: URL of an OTLP/HTTP collector; ``service`` is the program's name.

        ``share`` of the traces that begin here is kept; those that come from elsewhere are kept if they are there.
        At most ``capacity`` spans wait. Raises TracingMissingError.
        """
        require_opentelemetry()
        scheme, _, rest = endpoint.rstrip("/").partition("://")
        self._endpoint = endpoint if "/" in rest else f"{scheme}://{rest}{_PATH}"
        self._service = service
        self._share = share
        self._capacity = capacity
        self._queue: deque[Span] = deque()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._exporter: SpanExporter | None = None
        self._trouble = False
        self.sent = 0
        self.dropped = 0
        """Spans that no collector has got: too many waited, or it did not take them."""
        self.failures = 0
        """Batches that the collector did not take."""

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Tracing to {self._endpoint}: {len(self._queue)} queued, {self.sent} sent, {self.dropped} dropped>"

    # The loop's side.

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """A new span, below ``parent`` or as the first of a trace of its own."""
        if parent is not None:
            return TraceContext(parent.trace_id, f"{_bits(64) or 1:016x}", parent.sampled, parent.state, parent.random)
        made = f"{_bits(192):048x}"
        return TraceContext(made[:32], made[32:], keeps(made[:32], self._share), random=True)

    def note(self, span: Span) -> None:
        """Send a span that is over, if its trace is kept. Dropped and counted when too many wait."""
        if not span.context.sampled:
            return
        if len(self._queue) >= self._capacity:
            self.dropped += 1
            return
        self._queue.append(span)

    def start(self) -> None:
        """Start sending."""
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is queued, for at most ``CLOSE_SECONDS``, and end the thread; blocks for as long. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ending.set()
        thread.join(CLOSE_SECONDS)
        if thread.is_alive():
            left = len(self._queue)
            self.dropped += left
            self._queue.clear()
            logger.warning("the collector of spans does not take what is queued: %d spans are lost", left)
            if self._exporter is not None:
                # Ends the pause between two tries of a batch.
                self._exporter.shutdown()

    # The thread's side.

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # Says each try that failed; what is lost is ours to say, once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        make = self._open()
        while True:
            ending = self._ending.wait(_PAUSE)
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._send(batch, make)
            if ending:
                return

    def _open(self) -> Callable[[Span], ReadableSpan]:
        """Make the exporter; what makes a span one of OpenTelemetry's."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - ditto
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - ditto
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - ditto
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415
        from opentelemetry.trace.span import TraceState  # noqa: PLC0415 - ditto

        self._exporter = OTLPSpanExporter(endpoint=self._endpoint, timeout=SEND_SECONDS)
        resource = Resource.create({"service.name": self._service, "service.version": __version__})
        scope = InstrumentationScope("gogeta", __version__)
        kinds = {SERVER: SpanKind.SERVER, INTERNAL: SpanKind.INTERNAL}

        def context_of(context: TraceContext, span_id: str = "") -> SpanContext:
            return SpanContext(
                int(context.trace_id, 16),
                int(span_id or context.span_id, 16),
                is_remote=bool(span_id),
                trace_flags=TraceFlags(int(context.sampled)),
                trace_state=TraceState.from_header([context.state]) if context.state else None,
            )

        def make(span: Span) -> ReadableSpan:
            return ReadableSpan(
                span.name,
                context_of(span.context),
                context_of(span.context, span.parent) if span.parent else None,
                resource,
                span.attributes,
                links=[Link(context_of(link)) for link in span.links[:MOST_LINKS]],
                kind=kinds[span.kind],
                status=Status() if span.error is None else Status(StatusCode.ERROR, span.error or None),
                start_time=int(span.began * 1e9),
                end_time=int(max(span.began, span.ended) * 1e9),
                instrumentation_scope=scope,
            )

        return make

    def _send(self, batch: list[Span], make: Callable[[Span], ReadableSpan]) -> None:
        assert self._exporter is not None  # noqa: S101 - it was opened
        taken = False
        try:
            taken = self._exporter.export([make(span) for span in batch]).value == 0
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a span or the exporter costs spans alone
            logger.debug("spans could not be sent: %r", error)
        if taken:
            self.sent += len(batch)
            if self._trouble:
                self._trouble = False
                logger.warning("the collector takes spans again; %d are lost so far", self.dropped)
            return
        self.failures += 1
        self.dropped += len(batch)
        if not self._trouble:
            self._trouble = True
            logger.warning("the collector %s does not take spans; they are dropped until it does", self._endpoint)


def exact_epoch() -> float:
    """What added to a time of the exact clock is the time since 1970, in seconds."""
    return epoch_of_monotonic()


def now() -> float:
    """Epoch seconds."""
    return epoch_of_monotonic() + time.monotonic()


class TracingCollector(Collector):
    """What became of the spans of this process, as metrics of the program ``prefix``."""

    def __init__(self, prefix: str, tracing: Tracing) -> None:
        """Read at each scrape."""
        self._prefix = prefix
        self._tracing = tracing

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        for name, text, value in (
            ("spans_sent", "Spans that the collector took.", self._tracing.sent),
            (
                "spans_dropped",
                "Spans lost: too many waited, or the collector did not take them.",
                self._tracing.dropped,
            ),
            ("span_batch_failures", "Batches of spans that the collector did not take.", self._tracing.failures),
        ):
            yield CounterMetricFamily(f"{self._prefix}_{name}", text, value=value)


@contextlib.asynccontextmanager
async def traced(endpoint: str, service: str, *, share: float, capacity: int) -> AsyncIterator[Tracing | None]:
    """Spans are sent while the block runs; None without an ``endpoint``. Raises TracingMissingError."""
    if not endpoint:
        yield None
        return
    tracing = Tracing(endpoint, service, share=share, capacity=capacity)
    tracing.start()
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)


def attributes(**known: Any) -> dict[str, str | int | float | bool]:  # noqa: ANN401 - values of several types
    """Attributes of a span by name, ``__`` for a dot; those without a value are left out."""
    return {name.replace("__", "."): value for name, value in known.items() if value not in (None, "")}
