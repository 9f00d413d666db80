"""What a proxy that traces passes on, and its spans of requests and wakes; what one that does not leaves alone."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from gogeta.core.field_lines import FieldLines
from gogeta.core.fields import TRACED_REQUEST_KINDS
from gogeta.core.request import RequestHead
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, Reason, ReasonCode
from gogeta.domain.trace_context import parse_traceparent
from gogeta.kit.tracing import Span, Tracing
from gogeta.registry.registry import DesiredChange
from tests.net.stage import stage
from tests.net.talk import NAVIGATES, App, get, post, until
from tests.net.test_awaiting import answers, plays_registry, started

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OURS = f"traceparent: 00-{TRACE}-{PARENT}-01"


class Kept(Tracing):
    """Spans that stay here; the way to a collector has tests of its own."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__("http://127.0.0.1:1", "gogeta", share=share)
        self.spans: list[Span] = []

    def note(self, span: Span) -> None:
        if span.context.sampled:
            self.spans.append(span)

    def named(self, name: str) -> Span:
        (span,) = (span for span in self.spans if span.name == name)
        return span


async def test_without_tracing_both_fields_pass_byte_for_byte() -> None:
    odd = ["TraceParent: 00-XYZ", "traceparent:   01-b", "Tracestate: A=1,,=", "tracestate: b=2"]
    async with stage() as on:
        app = await on.serve()
        await on.ask(get("/", *odd))
    assert [f"{name}: {value}" for name, value in app.seen[0].fields if "trace" in name.lower()] == [
        "TraceParent: 00-XYZ",
        "traceparent: 01-b",
        "Tracestate: A=1,,=",
        "tracestate: b=2",
    ]


async def test_a_request_is_a_span_below_the_visitors_and_the_tenant_gets_its_id() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        app = await on.serve()
        answer = await on.ask(get("/a?token=secret", OURS, "tracestate: a=1", "Tracestate: b=2", "X-Request-Id: mine"))
        assert answer.status == 200
    seen = app.seen[0]
    context = parse_traceparent(seen.get("traceparent") or "")
    assert context is not None
    assert (context.trace_id, context.sampled) == (TRACE, True)
    assert seen.get("tracestate") == "a=1,b=2"
    request = tracing.named("GET acme")
    assert (request.context.span_id, request.parent) == (context.span_id, PARENT)
    known = dict(request.attributes)
    assert (known["http.request.method"], known["http.response.status_code"], known["url.path"]) == ("GET", 200, "/a")
    assert (known["gogeta.tenant"], known["gogeta.request_id"], known["client.address"]) == (
        "acme",
        "mine",
        "127.0.0.1",
    )
    assert "secret" not in repr(tracing.spans)
    assert request.error is None
    upstream = tracing.named("upstream")
    assert upstream.parent == request.context.span_id
    assert request.began <= upstream.began <= upstream.ended <= request.ended


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["traceparent: 00-nonsense"],
        [f"traceparent: 00-{TRACE.upper()}-{PARENT}-01", "tracestate: a=1"],
        [OURS, OURS],
        ["tracestate: a=1"],
    ],
)
async def test_what_is_not_well_formed_begins_a_trace_of_its_own(fields: list[str]) -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        app = await on.serve()
        await on.ask(get("/", *fields))
    context = parse_traceparent(app.seen[0].get("traceparent") or "")
    assert context is not None
    assert context.trace_id != TRACE
    assert app.seen[0].get("tracestate") is None
    assert (tracing.named("GET acme").parent, tracing.named("GET acme").context) == ("", context)


async def test_a_trace_that_is_not_kept_is_passed_on_as_such_and_makes_no_span() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        app = await on.serve()
        await on.ask(get("/", f"traceparent: 00-{TRACE}-{PARENT}-00"))
        assert re.fullmatch(f"00-{TRACE}-(?!{PARENT})[0-9a-f]{{16}}-00", app.seen[0].get("traceparent") or "")
        assert tracing.spans == []
        on.declare("asleep")
        plays_registry(on)
        shown = await on.ask(get("/", f"traceparent: 00-{TRACE}-{PARENT}-00", *NAVIGATES, host="asleep.test"))
        assert shown.status in (200, 503)
    assert on.registry.traces == [""]
    assert tracing.spans == []


async def test_every_request_on_one_connection_has_a_span_of_its_own() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        app = await on.serve()
        async with on.visitor() as visitor:
            for _ in range(3):
                await visitor.ask(get())
    parents = {message.get("traceparent") for message in app.seen}
    assert len(parents) == 3
    assert {span.context.traceparent for span in tracing.spans if span.name == "GET acme"} == parents


