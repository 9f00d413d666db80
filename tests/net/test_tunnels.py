"""Upgraded connections: every byte both ways, each direction ending on its own."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from tests.net.stage import reset, stage
from tests.net.talk import OK, App, get, post, until

ASKS = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Socket(App):
    """Switches at once; ``greeting`` comes right behind the head. Then it keeps what it gets, and echoes it."""

    def __init__(self, greeting: bytes = b"", *, echo: bool = True) -> None:
        super().__init__(b"")
        self.greeting = greeting
        self.echo = echo
        self.got = b""
        self.ended = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.readers.append(reader)
        self.connections += 1
        try:
            self.seen.append(await self.receive(reader))
            writer.write(SWITCH + self.greeting)
            while data := await reader.read(65536):
                self.got += data
                if self.echo:
                    writer.write(data)
                    await writer.drain()
            self.ended = True
            if not self.echo:
                # The other direction is the test's to end.
                await writer.wait_closed()
        finally:
            self.lost += 1


async def test_bytes_right_behind_either_head_are_kept() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(Socket(b"hello "))
        visitor.send(get("/", *ASKS) + b"early ")
        answer = await visitor.answer()
        assert (answer.status, answer.get("Upgrade"), answer.get("Connection")) == (101, "websocket", "Upgrade")
        visitor.send(b"late")
        visitor.writer.write_eof()
        assert await visitor.rest() == b"hello early late"
        assert app.seen[0].get("Connection") == "Upgrade"
        assert app.seen[0].get("Sec-WebSocket-Key") == "x"


async def test_both_heads_byte_by_byte() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        await visitor.feed(get("/", *ASKS) + b"early ")
        await app.heard(1)
        upstream = next(iter(on.proxy.upstreams))
        for byte in SWITCH + b"hello":
            upstream.data_received(bytes([byte]))
        assert (await visitor.answer()).status == 101
        assert await visitor.reader.readexactly(5) == b"hello"
        visitor.reset()
        await on.quiet()


async def test_the_visitor_ends_its_direction_and_still_hears_the_tenant() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = Socket(echo=False)
        await on.serve(app)
        visitor.send(get("/", *ASKS))
        await visitor.answer()
        visitor.send(b"the end")
        visitor.writer.write_eof()
        await until(lambda: app.ended)
        assert app.got == b"the end"
        app.writers[-1].write(b"after all")
        assert await visitor.reader.readexactly(9) == b"after all"
        app.writers[-1].close()
        assert await visitor.rest() == b""


async def test_the_tenant_ends_its_direction_and_still_hears_the_visitor() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = Socket(echo=False)
        await on.serve(app)
        visitor.send(get("/", *ASKS))
        await visitor.answer()
        app.writers[-1].write_eof()
        assert await visitor.rest() == b""
        visitor.send(b"after all")
        await until(lambda: app.got == b"after all")
        visitor.writer.write_eof()
        await until(lambda: app.ended)


@pytest.mark.parametrize("side", ["visitor", "tenant"])
async def test_a_reset_of_one_side_reaches_the_other(side: str) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = Socket()
        await on.serve(app)
        visitor.send(get("/", *ASKS))
        await visitor.answer()
        entry = on.proxy.fleet.entries["acme"]
        assert entry.in_flight == 1
        if side == "visitor":
            visitor.reset()
        else:
            reset(app.writers[-1])
            with pytest.raises(ConnectionError):
                await visitor.rest()
        await until(lambda: app.lost == 1)
        await on.quiet()
        assert entry.in_flight == 0


async def test_a_refused_upgrade_leaves_an_ordinary_connection() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nUpgrade: x\r\n\r\nno"))
        visitor.send(get("/", *ASKS) + get("/2"))
        assert (await visitor.answer()).status == 426
        app.response = OK
        await visitor.answer()
        assert (await visitor.ask(get("/3"))).status == 200
        assert app.connections == 1


async def test_an_upgrade_to_nobody_is_refused_and_the_next_request_is_read() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        visitor.send(get("/", *ASKS, host="nobody.test") + get())
        assert [(await visitor.answer()).status for _ in range(2)] == [404, 200]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("host", ["acme.test", "nobody.test"])
async def test_many_upgrades_that_are_not_passed_on_are_ordinary_requests(host: str, whole: bool) -> None:  # noqa: FBT001 - a table's column
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        count = 3000 if whole else 3
        one = get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x", host=host)
        if whole:
            visitor.send(one * count)
        else:
            await visitor.feed(one * count)
        expected = 200 if host == "acme.test" else 404
        assert [(await visitor.answer()).status for _ in range(count)] == [expected] * count
        assert all(message.get("Upgrade") is None for message in app.seen)


BODIES = {
    "length": post(b"hello", "Connection: Upgrade", "Upgrade: h2c"),
    "chunks": b"POST / HTTP/1.1\r\nHost: acme.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("request_bytes", BODIES.values(), ids=BODIES)
async def test_an_upgrade_with_a_body_goes_on_as_an_ordinary_request(request_bytes: bytes, whole: bool) -> None:  # noqa: FBT001 - a table's column
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        if whole:
            visitor.send(request_bytes * 3)
        else:
            await visitor.feed(request_bytes * 3)
        assert [(await visitor.answer()).status for _ in range(3)] == [200] * 3
        assert [message.body for message in app.seen] == [b"hello"] * 3
        assert all(message.get("Upgrade") is None and message.get("Connection") is None for message in app.seen)


async def test_an_open_tunnel_outlives_every_idle_limit() -> None:
    async with stage(body_timeout=0.05, keep_alive_timeout=0.05, response_timeout=0.05) as on, on.visitor() as visitor:
        await on.serve(Socket())
        visitor.send(get("/", *ASKS))
        await visitor.answer()
        sweeps = on.proxy.now
        await until(lambda: on.proxy.now > sweeps + 0.9)
        visitor.send(b"still here")
        assert await visitor.reader.readexactly(10) == b"still here"


async def test_the_kernel_probes_both_sides_so_that_a_vanished_peer_keeps_no_tenant_awake() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve(Socket())
        visitor.send(get("/", *ASKS))
        await visitor.answer()
        (downstream,), (upstream,) = on.proxy.connections, on.proxy.upstreams
        for side in (downstream, upstream):
            with socket.socket(fileno=os.dup(side.transport.get_extra_info("socket").fileno())) as own:
                assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                idle, pause, count = (
                    own.getsockopt(socket.IPPROTO_TCP, name)
                    for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                )
                assert idle + pause * count <= 120
