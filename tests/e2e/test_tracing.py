"""A wake and the sleep after it as one trace, from real programs to a real collector."""

import json
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.rig.collector import Received, span_collector
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_one_request_is_one_trace_through_both_programs(processes: ProcessRack, tmp_path: Path) -> None:
    system = System(processes, f"embedded:{tmp_path / 'registry.db'}", tmp_path)
    system.declare("acme", idle="3s")
    with span_collector() as collector:
        system.serve("--tracing", collector.url)
        system.control("--tracing", collector.url, "--log-format", "json")
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
        assert request.began <= wake.began <= start.ended <= request.ended
        assert request.attributes["gogeta.request_id"] == "mine"
    lines = [json.loads(line) for line in system.passivator.stderr().splitlines()]
    (started,) = (line for line in lines if line.get("to") == "started")
    assert (started["tenant"], started["why"], started["trace_id"]) == ("acme", "request", TRACE)
    assert started["request_id"] == "mine"
