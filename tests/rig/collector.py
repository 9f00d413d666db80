"""A real OTLP/HTTP receiver of spans on a loopback socket, that can be slow, refuse, and go away."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire


@dataclass(frozen=True)
class Received:
    """One span as it came."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    state: str
    began: float
    """Epoch seconds."""
    ended: float
    attributes: dict[str, str | int]
    links: tuple[tuple[str, str], ...]
    """Trace and span."""
    failed: bool
    server: bool


class SpanCollector:
    """Keeps what it gets; ``status`` is what it answers, after ``gate`` is open."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.requests = 0
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(self.path, self.headers["Content-Type"], body)
                outer.gate.wait(60)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def take(self, path: str, kind: str, body: bytes) -> None:
        """One batch."""
        assert (path, kind) == ("/v1/traces", "application/x-protobuf")
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self._changed:
            self.requests += 1
            if self.status == 200:
                for resource in request.resource_spans:
                    known = {each.key: each.value.string_value for each in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        self.spans.extend(_received(known["service.name"], span) for span in scope.spans)
            self._changed.notify_all()

    def until(self, found: Callable[[list[Received]], object], within: float = 30.0) -> list[Received]:
        """All spans, as soon as ``found`` says so; blocks."""
        deadline = time.monotonic() + within
        with self._changed:
            while not found(self.spans):
                left = deadline - time.monotonic()
                assert left > 0, f"never came: {[span.name for span in self.spans]}"
                self._changed.wait(left)
            return list(self.spans)

    def close(self) -> None:
        """End it."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def span_collector() -> Iterator[SpanCollector]:
    """A collector while the block runs."""
    collector = SpanCollector()
    try:
        yield collector
    finally:
        collector.close()


def _received(service: str, span: Wire) -> Received:
    return Received(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        state=span.trace_state,
        began=span.start_time_unix_nano / 1e9,
        ended=span.end_time_unix_nano / 1e9,
        attributes={
            each.key: each.value.int_value if each.value.HasField("int_value") else each.value.string_value
            for each in span.attributes
        },
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        failed=span.status.code == 2,
        server=span.kind == Wire.SPAN_KIND_SERVER,
    )
