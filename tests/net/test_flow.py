"""Back-pressure: however large the body and however slow either side, what waits inside is bounded."""

from __future__ import annotations

import asyncio

from tests.net.stage import Stage, stage
from tests.net.talk import App, get, post, read_message, until

SIZE = 50_000_000
BOUND = 1_000_000
"""What may wait in our own buffers: one read of the loop (256 KiB) and the high-water marks."""


def waiting(on: Stage) -> int:
    """Bytes in our own write buffers."""
    transports = [connection.transport for connection in on.proxy.connections]
    transports += [connection.transport for connection in on.proxy.upstreams]
    later = sum(connection._later_bytes for connection in on.proxy.connections)  # noqa: SLF001 - that is what is bounded
    return later + sum(transport.get_write_buffer_size() for transport in transports)


async def settled(on: Stage) -> int:
    """The most that has waited until nothing moves any more."""
    most, still, last = 0, 0, -1
    while still < 20:
        await asyncio.sleep(0.01)
        now = waiting(on)
        most, still, last = max(most, now), (still + 1 if now == last else 0), now
    return most


async def test_a_slow_reader_slows_the_tenant_down() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(head + b"x" * SIZE))
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        visitor.send(get())
        await until(lambda: app.writers and app.writers[0].transport.get_write_buffer_size())
        assert 0 < await settled(on) < BOUND
        visitor.writer.transport.resume_reading()  # type: ignore[attr-defined] # ditto
        assert (await visitor.answer()).body == b"x" * SIZE
        # The next exchange of the same two connections flows as well.
        app.response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert (await visitor.ask(get())).status == 200


async def test_a_slow_tenant_slows_the_visitor_down() -> None:
    go_on = asyncio.Event()
    got: list[int] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined] # noqa: SLF001 - not a byte is taken
        await go_on.wait()
        reader._transport.resume_reading()  # type: ignore[attr-defined] # noqa: SLF001 - ditto
        got.append(len((await read_message(reader)).body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with stage() as on, on.visitor() as visitor:
        await on.serve(slow)
        visitor.send(post(b"x" * SIZE))
        await until(lambda: on.proxy.upstreams)
        assert 0 < await settled(on) < BOUND
        assert visitor.writer.transport.get_write_buffer_size() > SIZE // 2
        go_on.set()
        assert (await visitor.answer()).status == 200
        assert got == [SIZE]


async def test_pipelined_answers_to_a_client_that_does_not_read_are_bounded() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 1_000_000
    async with stage() as on, on.visitor() as visitor:
        await on.serve(App(head + b"x" * 1_000_000))
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        count = 40
        visitor.send(get() * count)
        await until(lambda: waiting(on))
        assert await settled(on) < BOUND
        visitor.writer.transport.resume_reading()  # type: ignore[attr-defined] # ditto
        for _ in range(count):
            assert len((await visitor.answer()).body) == 1_000_000


async def test_refusals_to_a_client_that_does_not_read_are_bounded() -> None:
    async with stage() as on, on.visitor() as visitor:
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        count = 60_000
        visitor.send(get(host="nobody.test") * count)
        await until(lambda: waiting(on))
        assert await settled(on) < BOUND
        # Nor is it read on: what was parsed and not begun came with the last read.
        assert len((await visitor.other_side())._queue or ()) < count // 4  # noqa: SLF001 - that is what is bounded
        visitor.writer.transport.resume_reading()  # type: ignore[attr-defined] # ditto
        for _ in range(1000):
            assert (await visitor.answer()).status == 404
        visitor.reset()
        await on.quiet()


async def test_a_slow_side_of_a_tunnel_slows_the_other_down() -> None:
    switch = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(switch + b"x" * SIZE))
        visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
        await visitor.answer()
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        assert 0 < await settled(on) < BOUND
        visitor.writer.transport.resume_reading()  # type: ignore[attr-defined] # ditto
        assert await visitor.reader.readexactly(SIZE) == b"x" * SIZE
        app.writers[-1].close()
        assert await visitor.rest() == b""
