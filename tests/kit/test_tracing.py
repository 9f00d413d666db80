"""Spans on their way to a real collector: there, away, slow; and never in the way of who notes them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import pytest

from gogeta.domain.trace_context import TraceContext
from gogeta.kit import tracing as module
from gogeta.kit.tracing import Span, Tracing, TracingMissingError, now
from tests.rig.collector import span_collector
from tests.rig.ports import free_port


def wait(condition: Callable[[], object], within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def span(tracing: Tracing, name: str = "work", parent: TraceContext | None = None) -> Span:
    at = now()
    return Span(name, tracing.begin(parent), "" if parent is None else parent.span_id, at - 1, at)


def test_a_span_arrives_as_it_was_noted() -> None:
    with span_collector() as collector:
        tracing = Tracing(collector.url, "gogeta")
        tracing.start()
        parent = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True, state="a=1")
        noted = span(tracing, "work", parent)
        noted.attributes = {"gogeta.tenant": "acme", "http.response.status_code": 200}
        noted.links = tuple(tracing.begin(None) for _ in range(40))
        noted.error = "why"
        tracing.note(noted)
        (got,) = collector.until(len)
        tracing.close()
    assert (got.service, got.name, got.trace_id, got.parent) == ("gogeta", "work", parent.trace_id, parent.span_id)
    assert (got.span_id, got.state, got.failed) == (noted.context.span_id, "a=1", True)
    assert got.attributes == {"gogeta.tenant": "acme", "http.response.status_code": 200}
    assert got.ended - got.began == pytest.approx(1.0, abs=0.001)
    assert got.links == tuple((link.trace_id, link.span_id) for link in noted.links[:32]), "a bounded number"
    assert (tracing.sent, tracing.dropped) == (1, 0)


def test_a_trace_that_is_not_kept_goes_nowhere_and_a_share_of_those_that_begin_here_is_kept() -> None:
    tracing = Tracing("http://127.0.0.1:1", "gogeta", share=0.25)
    kept = sum(tracing.begin(None).sampled for _ in range(4000))
    assert 700 < kept < 1300
    for sampled in (True, False):
        parent = TraceContext("1" * 32, "2" * 16, sampled=sampled)
        child = tracing.begin(parent)
        assert (child.trace_id, child.sampled) == (parent.trace_id, sampled), "the parent says, whatever the share"
        assert child.span_id != parent.span_id
        tracing.note(Span("work", child, parent.span_id, 0.0, 1.0))
    assert "1 queued" in repr(tracing)


def test_a_collector_that_is_away_costs_spans_that_are_counted_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SEND_SECONDS", 0.2)
    with span_collector() as collector:
        collector.status = 503
        tracing = Tracing(collector.url, "gogeta", capacity=10)
        tracing.start()
        for _ in range(1000):
            tracing.note(span(tracing))
        wait(lambda: tracing.failures)
        wait(lambda: tracing.dropped == 1000)
        assert tracing.sent == 0
        collector.status = 200
        tracing.note(span(tracing, "again"))
        assert [got.name for got in collector.until(len)] == ["again"]
        wait(lambda: tracing.sent == 1)
        tracing.close()


def test_a_collector_that_says_nothing_holds_nobody_up_and_not_the_end_either() -> None:
    with span_collector() as collector:
        collector.gate.clear()
        tracing = Tracing(collector.url, "gogeta", capacity=5)
        tracing.start()
        tracing.note(span(tracing))
        wait(lambda: collector.requests)
        # Its thread waits now; whoever notes does not, or this would take for ever.
        for _ in range(5000):
            tracing.note(span(tracing))
        assert tracing.dropped == 4995
        tracing.close()
        assert tracing.dropped == 5000


def test_nothing_listens_there() -> None:
    tracing = Tracing(f"http://127.0.0.1:{free_port()}/custom/path", "gogeta")
    tracing.start()
    tracing.note(span(tracing))
    tracing.close()
    assert (tracing.sent, "/custom/path:" in repr(tracing)) == (0, True)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", gone)
    with pytest.raises(TracingMissingError, match="OpenTelemetry is not installed") as caught:
        Tracing("http://127.0.0.1:1", "gogeta")
    assert "gogeta[tracing]" in caught.value.hint
