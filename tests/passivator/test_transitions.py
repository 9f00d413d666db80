"""What passivator tells of each transition: one line, and spans in the trace of the request that woke."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import ReasonCode
from gogeta.domain.trace_context import TraceContext
from gogeta.kit import logs
from gogeta.kit.tracing import Span
from gogeta.registry import registry
from passivator import recorder
from tests.net.test_tracing import Kept
from tests.passivator.stage import Habit, Stage

pytestmark = pytest.mark.virtual_time

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WAKE = f"00-{TRACE}-00f067aa0ba902b7-01"


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [record.__dict__["fields"] for record in caplog.records if record.name == "passivator.transitions"]


def below(spans: list[Span], whole: Span) -> list[Span]:
    return [span for span in spans if span.parent == whole.context.span_id]


async def woken(stage: Stage, trace: str = WAKE) -> None:
    await stage.registry.change_desired("acme", Cause.REQUEST, request_id="mine-1", trace=trace)
    await stage.until("acme", Observed.STARTED)


async def test_a_wake_and_the_sleep_after_it_are_one_trace(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (recorder, registry):
        monkeypatch.setattr(module, "wall_ms", lambda: round(asyncio.get_running_loop().time() * 1000))
    caplog.set_level(logging.INFO)
    tracing = stage.tracing = Kept()
    await stage.up()
    await stage.declare("acme", idle_timeout="60s")
    await asyncio.sleep(1)
    await woken(stage)
    await stage.until("acme", Observed.STOPPED, within=200)
    await asyncio.sleep(1)
    start, sleep = tracing.named("tenant.start"), tracing.named("tenant.sleep")
    assert {span.context.trace_id for span in tracing.spans} == {TRACE}
    assert [start.parent, sleep.parent] == ["00f067aa0ba902b7"] * 2
    parts = below(tracing.spans, start)
    assert [part.name for part in parts] == ["queued", "started", "ready"]
    assert parts[0].began == start.began
    assert parts[-1].ended == pytest.approx(start.ended, abs=0.01)
    assert parts[1].ended - parts[1].began == pytest.approx(0.3, abs=0.05)
    parts = below(tracing.spans, sleep)
    assert [part.name for part in parts] == ["decision", "drain", "stop"]
    assert (parts[0].began, parts[1].ended, parts[2].ended) == (sleep.began, parts[2].began, sleep.ended)
    assert parts[2].ended - parts[2].began == pytest.approx(0.5, abs=0.1)
    assert (sleep.attributes["gogeta.why"], sleep.attributes["gogeta.tenant"]) == ("idle", "acme")
    ready = next(line for line in told(caplog) if line["to"] == "started")
    assert (ready["who"], ready["why"], ready["wake"], ready["request_id"]) == ("test", "request", 1, "mine-1")
    assert ready["trace_id"] == TRACE
    assert ready["started_ms"] == pytest.approx(300, abs=30)
    asleep = told(caplog)[-1]
    assert (asleep["from"], asleep["to"], asleep["who"], asleep["why"]) == (
        "stopping",
        "stopped",
        "passivator/test",
        "idle",
    )
    steps = [line["to"] for line in told(caplog)]
    assert len(steps) == len({*steps}), "one line each"


async def test_a_start_that_fails_is_a_failed_span_and_a_warning(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = stage.tracing = Kept()
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.IMAGE_MISSING)
    await stage.up()
    await stage.declare("acme")
    await stage.registry.change_desired("acme", Cause.REQUEST, trace=WAKE)
    await stage.until("acme", Observed.FAILED)
    await asyncio.sleep(0.1)
    start = next(span for span in tracing.spans if span.name == "tenant.start")
    assert (start.error, start.context.trace_id) == ("image-missing", TRACE)
    failed = next(
        record for record in caplog.records if record.name == "passivator.transitions" and record.levelno > logging.INFO
    )
    assert failed.levelno == logging.WARNING
    fields = failed.__dict__["fields"]
    assert (fields["why"], fields["reason"]) == ("image-missing", "image-missing, the runtime says")


async def test_a_wake_that_nobody_traced_has_a_trace_of_its_own_and_an_unsampled_one_none(stage: Stage) -> None:
    tracing = stage.tracing = Kept()
    await stage.up()
    await stage.declare("acme", idle_timeout="60s")
    await woken(stage, "")
    await stage.until("acme", Observed.STOPPED, within=200)
    await asyncio.sleep(0.1)
    start, sleep = tracing.named("tenant.start"), tracing.named("tenant.sleep")
    assert start.parent == ""
    assert (sleep.parent, sleep.context.trace_id) == (start.context.span_id, start.context.trace_id)
    tracing.spans.clear()
    await woken(stage, WAKE[:-1] + "0")
    await stage.until("acme", Observed.STOPPED, within=200)
    assert tracing.spans == []


async def test_what_stands_in_the_registry_and_is_no_trace_counts_as_none(stage: Stage) -> None:
    tracing = stage.tracing = Kept()
    await stage.up()
    await stage.declare("acme")
    await woken(stage, "00-nonsense")
    await asyncio.sleep(0.1)
    assert tracing.named("tenant.start").parent == ""


def test_a_transition_reads_well_in_both_formats() -> None:
    record = logging.makeLogRecord(
        {
            "name": "passivator.transitions",
            "levelname": "INFO",
            "msg": "tenant acme: starting -> started",
            "fields": {"tenant": "acme", "from": "starting", "to": "started", "why": "request", "ready_ms": 12.5},
        }
    )
    line = logs.TextFormatter().format(record)
    assert line.endswith(
        "tenant acme: starting -> started tenant=acme from=starting to=started why=request ready_ms=12.5"
    )
    data = json.loads(logs.JsonFormatter("passivator").format(record))
    assert (data["from"], data["to"], data["ready_ms"], data["program"]) == ("starting", "started", 12.5, "passivator")
    assert io.StringIO(line).readlines() == [line]


def test_a_context_in_the_registry_is_what_a_proxy_wrote() -> None:
    context = TraceContext(TRACE, "00f067aa0ba902b7", sampled=True, state="never=there")
    assert context.traceparent == WAKE
