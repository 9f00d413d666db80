"""The streams by which starting pages follow a start, on real sockets: what is told, how it ends, and its bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from gogeta.core.page_source import PROGRESS_PATH
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Phase, Reason, ReasonCode
from gogeta.kit.clock import wall_ms
from gogeta.net.progress_streams import BEAT_SECONDS
from tests.net.stage import Stage, Visitor, stage
from tests.net.talk import LIMIT, NAVIGATES, App, get, post, until

STARTED = DesiredState(state=Desired.STARTED)
PASSIVATED = DesiredState(state=Desired.PASSIVATED)
STARTING = ObservedState(state=Observed.STARTING, since=7)
LISTENS = get(PROGRESS_PATH, "Accept: text/event-stream")


@dataclass
class Stream:
    """What a starting page hears."""

    visitor: Visitor
    head: list[str]

    async def event(self) -> tuple[str, dict[str, Any]]:
        """The next event; ("", {}) at the orderly end."""
        async with asyncio.timeout(LIMIT):
            size = int(await self.visitor.reader.readuntil(b"\r\n"), 16)
            text = (await self.visitor.reader.readexactly(size + 2))[:-2].decode()
        if not size:
            return "", {}
        assert text.endswith("\n\n")
        fields = dict(line.split(": ", 1) for line in text.strip().split("\n"))
        return (fields["event"], json.loads(fields["data"])) if "event" in fields else ("retry", {})

    async def until(self, kind: str) -> dict[str, Any]:
        """Wait for an event of a kind."""
        async with asyncio.timeout(2 * LIMIT):
            while True:
                found, data = await self.event()
                if found == kind:
                    return data
                assert found, f"the stream ended without {kind}"

    async def over(self) -> None:
        """Nothing more comes, and the end is an orderly one."""
        assert await self.event() == ("", {})


@contextlib.asynccontextmanager
async def listening(on: Stage, request: bytes = LISTENS) -> AsyncIterator[Stream]:
    """A stream that was let in."""
    async with on.visitor() as visitor:
        visitor.send(request)
        async with asyncio.timeout(LIMIT):
            lines = (await visitor.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 200 OK"
        stream = Stream(visitor, lines)
        assert await stream.event() == ("retry", {})
        yield stream


def starts(on: Stage, name: str = "acme", **more: Any) -> None:  # noqa: ANN401 - parts of an observed state
    """The tenant is on its way up."""
    on.change(name, desired=STARTED, observed=ObservedState(state=Observed.STARTING, since=7, **more))


async def up(on: Stage, app: App | None = None, name: str = "acme") -> App:
    """The tenant is up."""
    app = app or App()
    on.change(name, desired=STARTED, observed=on.observed(await on.upstream(app)))
    return app


async def test_a_start_is_followed_to_its_end() -> None:
    async with stage() as on:
        on.declare()
        starts(on, ahead=2)
        async with listening(on) as stream:
            assert "Content-Type: text/event-stream" in stream.head
            assert "Cache-Control: no-store" in stream.head
            kind, data = await stream.event()
            assert (kind, data["stage"], data["ahead"]) == ("progress", "queued", 2)
            starts(on, ahead=1)
            assert (await stream.event())[1]["ahead"] == 1
            starts(on, phases=(Phase("queued", 1.0),))
            assert (await stream.event())[1]["stage"] == "starting"
            starts(on, phases=(Phase("queued", 1.0), Phase("started", 2.0)), past_starts=(60_000.0,))
            data = (await stream.event())[1]
            assert data["stage"] == "getting-ready"
            assert "left" in data["outlook"]
            await up(on)
            assert await stream.event() == ("ready", {})
            await stream.over()
            # The connection serves on.
            assert (await stream.visitor.ask(get())).body == b"ok"
        assert len(on.proxy.progress) == 0


async def test_time_goes_on_without_any_change() -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with listening(on) as stream:
            first = (await stream.event())[1]["steps"][1]["time"]
            assert (await stream.event())[1]["steps"][1]["time"] != first


async def test_what_does_not_change_is_told_again_so_that_it_is_heard() -> None:
    async with stage(body_timeout=3.0) as on:
        on.declare()
        on.change(desired=STARTED)
        async with listening(on) as stream:
            first = await stream.event()
            assert await stream.event() == first


async def test_listening_is_no_use_of_the_tenant_and_wakes_nothing() -> None:
    async with stage() as on:
        on.declare()
        entry = on.proxy.fleet.entries["acme"]
        async with listening(on) as stream:
            assert (await stream.event())[1]["stage"] == "asked"
            assert entry.in_flight == 0
            # Asleep unasked: the page is told to come itself, and nobody else does it for it.
            assert await stream.until("again") == {}
            await stream.over()
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert on.registry.wakes == []
        assert on.registry.accesses == []
        assert entry.waking is None


async def test_a_passivation_is_not_taken_back_for_a_stream() -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with listening(on) as stream:
            await stream.event()
            on.change(desired=PASSIVATED)
            assert (await stream.event())[1]["stage"] == "asked"
            assert on.registry.wakes == []


async def test_a_failure_is_told_in_general_words_with_when_it_is_tried_again() -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with listening(on) as stream:
            await stream.event()
            reason = Reason(ReasonCode.IMAGE_MISSING, "no such image: secret", wall_ms() + 60_000)
            on.change(observed=ObservedState(state=Observed.FAILED, reason=reason))
            data = await stream.until("failed")
            assert data["stage"] == "failed"
            assert 55 <= data["retry_after"] <= 60
            assert "tried again" in data["outlook"]
            assert "secret" not in json.dumps(data)
            await stream.over()
        # So is whoever listens later.
        async with listening(on) as stream:
            assert (await stream.event())[0] == "failed"
            await stream.over()


@pytest.mark.parametrize("how", ["stopped", "removed"])
async def test_who_listens_hears_when_the_tenant_is_gone(how: str) -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with listening(on) as stream:
            await stream.event()
            if how == "removed":
                on.become("acme", None)
            else:
                on.change(desired=DesiredState(state=Desired.STOPPED))
            assert (await stream.until("failed"))["stage"] == "stopped"
            await stream.over()


async def test_once_it_is_up_the_request_is_the_applications() -> None:
    async with stage() as on:
        app = await on.serve()
        answer = await on.ask(LISTENS)
        assert answer.body == b"ok"
        assert app.seen[0].start == f"GET {PROGRESS_PATH} HTTP/1.1"
        assert on.proxy.tally.progress_streams == 0


@pytest.mark.parametrize(
    "request_",
    [
        get(PROGRESS_PATH),
        get(PROGRESS_PATH + "?x", "Accept: text/event-stream"),
        get(PROGRESS_PATH + "/x", "Accept: text/event-stream"),
        get("/", "Accept: text/event-stream"),
        LISTENS.replace(b"GET", b"HEAD", 1),
        LISTENS.replace(b"GET", b"POST", 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        post(b"x", "Accept: text/event-stream").replace(b"POST /", b"GET " + PROGRESS_PATH.encode(), 1),
    ],
)
async def test_whatever_else_is_asked_waits_for_the_application(request_: bytes) -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        visitor.send(request_)
        await until(lambda: on.proxy.tally.held)
        await until(lambda: on.registry.wakes)
        await up(on)
        assert (await visitor.answer(bodiless=request_.startswith(b"HEAD"))).status == 200
        assert on.proxy.tally.progress_streams == 0


@pytest.mark.parametrize("limits", [{"max_progress_streams": 2}, {"max_progress_streams_per_tenant": 2}])
async def test_one_stream_too_many_is_refused_by_name(limits: dict[str, int]) -> None:
    async with stage(**limits) as on:
        on.declare()
        starts(on)
        async with contextlib.AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(listening(on)) for _ in range(2)]
            answer = await on.ask(LISTENS)
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "too-many-progress-streams")
            assert answer.get("Retry-After")
            assert on.proxy.tally.refusals["too-many-progress-streams"] == 1
            # A page itself is served as ever.
            page = await on.ask(get("/", *NAVIGATES, *()))
            assert page.status == 503
            assert b"Starting acme.test" in page.body
            # Whoever leaves makes room, at once.
            streams[0].visitor.writer.close()
            await until(lambda: len(on.proxy.progress) == 1)
            async with listening(on):
                assert len(on.proxy.progress) == 2
        await until(lambda: len(on.proxy.progress) == 0)


async def test_the_limit_of_one_tenant_is_not_that_of_another() -> None:
    async with stage(max_progress_streams_per_tenant=1) as on:
        on.declare()
        on.declare("other")
        starts(on)
        starts(on, "other")
        async with listening(on), listening(on, LISTENS.replace(b"acme", b"other")) as other:
            await up(on)
            assert (await other.event())[0] == "progress"
            assert len(on.proxy.progress) == 1


async def test_a_drain_ends_streams_in_good_order() -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with listening(on) as stream:
            await stream.event()
            assert await on.server.drain(5.0) == 0
            await stream.over()
            assert await stream.visitor.rest() == b""


async def test_a_page_that_reads_nothing_is_told_no_more_and_let_go() -> None:
    async with stage(body_timeout=1.0) as on:
        on.declare()
        starts(on)
        async with listening(on) as stream:
            connection = await stream.visitor.other_side()
            connection.pause_writing()
            await until(lambda: len(on.proxy.progress) == 0, limit=20)


async def test_a_request_behind_a_stream_waits_for_its_end() -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with listening(on, LISTENS + get("/next")) as stream:
            await stream.event()
            app = await up(on)
            await stream.until("ready")
            await stream.over()
            assert (await stream.visitor.answer()).body == b"ok"
            assert app.seen[0].start == "GET /next HTTP/1.1"


async def test_many_streams_hear_of_one_start_together() -> None:
    async with stage() as on:
        on.declare()
        starts(on)
        async with contextlib.AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(listening(on)) for _ in range(50)]
            await up(on)
            for stream in streams:
                await stream.until("ready")
                await stream.over()
        await until(lambda: len(on.proxy.progress) == 0)
        # Nothing beats on for nobody.
        await until(lambda: ":progress" not in repr(on.proxy.tasks), limit=BEAT_SECONDS + LIMIT)


async def test_a_start_that_began_before_us_is_believed_to_have_begun_then() -> None:
    async with stage() as on:
        on.proxy.loaded = False
        on.declare()
        on.change(
            desired=STARTED,
            observed=ObservedState(state=Observed.STARTING, since=wall_ms() - 30_000, past_starts=(90_000.0,)),
        )
        on.proxy.loaded = True
        known = on.proxy.progress.of(on.proxy.fleet.entries["acme"])
        assert 29 <= known.elapsed <= 60


async def test_a_clock_that_is_far_off_is_not_believed() -> None:
    async with stage() as on:
        for offset in (-7_200_000, 7_200_000):
            on.proxy.loaded = False
            on.declare()
            on.change(desired=STARTED, observed=ObservedState(state=Observed.STARTING, since=wall_ms() + offset))
            on.proxy.loaded = True
            assert on.proxy.progress.of(on.proxy.fleet.entries["acme"]).elapsed < 20


async def test_a_held_program_is_told_by_the_estimate_when_to_come_again() -> None:
    async with stage() as on:
        on.declare(wake={"timeout": 0.1})
        starts(on, past_starts=(50_000.0,))
        answer = await on.ask(get())
        assert answer.status == 503
        assert 45 <= int(answer.get("Retry-After") or 0) <= 50


async def test_a_program_is_told_when_a_failed_start_is_tried_again() -> None:
    async with stage() as on:
        on.declare()
        reason = Reason(ReasonCode.EXITED, "secret", wall_ms() + 40_000)
        on.change(desired=STARTED, observed=ObservedState(state=Observed.FAILED, reason=reason))
        answer = await on.ask(get())
        assert 35 <= int(answer.get("Retry-After") or 0) <= 40
        page = await on.ask(get("/", *NAVIGATES))
        assert 35 <= int(page.get("Retry-After") or 0) <= 40
        assert b"http-equiv" in page.body
        assert b"http-equiv" not in (await on.ask(post(b"x", "Accept: text/html"))).body
        assert b"secret" not in page.body + answer.body


async def test_a_grpc_style_call_is_held_and_then_told_in_its_way() -> None:
    call = ("Content-Type: application/grpc-web+proto", "Accept: text/html")
    async with stage() as on:
        on.declare(wake={"timeout": 0.1})
        answer = await on.ask(post(b"\0\0\0\0\1x", *call))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.get("grpc-status") == "14"
        assert answer.get("Content-Type") == "application/grpc-web+proto"
        assert on.proxy.tally.refusals["wake-timeout"] == 1
        on.declare(wake={"timeout": 30})
        async with on.visitor() as visitor:
            visitor.send(post(b"\0\0\0\0\1x", *call))
            await until(lambda: on.proxy.tally.held)
            app = await up(on)
            assert (await visitor.answer()).body == b"ok"
            assert app.seen[0].body == b"\0\0\0\0\1x"


async def test_head_of_a_navigation_gets_the_head_of_the_page() -> None:
    async with stage() as on:
        on.declare(wake={"mode": "page"})
        page = await on.ask(get("/x", *NAVIGATES))
        async with on.visitor() as visitor:
            visitor.send(get("/x", *NAVIGATES).replace(b"GET", b"HEAD", 1) + get("/x", *NAVIGATES))
            head = await visitor.answer(bodiless=True)
            assert (await visitor.answer()).status == 503
        for name in ("Content-Type", "Cache-Control", "Retry-After", "Content-Security-Policy", "Content-Length"):
            assert head.get(name) == page.get(name)


async def test_a_preflight_is_held_and_never_gets_a_page() -> None:
    preflight = get("/", "Origin: https://other", "Access-Control-Request-Method: PUT", "Accept: text/html")
    preflight = preflight.replace(b"GET", b"OPTIONS", 1)
    async with stage() as on:
        on.declare(wake={"mode": "page", "timeout": 0.1})
        answer = await on.ask(preflight)
        assert (answer.status, answer.get("Content-Type")) == (503, "application/problem+json")
        on.declare(wake={"mode": "page"})
        async with on.visitor() as visitor:
            visitor.send(preflight)
            await until(lambda: on.proxy.tally.held)
            await up(on)
            assert (await visitor.answer()).status == 200
        assert on.registry.wakes[0] == ("acme", Cause.REQUEST)
