"""Ordinary exchanges: connections kept, requests in order, bodies of every framing, both ways."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from gogeta.domain.upstreams import Endpoint
from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, Message, get, post, until

BODY = bytes(range(256)) * 40
CHUNKED = b"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n"


async def test_both_connections_are_kept() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        for number in range(5):
            answer = await visitor.ask(get(f"/{number}"))
            assert (answer.status, answer.body, answer.get("Connection")) == (200, b"ok", None)
            assert answer.get("Date")
        assert [message.start.split(" ")[1] for message in app.seen] == ["/0", "/1", "/2", "/3", "/4"]
        assert app.connections == 1


async def test_the_tenant_hears_who_the_visitor_is() -> None:
    async with stage() as on:
        app = await on.serve()
        await on.ask(get("/", "X-Forwarded-For: 6.6.6.6", "X-Request-Id: mine"))
        heard = app.seen[0]
        assert heard.get("X-Forwarded-For") == "127.0.0.1"
        assert heard.get("X-Forwarded-Port") == str(on.port)
        assert heard.get("X-Request-Id") == "mine"
        assert heard.get("Host") == "acme.test"


async def test_two_visitors_share_a_tenants_connection_one_after_the_other() -> None:
    async with stage() as on:
        app = await on.serve()
        for _ in range(3):
            assert (await on.ask(get())).status == 200
        assert app.connections == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get("/1") + post(b"two") + get("/3"))
        for place, body in enumerate([b"", b"two", b""]):
            assert (await app.heard(place + 1)).body == body
            app.writers[-1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % place)
        assert [(await visitor.answer()).body for _ in range(3)] == [b"0", b"1", b"2"]


async def test_a_pipelined_upload_that_arrives_in_parts_stays_in_order() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        upload = post(BODY)
        visitor.send(get() + upload[:1000])
        await until(lambda: app.seen)
        connection = await visitor.other_side()
        for start in range(1000, len(upload), 1000):
            visitor.send(upload[start : start + 1000])
        await until(lambda: connection._later_bytes == len(upload) - 1000)  # noqa: SLF001 - it has arrived
        app.response = OK
        app.writers[-1].write(OK)
        assert [(await visitor.answer()).status for _ in range(2)] == [200, 200]
        assert app.seen[1].body == BODY


@pytest.mark.parametrize("host", ["acme.test", "nobody.test"])
async def test_thousands_of_pipelined_requests_in_one_write(host: str) -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        count = 4000
        visitor.send(get(host=host) * count + get("/last", "Connection: close", host=host))
        expected = 200 if host == "acme.test" else 404
        assert [(await visitor.answer()).status for _ in range(count)] == [expected] * count
        assert (await visitor.answer()).get("Connection") == "close"
        assert await visitor.rest() == b""


async def test_refused_and_forwarded_requests_keep_their_order() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        hosts = ["acme.test", "nobody.test", "nobody.test", "acme.test"] * 500
        visitor.send(b"".join(get(host=host) for host in hosts))
        assert [(await visitor.answer()).status for _ in hosts] == [
            200 if host == "acme.test" else 404 for host in hosts
        ]


async def test_nothing_is_read_as_a_request_after_the_last_one() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        visitor.send(get("/", "Connection: close", host="nobody.test") + get("/smuggled"))
        assert (await visitor.answer()).status == 404
        assert await visitor.rest() == b""
        assert app.seen == []


REQUESTS = {
    "nothing": (get(), b""),
    "length": (post(BODY), BODY),
    "empty": (post(b""), b""),
    "chunks": (CHUNKED + b"\r\n3\r\nabc\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
    "no chunks": (CHUNKED + b"\r\n0\r\n\r\n", b""),
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("framing", REQUESTS)
async def test_a_request_body_arrives_as_it_was(framing: str, whole: bool) -> None:  # noqa: FBT001 - a table's column
    request, body = REQUESTS[framing]
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        for _ in range(2):
            if whole:
                visitor.send(request)
            else:
                await visitor.feed(request)
            assert (await visitor.answer()).status == 200
        assert [message.body for message in app.seen] == [body, body]


RESPONSES = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\nhello", b"hello", True),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: 1\r\n\r\n", b"", True),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n2;a\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"hello",
        True,
    ),
    "close": (b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nhello", b"hello", False),
    "close, said": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nX: 1\r\n\r\nhello", b"hello", False),
    "http/1.0": (b"HTTP/1.0 200 OK\r\nX: 1\r\n\r\nhello", b"hello", False),
    "http/1.0 with a length": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\nhello", b"hello", False),
    "204": (b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nX: 1\r\n\r\n", b"", True),
    "103 before": (
        b"HTTP/1.1 103 \r\nX: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\nhello",
        b"hello",
        True,
    ),
}


async def respond(on: Stage, app: App, response: bytes, *, whole: bool) -> None:
    """Answer the request that waits, at once or with every byte given by itself to the proxy's protocol."""
    if whole:
        app.writers[-1].write(response)
        return
    upstream = next(upstream for upstream in on.proxy.upstreams if upstream.exchange is not None)
    for place in range(len(response)):
        upstream.data_received(response[place : place + 1])


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", RESPONSES)
async def test_a_response_arrives_as_it_was(framing: str, version: str, whole: bool) -> None:  # noqa: FBT001 - a table's column
    response, body, kept = RESPONSES[framing]
    request = get() if version == "1.1" else b"GET / HTTP/1.0\r\nHost: acme.test\r\n\r\n"
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        for number in range(2):
            if number and version == "1.0":
                assert await visitor.rest() == b""
                break
            visitor.send(request)
            await app.heard(number + 1)
            await respond(on, app, response, whole=whole)
            if not kept:
                app.writers[-1].close()
            answer = await visitor.answer()
            if answer.status == 103:
                assert version == "1.1"
                answer = await visitor.answer()
            assert answer.body == body
            assert answer.get("X") == "1"
            assert version == "1.1" or answer.get("Transfer-Encoding") is None
        assert app.connections == (1 if kept or version == "1.0" else 2)


