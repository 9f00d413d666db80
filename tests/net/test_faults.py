"""Tenants that misbehave: the visitor gets a clean error or a visibly broken message, never another visitor's bytes."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from gogeta.domain.upstreams import Endpoint
from tests.net.stage import Stage, reset, stage
from tests.net.talk import OK, App, get, post, until

HEAD = b"HTTP/1.1 200 OK\r\n"
INVALID = {
    "garbage": b"hello\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "two lengths (RFC 9110 8.6)": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\nok",
    "length and coding (RFC 9112 6.3)": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "another coding (RFC 9112 6.1)": HEAD + b"Transfer-Encoding: gzip\r\n\r\nok",
    "a coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold (RFC 9112 5.2)": HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon (RFC 9112 5.1)": HEAD + b"X : a\r\nContent-Length: 0\r\n\r\n",
    "NUL (RFC 9110 5.5)": HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare CR (RFC 9112 2.2)": HEAD + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "no field name": HEAD + b": a\r\nContent-Length: 0\r\n\r\n",
    "status 600 (RFC 9110 15)": b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
    "101 to nobody (RFC 9110 7.8)": b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "103 with a body (RFC 9110 15.2)": b"HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nhello" + OK,
    "too many fields": HEAD + b"X: 1\r\n" * 200 + b"\r\n",
    "a head without end": HEAD + b"X: " + b"x" * 100_000,
    "a head too long": HEAD + b"X: " + b"x" * 40_000 + b"\r\nContent-Length: 2\r\n\r\nok",
}


async def respond(on: Stage, app: App, response: bytes, *, whole: bool) -> None:
    """Answer by hand, at once or every byte by itself."""
    if whole:
        app.writers[-1].write(response)
        return
    upstream = next(upstream for upstream in on.proxy.upstreams if upstream.exchange is not None)
    for place in range(len(response)):
        upstream.data_received(response[place : place + 1])


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("response", INVALID.values(), ids=INVALID)
async def test_an_invalid_head_is_told_as_502_and_its_connection_is_not_used_again(
    response: bytes,
    whole: bool,  # noqa: FBT001 - a table's column
) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        await respond(on, app, response, whole=whole)
        answer = await visitor.answer()
        assert answer.status == 502
        assert answer.get("Content-Type") == "application/problem+json"
        assert b"upstream-invalid" in answer.body
        app.response = OK
        assert (await visitor.ask(get())).status == 200
        assert app.connections == 2


BROKEN = {
    "length": HEAD + b"Content-Length: 10\r\n\r\nhello",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "last chunk missing its end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "close-delimited": HEAD + b"\r\nhello",
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    ("response", "by_reset"),
    # A close is the regular end of what is delimited by it.
    [(BROKEN[name], by_reset) for name in BROKEN for by_reset in (True, False) if by_reset or "close" not in name],
)
async def test_a_body_that_breaks_off_is_visibly_broken(response: bytes, version: str, by_reset: bool) -> None:  # noqa: FBT001 - a table's column
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(f"GET / HTTP/{version}\r\nHost: acme.test\r\n\r\n".encode())
        await app.heard(1)
        app.writers[-1].write(response)
        assert await visitor.reader.readuntil(b"hello")
        if by_reset:
            reset(app.writers[-1])
        else:
            app.writers[-1].close()
        with pytest.raises(ConnectionError):
            await visitor.rest()
        assert on.proxy.tally.broken["upstream"] == 1


async def test_a_bad_chunk_in_mid_body_is_visibly_broken() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        app.writers[-1].write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await visitor.reader.readuntil(b"hello")
        app.writers[-1].write(b"xyz\r\n")
        with pytest.raises(ConnectionError):
            await visitor.rest()


async def test_trailers_without_end_are_cut() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        app.writers[-1].write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await visitor.reader.readuntil(b"hello")
        app.writers[-1].write(b"0\r\nX: " + b"x" * 1_000_000)
        with pytest.raises(ConnectionError):
            await visitor.rest()


SURPLUS = {
    "a second answer": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "garbage": OK + b"evil",
    "a body of 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
    "a body of 304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
}


@pytest.mark.parametrize("response", SURPLUS.values(), ids=SURPLUS)
async def test_a_byte_too_many_with_the_answer_costs_the_connection(response: bytes) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        app.writers[-1].write(response)
        assert (await visitor.answer()).status in (200, 204, 304)
        app.response = OK
        assert (await visitor.ask(get())).body == b"ok"
        assert app.connections == 2


async def test_bytes_on_an_idle_connection_cost_it() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.writers[-1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await until(lambda: app.lost == 1)
        assert (await visitor.ask(get())).body == b"ok"
        assert app.connections == 2


async def test_bytes_that_wait_unread_on_an_idle_connection_are_no_answer() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        for _ in range(20):
            await visitor.ask(get())
            connection, (idle,) = await visitor.other_side(), on.proxy.upstreams
            before = app.connections
            app.writers[-1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            # The kernel has them; the loop has had no turn to read them when the next request comes.
            assert not idle.unspoiled()
            connection.data_received(get())
            assert (await visitor.answer()).body == b"ok"
            assert app.connections == before + 1


async def test_a_goodbye_that_waits_unread_on_an_idle_connection_costs_a_post_nothing() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        for _ in range(20):
            await visitor.ask(get())
            connection, (idle,) = await visitor.other_side(), on.proxy.upstreams
            before = app.connections
            with socket.socket(fileno=os.dup(app.writers[-1].get_extra_info("socket").fileno())) as same:
                same.shutdown(socket.SHUT_WR)
            # As above: the kernel knows, and the loop does not yet. A POST that was sent there could not be sent again.
            assert not idle.unspoiled()
            connection.data_received(post(b"once"))
            assert (await visitor.answer()).body == b"ok"
            assert app.connections == before + 1


async def test_a_reused_connection_that_dies_silently_costs_a_get_nothing() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response = b""
        visitor.send(get("/again"))
        await app.heard(2)
        app.response = OK
        app.writers[-1].close()
        assert (await visitor.answer()).body == b"ok"
        assert [message.start for message in app.seen[1:]] == ["GET /again HTTP/1.1"] * 2
        assert on.proxy.tally.retries == 1


async def test_it_is_tried_again_once_and_no_more() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response = b""
        visitor.send(get())
        for count in (2, 3):
            await app.heard(count)
            app.writers[-1].close()
        assert (await visitor.answer()).status == 502
        assert len(app.seen) == 3


@pytest.mark.parametrize("request_bytes", [post(b"hello"), post(b""), get("/", "Content-Length: 1") + b"x"])
async def test_what_may_have_had_an_effect_is_not_sent_twice(request_bytes: bytes) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response = b""
        visitor.send(request_bytes)
        await app.heard(2)
        app.writers[-1].close()
        assert (await visitor.answer()).status == 502
        assert len(app.seen) == 2


async def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response = b""
        visitor.send(get())
        await app.heard(2)
        app.writers[-1].write(b"HTTP/1.1 200")
        await app.writers[-1].drain()
        app.writers[-1].close()
        assert (await visitor.answer()).status == 502
        assert len(app.seen) == 2


async def test_a_fresh_connection_that_dies_silently_is_told_and_reported() -> None:
    async with stage() as on:
        app = App(b"")
        await on.serve(app)

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")

        on.declare(endpoint=await on.upstream(hang_up))
        assert (await on.ask(get())).status == 502
        assert on.registry.suspects == ["acme"]


async def test_a_tenant_that_refuses_connections_is_tried_for_a_moment_and_reported_once() -> None:
    async with stage() as on:
        on.declare(endpoint=Endpoint("127.0.0.1", 1))
        answer = await on.ask(get())
        assert answer.status == 502
        assert b"upstream-connect" in answer.body
        assert on.proxy.tally.upstream_connects > 3
        assert on.registry.suspects == ["acme"]


async def test_a_tenant_that_listens_a_moment_later_is_reached() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = App()
        endpoint = await on.upstream(app)
        on.declare(endpoint=Endpoint("127.0.0.1", 1))
        visitor.send(get())
        await until(lambda: on.proxy.tally.upstream_connect_failures)
        on.declare(endpoint=endpoint)
        assert (await visitor.answer()).body == b"ok"


async def test_a_tenant_whose_passivator_takes_a_while_to_come_back_is_waited_for() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = App()
        endpoint = await on.upstream(app)
        on.declare(endpoint=Endpoint("127.0.0.1", 1))
        visitor.send(get())
        # Tried so often takes more than a second: in that time a program that died is started again.
        await until(lambda: on.proxy.tally.upstream_connect_failures >= 10)
        on.declare(endpoint=endpoint)
        assert (await visitor.answer()).body == b"ok"


async def test_the_error_page_for_a_person_says_nothing_of_what_is_inside() -> None:
    async with stage() as on:
        on.declare(endpoint=Endpoint("127.0.0.1", 1))
        answer = await on.ask(get("/", "Accept: text/html"))
        assert answer.status == 502
        assert (answer.get("Content-Type") or "").startswith("text/html")
        assert b"127.0.0.1" not in answer.body
        assert b"acme" not in answer.body