async def test_refusals_are_spans_and_what_we_failed_at_counts_as_failed() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        assert (await on.ask(get(host="nobody.test"))).status == 404
        await on.serve(App(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
        await on.ask(get())
    nobody, failed = (span for span in tracing.spans if span.name.startswith("GET"))
    assert (nobody.attributes["gogeta.refusal"], nobody.error) == ("unknown-host", None)
    assert failed.error == "status 500"


async def test_those_who_wait_for_a_wake_are_linked_to_it_and_it_stands_in_the_registry() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        plays_registry(on)
        on.declare()
        first = asyncio.create_task(on.ask(get("/0", OURS)))
        await until(lambda: on.proxy.tally.held == 1)
        rest = [asyncio.create_task(on.ask(get(f"/{number}"))) for number in range(1, 41)]
        await until(lambda: on.proxy.tally.held == 41)
        await answers(on, App())
        assert [(await task).status for task in (first, *rest)] == [200] * 41
        on.proxy.awaiting.collect()
    requests = {span.attributes["url.path"]: span for span in tracing.spans if span.name == "GET acme"}
    wake = tracing.named("wake")
    asker = requests.pop("/0")
    assert on.registry.traces == [wake.context.traceparent]
    assert (wake.context.trace_id, wake.parent, wake.error) == (TRACE, asker.context.span_id, None)
    assert asker.links == ()
    assert len(requests) == 40
    assert {span.links for span in requests.values()} == {(wake.context,)}
    assert len({span.context.trace_id for span in requests.values()}) == 40
    assert len(wake.links) == 32, "a bounded number"
    assert set(wake.links) <= {span.context for span in requests.values()}
    steps = [span for span in tracing.spans if span.parent == wake.context.span_id]
    assert [span.name for span in steps] == ["asked", "known"]
    assert all(wake.began <= span.began <= span.ended <= wake.ended for span in steps)
    held = [span for span in tracing.spans if span.name == "held"]
    assert len(held) == 41


async def test_a_wake_that_another_proxy_was_first_with_is_that_ones() -> None:
    tracing = Kept()
    theirs = f"00-{'a' * 32}-{'b' * 16}-01"
    async with stage(tracing) as on:

        async def wake(name: str, _: Cause) -> DesiredChange:
            desired = DesiredState(state=Desired.STARTED, wakes=1, trace=theirs)
            on.change(name, desired=desired)
            return DesiredChange(desired, on.revision, changed=False)

        on.registry.on_wake = wake
        on.declare()
        asking = [asyncio.create_task(on.ask(get())) for _ in range(2)]
        await until(lambda: on.proxy.tally.held == 2)
        await answers(on, App())
        await asyncio.gather(*asking)
        on.proxy.awaiting.collect()
    assert [span.name for span in tracing.spans if span.name == "wake"] == []
    links = [span.links for span in tracing.spans if span.name == "GET acme"]
    assert links == [(parse_traceparent(theirs),)] * 2


async def test_a_wake_that_fails_is_a_failed_span_also_when_nobody_waits_any_more() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        plays_registry(on)
        on.declare()
        shown = await on.ask(get("/", OURS, *NAVIGATES))
        assert shown.status in (200, 503)
        observed = on.observed(None, Observed.FAILED)
        on.change(
            "acme",
            observed=replace(observed, reason=Reason(ReasonCode.NOT_READY, "it never answered")),
            desired=started(1),
        )
        on.proxy.awaiting.collect()
        wake = tracing.named("wake")
        assert (wake.context.trace_id, wake.error) == (TRACE, "failed")
        on.proxy.awaiting.collect()
        assert tracing.named("wake") is wake, "once"


async def test_a_tunnel_is_a_span_too() -> None:
    tracing = Kept()
    async with stage(tracing) as on:
        await on.serve(App(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
        async with on.visitor() as visitor:
            visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
            await visitor.reader.readuntil(b"\r\n\r\n")
        await on.quiet()
    request = tracing.named("GET acme")
    assert request.attributes["http.response.status_code"] == 101
    assert request.error is None


def test_a_head_with_more_lines_is_the_same_in_everything_else() -> None:
    lines = [b"Host: a", b"Content-Length: 3", b"Expect: 100-continue", b"TE: trailers", b"X-Request-Id: 1", b"Via: x"]
    head = RequestHead("1.1", FieldLines(TRACED_REQUEST_KINDS).read(b"\r\n".join(lines)) or [])
    more = head.with_lines(b"a: b\r\n")
    assert more.lines == head.lines + b"a: b\r\n"
    for name in set(RequestHead.__slots__) - {"lines"}:
        assert getattr(more, name) is getattr(head, name), name


async def test_a_refusal_in_grpcs_words_is_a_failure_where_the_same_in_https_would_be() -> None:
    tracing = Kept()
    call = ("Content-Type: application/grpc",)
    async with stage(tracing) as on:
        on.declare(wake={"timeout": 0.05})
        assert (await on.ask(post(b"x", *call))).status == 200
        assert (await on.ask(post(b"x", *call, host="nobody.test"))).status == 200
    errors = {
        span.attributes["gogeta.refusal"]: span.error for span in tracing.spans if "gogeta.refusal" in span.attributes
    }
    assert errors == {"wake-timeout": "wake-timeout", "unknown-host": None}
