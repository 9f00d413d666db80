"""Limits of time and size, and hosts: each refusal with its name and its status."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from gogeta.net import forwarder
from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, Message, get, post, until


def code(answer: Message) -> str:
    """The name of a refusal."""
    assert answer.get("Content-Type") == "application/problem+json"
    return str(json.loads(answer.body)["code"])


async def refused(on: Stage, request: bytes) -> tuple[int, str]:
    """Status and name of the refusal of a request; the connection has to end behind it."""
    async with on.visitor() as visitor:
        answer = await visitor.ask(request)
        assert answer.get("Connection") == "close"
        assert await visitor.rest() == b""
        return answer.status, code(answer)


BIG = "x" * 40_000


@pytest.mark.parametrize(
    ("request_bytes", "status", "name"),
    [
        (get("/" + BIG), 414, "target-too-long"),
        (get("/", f"X: {BIG}"), 431, "head-too-large"),
        (get("/", *["X: 1"] * 200), 431, "head-too-large"),
        (get("/", *["X: " + "x" * 1000] * 40), 431, "head-too-large"),
        (b"GET /" + BIG.encode(), 414, "target-too-long"),
        (b"GET / HTTP/1.1\r\nX: " + BIG.encode(), 431, "head-too-large"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-not-supported"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "malformed-request"),
        (b"CONNECT acme.test:443 HTTP/1.1\r\nHost: acme.test:443\r\n\r\n", 501, "method-not-supported"),
    ],
)
async def test_what_is_refused_before_anything_is_forwarded(request_bytes: bytes, status: int, name: str) -> None:
    async with stage() as on:
        app = await on.serve()
        assert await refused(on, request_bytes) == (status, name)
        assert app.seen == []
        assert on.proxy.tally.refusals[name] == 1


async def test_a_head_within_its_limit_passes_whatever_comes_with_it() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        visitor.send(post(b"x" * 200_000, "X: " + "x" * 30_000) + get("/2", "X: " + "x" * 30_000))
        assert [(await visitor.answer()).status for _ in range(2)] == [200, 200]
        assert len(app.seen) == 2


@pytest.mark.parametrize("junk", [b"5;" + b"x" * 500_000, b"0\r\nX: " + b"x" * 500_000], ids=["extension", "trailers"])
async def test_chunk_extensions_and_trailers_without_end_are_cut(junk: bytes) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        visitor.send(b"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n" + junk)
        assert (await visitor.answer()).status == 431
        assert app.seen == []


@pytest.mark.parametrize("begin", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: acme.test\r\n"])
async def test_a_head_that_does_not_arrive_is_408(begin: bytes) -> None:
    async with stage(header_timeout=0.1) as on:
        assert await refused(on, begin) == (408, "head-timeout")


async def test_a_body_that_does_not_arrive_is_408_and_the_tenant_is_cut() -> None:
    async with stage(body_timeout=0.1) as on:
        app = await on.serve(App(b""))
        assert await refused(on, post(b"hello")[:-1]) == (408, "body-timeout")
        await until(lambda: app.lost == 1)


@pytest.mark.parametrize("request_bytes", [get(), post(b"hello")])
async def test_a_tenant_that_does_not_answer_is_504(request_bytes: bytes) -> None:
    async with stage(response_timeout=0.1, body_timeout=5.0) as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        answer = await visitor.ask(request_bytes)
        assert (answer.status, code(answer)) == (504, "upstream-timeout")
        await until(lambda: app.lost == 1)
        app.response = OK
        assert (await visitor.ask(get())).status == 200


async def test_a_tenant_that_does_not_read_is_504() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined] # noqa: SLF001 - that is what deaf means
        await writer.wait_closed()

    async with stage(body_timeout=0.1) as on, on.visitor() as visitor:
        await on.serve(deaf)
        visitor.send(post(b"x" * 20_000_000))
        assert (await visitor.answer()).status == 504
        for server_side in on.writers:
            server_side.transport.abort()


async def test_a_response_that_stops_within_its_body_is_cut() -> None:
    async with stage(body_timeout=0.1) as on, on.visitor() as visitor:
        app = await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
        visitor.send(get())
        assert await visitor.reader.readuntil(b"hello")
        with pytest.raises(ConnectionError):
            await visitor.rest()
        await until(lambda: app.lost == 1)
        assert on.proxy.tally.broken["timeout"] == 1


async def test_an_idle_visitor_is_let_go_in_peace() -> None:
    async with stage(keep_alive_timeout=0.1) as on, on.visitor() as fresh, on.visitor() as used:
        await on.serve()
        await used.ask(get())
        assert await fresh.rest() == b""
        assert await used.rest() == b""


async def test_idle_connections_to_tenants_expire() -> None:
    async with stage(upstream_idle_timeout=0.0) as on:
        app = await on.serve()
        await on.ask(get())
        on.proxy.tick()
        on.proxy.expire_idle()
        await until(lambda: app.lost == 1)
        assert not on.proxy.upstreams


async def test_one_connection_too_many_is_503() -> None:
    async with stage(max_connections=2) as on, on.visitor() as one, on.visitor() as two:
        await on.serve()
        for visitor in (one, two):
            assert (await visitor.ask(get())).status == 200
        async with on.visitor() as third:
            answer = await third.answer()
            assert (answer.status, code(answer)) == (503, "too-many-connections")
            assert answer.get("Retry-After")
        await until(lambda: len(on.proxy.connections) == 2)
        assert (await one.ask(get())).status == 200


async def test_an_unknown_host_is_a_404_that_tells_nothing() -> None:
    async with stage() as on:
        await on.serve()
        unknown = await on.ask(get(host="acme2.test"))
        other = await on.ask(get(host="completely-different.example"))
        assert unknown.status == other.status == 404
        assert {name for name, _ in unknown.fields} == {name for name, _ in other.fields}
        assert b"acme" not in unknown.body
        assert set(json.loads(unknown.body)) == set(json.loads(other.body))
        assert code(unknown) == "unknown-host"


async def test_before_the_routes_are_known_no_host_is_unknown() -> None:
    async with stage() as on:
        on.proxy.loaded = False
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (503, "routes-not-loaded")
        assert answer.get("Retry-After")


@pytest.mark.parametrize(
    "host", ["acme.test", "ACME.Test", "acme.test.", "acme.test:80", "acme.test.:65535", "[::1]", "[0:0::1]:8080"]
)
async def test_one_tenant_has_many_spellings(host: str) -> None:
    async with stage() as on:
        app = await on.serve(hosts=["acme.test", "[::1]"])
        assert (await on.ask(get(host=host))).status == 200
        assert app.seen[0].get("Host") == host
        assert app.seen[0].get("X-Forwarded-Host") == host


@pytest.mark.parametrize(
    "host",
    ["", "acme.test, acme.test", "u@acme.test", "acme.test/x", "acme.test:x", "acme.test:70000", "[::1", "acme..test"],
)
async def test_what_is_no_host_is_400(host: str) -> None:
    async with stage() as on:
        app = await on.serve(hosts=["*"])
        assert await refused(on, get(host=host)) == (400, "invalid-host")
        assert app.seen == []


async def test_a_refusal_carries_the_request_id() -> None:
    async with stage() as on:
        answer = await on.ask(get("/", "X-Request-Id: mine-1", host="nobody.test"))
        assert json.loads(answer.body)["request_id"] == "mine-1"
        answer = await on.ask(get("/", "Accept: text/html", host="nobody.test"))
        assert b'class="id"' in answer.body


async def test_a_refused_http_10_client_is_not_kept_waiting() -> None:
    async with stage() as on, on.visitor() as visitor:
        visitor.send(b"GET / HTTP/1.0\r\nHost: nobody.test\r\nConnection: keep-alive\r\n\r\n")
        assert (await visitor.answer()).status == 404
        assert await visitor.rest() == b""


async def test_extensions_of_many_chunks_are_limited_together() -> None:
    chunk = b"1;" + b"a" * 2000 + b"\r\nx\r\n"
    async with stage() as on:
        app = await on.serve()
        async with on.visitor() as visitor:
            visitor.send(b"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 100)
            answer = await visitor.answer()
            assert (answer.status, code(answer)) == (431, "head-too-large")
        assert app.seen == []
        small = b"1;a\r\nx\r\n" * 5000
        async with on.visitor() as visitor:
            visitor.send(
                b"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n" + small + b"0\r\n\r\n"
            )
            assert (await visitor.answer()).status == 200
        assert app.seen[0].body == b"x" * 5000


async def test_of_many_connections_each_is_looked_at_within_a_few_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "_SWEPT_AT_ONCE", 2)
    async with stage() as on:
        await on.serve()
        async with contextlib.AsyncExitStack() as many:
            visitors = [await many.enter_async_context(on.visitor()) for _ in range(12)]
            for visitor in visitors:
                await visitor.ask(get())
            for connection in on.proxy.connections:
                connection.deadline = 0.0
            sweeps = 0
            while on.proxy.connections:
                on.proxy.sweep()
                sweeps += 1
                await asyncio.sleep(0)
                assert sweeps < 20
            assert sweeps > 1
            for visitor in visitors:
                assert await visitor.rest() == b""


async def test_what_cannot_be_read_has_a_request_id_too() -> None:
    async with stage() as on:
        await on.serve()
        first, second = [json.loads((await on.ask(get("/", "X : y"))).body)["request_id"] for _ in range(2)]
        assert first
        assert first != second