async def test_head_has_the_length_and_not_the_body() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"))
        for _ in range(2):
            answer = await visitor.ask(get().replace(b"GET", b"HEAD"), bodiless=True)
            assert answer.get("Content-Length") == "12345"
        app.response = OK
        assert (await visitor.ask(get())).body == b"ok"
        assert app.connections == 1


async def test_trailers_reach_those_who_take_them() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n"
    async with stage() as on, on.visitor() as visitor:
        await on.serve(App(response))
        assert (await visitor.ask(get("/", "TE: trailers", "Connection: TE"))).trailers == [("X-Sum", "1")]
        assert (await visitor.ask(get())).trailers == []


async def test_a_requests_trailers_reach_the_tenant() -> None:
    async with stage() as on:
        app = await on.serve()
        await on.ask(CHUNKED + b"\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        assert app.seen[0].trailers == [("X-Sum", "1")]


async def test_100_continue_is_the_tenants_word() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        heads: list[bytes] = []

        async def receive(reader: asyncio.StreamReader) -> Message:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            return Message("", [])

        app.receive = receive  # type: ignore[method-assign] # only the head: the body comes later
        visitor.send(post(b"hello", "Expect: 100-continue")[:-5])
        await until(lambda: heads)
        assert b"Expect: 100-continue\r\n" in heads[0]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await visitor.reader.read(1)
        app.writers[-1].write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await visitor.answer()).status == 100
        visitor.send(b"hello")
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200


async def test_a_tenant_that_dies_after_100_continue_is_told_as_502() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(post(b"hello", "Expect: 100-continue"))
        await until(lambda: app.seen)
        app.writers[-1].write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await visitor.answer()).status == 100
        app.writers[-1].close()
        assert (await visitor.answer()).status == 502


async def test_an_early_answer_reaches_a_client_that_still_uploads() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()

    async with stage() as on, on.visitor() as visitor:
        await on.serve(refuse)
        visitor.send(post(b"x" * 50_000_000))
        answer = await visitor.answer()
        assert (answer.status, answer.body, answer.get("Connection")) == (413, b"big", "close")
        assert await visitor.rest() == b""


async def test_an_early_answer_on_a_kept_connection_costs_both_connections() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(post(b"hello")[:-1])
        await until(lambda: on.proxy.upstreams)
        await until(lambda: app.writers)
        app.writers[-1].write(OK)
        assert (await visitor.answer()).get("Connection") == "close"
        assert await visitor.rest() == b""
        await until(lambda: app.lost == 1)


async def test_a_client_that_half_closes_is_still_answered() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get() + get("/2"))
        visitor.writer.write_eof()
        for number in (1, 2):
            await app.heard(number)
            app.writers[-1].write(OK)
            assert (await visitor.answer()).status == 200
        assert await visitor.rest() == b""


async def test_a_client_that_half_closes_within_its_body_is_given_up() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(post(b"hello")[:-1])
        await until(lambda: app.writers)
        visitor.writer.write_eof()
        assert await visitor.rest() == b""
        await until(lambda: app.lost == 1)
        assert app.seen == []


async def test_a_half_closed_pipelined_upload_is_given_up_after_what_precedes_it() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get() + post(b"hello")[:-1])
        visitor.writer.write_eof()
        await until(lambda: app.seen)
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await visitor.answer()


async def test_a_client_reset_cuts_the_tenants_connection_at_once() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await until(lambda: app.seen)
        visitor.reset()
        await until(lambda: app.lost == 1, limit=2.0)
        await on.quiet()


async def test_many_interim_responses_are_passed_on_and_too_many_are_refused() -> None:
    herald = b"HTTP/1.1 103 E\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(herald * 100 + final))
        for _ in range(2):
            visitor.send(get())
            for _ in range(100):
                assert (await visitor.answer()).status == 103
            assert (await visitor.answer()).body == b"ok"
        app.response = herald * 10_000 + final
        visitor.send(get())
        for _ in range(100):
            assert (await visitor.answer()).status == 103
        assert (await visitor.answer()).status == 502
        await until(lambda: app.lost == 1)


PIECE = b"x" * 40_000


async def test_an_early_answer_whose_connection_is_reset_at_once_still_arrives() -> None:
    """What an application does that refuses a body and ends the connection with the rest of it unread."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        async with stage() as on, on.visitor() as visitor:
            endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
            on.declare(endpoint=endpoint)
            head = f"POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: {10 * len(PIECE)}\r\n\r\n"
            visitor.send(head.encode() + PIECE)
            application, _ = await loop.sock_accept(listener)
            got = 0
            while got < len(PIECE):
                got += len(await loop.sock_recv(application, 1 << 16))
            # In this order and in one turn of the loop: the proxy hears of the body first, and then of the answer.
            visitor.send(PIECE)
            application.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
            application.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            application.close()
            answer = await visitor.answer()
            assert (answer.status, answer.body) == (413, b"big")
