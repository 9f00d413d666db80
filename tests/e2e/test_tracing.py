"""A wake and the sleep after it as one trace and as webhooks, from real programs to real receivers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.rig.collector import Received, span_collector
from tests.rig.programs import ProcessRack
from tests.workers.test_supervisor import _until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A receiver of webhooks that refuses the first one: its URL, and the id, tenant and type of all that came."""
    got: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["webhook-signature"].startswith("v1,")
            got.append((self.headers["webhook-id"], body["data"]["tenant"], body["type"]))
            self.send_response(500 if len(got) == 1 else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        server.server_close()


def test_one_request_is_one_trace_through_both_programs(processes: ProcessRack, tmp_path: Path) -> None:
    system = System(processes, f"embedded:{tmp_path / 'registry.db'}", tmp_path)
    system.declare("acme", idle="3s")
    secret = tmp_path / "secret"
    secret.write_text("a secret of some length\n")
    with span_collector() as collector, receiver() as (hook, told):
        system.serve("--tracing", collector.url)
        webhooks = ("--webhook-urls", hook, "--webhook-secret-file", str(secret))
        system.control("--tracing", collector.url, "--log-format", "json", *webhooks)
        system.apply()
        answer = system.curl(
            "acme.localhost", "/", "--header", f"traceparent: 00-{TRACE}-{PARENT}-01", "--header", "X-Request-Id: mine"
        )
        assert answer.status == 200
        spans = collector.until(lambda spans: any(span.name == "tenant.sleep" for span in spans), within=90)
        collector.until(lambda spans: any(span.name == "stop" for span in spans))
        named: dict[str, Received] = {span.name: span for span in spans if span.trace_id == TRACE}
        request, wake, start = named["GET acme"], named["wake"], named["tenant.start"]
        assert (request.parent, request.server, request.service) == (PARENT, True, "gogeta")
        assert wake.parent == request.span_id
        assert (start.parent, start.service) == (wake.span_id, "passivator")
        assert [named[name].parent for name in ("queued", "started", "ready")] == [start.span_id] * 3
        assert named["tenant.sleep"].parent == wake.span_id
        # Of a time in nanoseconds, a float of seconds keeps less than a microsecond.
        moments = [round(moment, 5) for moment in (request.began, wake.began, start.ended, request.ended)]
        assert moments == sorted(moments)
        assert request.attributes["gogeta.request_id"] == "mine"
        _until("all is told", lambda: len(told) == 3)
        assert [(tenant, kind) for _, tenant, kind in told] == [
            ("acme", "tenant.started"),
            ("acme", "tenant.started"),
            ("acme", "tenant.passivated"),
        ]
        assert told[0][0] == told[1][0] != told[2][0]
    lines = [json.loads(line) for line in system.passivator.stderr().splitlines()]
    (started,) = (line for line in lines if line.get("to") == "started")
    assert (started["tenant"], started["why"], started["trace_id"]) == ("acme", "request", TRACE)
    assert started["request_id"] == "mine"
