"""Limits that a tenant or the settings put on bodies, exchanges, connections and rates; over sockets alone."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, Message, get, post, read_message, until
from tests.net.test_limits import code, refused

CHUNKED = b"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


def chunk(size: int) -> bytes:
    """A chunk of a body."""
    return b"%x\r\n" % size + b"x" * size + b"\r\n"


# The largest body.


async def test_a_body_whose_length_is_too_large_is_413_before_anything_is_woken() -> None:
    async with stage() as on:
        on.declare(limits={"body": 10})
        assert await refused(on, post(b"x" * 11)) == (413, "body-too-large")
        assert on.registry.wakes == []


async def test_a_body_whose_length_is_too_large_is_413_before_anything_is_forwarded() -> None:
    async with stage() as on:
        app = await on.serve(limits={"body": 10})
        assert await refused(on, post(b"", "Content-Length: 11").replace(b"Content-Length: 0\r\n", b"")) == (
            413,
            "body-too-large",
        )
        assert app.connections == 0
        assert on.proxy.tally.refusals["body-too-large"] == 1


async def test_a_body_of_just_the_limit_passes() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(limits={"body": 10})
        assert (await visitor.ask(post(b"x" * 10))).status == 200
        assert (await visitor.ask(CHUNKED + chunk(4) + chunk(6) + b"0\r\n\r\n")).status == 200
        assert [len(message.body) for message in app.seen] == [10, 10]


async def test_nobody_is_asked_to_go_on_with_a_body_that_is_too_large() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve(limits={"body": 10})
        visitor.send(post(b"x" * 11, "Expect: 100-continue")[:-11])
        assert (await visitor.answer()).status == 413


async def test_the_settings_hold_for_a_tenant_that_says_nothing() -> None:
    async with stage(max_body=10) as on:
        await on.serve()
        assert (await on.ask(post(b"x" * 11))).status == 413


async def test_a_tenant_may_take_more_than_the_settings_say() -> None:
    async with stage(max_body=10) as on:
        await on.serve(name="one", limits={"body": 0})
        app = await on.serve(limits={"body": "1k"})
        assert (await on.ask(post(b"x" * 1024))).status == 200
        assert (await on.ask(post(b"x" * 1025))).status == 413
        assert len(app.seen) == 1


async def test_a_chunked_body_is_counted_and_refused_when_nothing_is_answered() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""), limits={"body": 10})
        visitor.send(CHUNKED + chunk(10))
        await until(lambda: app.writers)
        visitor.send(chunk(1))
        answer = await visitor.answer()
        assert (answer.status, code(answer)) == (413, "body-too-large")
        assert await visitor.rest() == b""
        # The tenant has a part of the request and must not take it for the whole.
        await until(lambda: app.lost == 1)
        assert app.seen == []


async def test_a_chunked_body_that_becomes_too_large_at_once_is_refused() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(limits={"body": 10})
        assert (await visitor.ask(CHUNKED + chunk(100) + b"0\r\n\r\n")).status == 413
        assert app.seen == []


async def test_a_chunked_body_that_becomes_too_large_behind_an_answer_is_broken_off() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""), limits={"body": 10})
        visitor.send(CHUNKED + chunk(10))
        await until(lambda: app.writers)
        app.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert await visitor.reader.readuntil(b"hello")
        visitor.send(chunk(1))
        with pytest.raises(ConnectionError):
            await visitor.rest()
        await until(lambda: app.lost == 1)
        assert on.proxy.tally.broken["limit"] == 1


async def test_a_body_that_is_too_large_is_refused_in_its_turn() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""), limits={"body": 10})
        visitor.send(get("/first") + CHUNKED + chunk(100) + b"0\r\n\r\n")
        await app.heard(1)
        app.writers[0].write(OK)
        assert [(await visitor.answer()).status for _ in range(2)] == [200, 413]
        assert len(app.seen) == 1


# The longest exchange.


async def test_an_exchange_that_lasts_too_long_is_504_where_nothing_is_answered() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""), limits={"exchange": 0.1})
        answer = await visitor.ask(get())
        assert (answer.status, code(answer)) == (504, "exchange-timeout")
        await until(lambda: app.lost == 1)
        app.response = OK
        assert (await visitor.ask(get())).status == 200


async def test_an_exchange_that_lasts_too_long_within_its_answer_is_broken_off() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(chunk(5))
                await writer.drain()
                await asyncio.sleep(0.02)

    async with stage(exchange_timeout=0.2) as on, on.visitor() as visitor:
        await on.serve(drip)
        visitor.send(get())
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await visitor.answer()
        assert on.proxy.tally.broken["timeout"] == 1


async def test_a_held_request_has_the_same_limit() -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare(limits={"exchange": 0.1})
        answer = await visitor.ask(get())
        assert (answer.status, code(answer)) == (504, "exchange-timeout")


async def test_a_tenant_may_take_longer_than_the_settings_say() -> None:
    async with stage(exchange_timeout=0.1) as on, on.visitor() as visitor:
        app = await on.serve(App(b""), limits={"exchange": "never"})
        visitor.send(get())
        await app.heard(1)
        # Two sweeps, each of which would have ended it.
        before = on.proxy.now
        await until(lambda: on.proxy.now > before + 0.9)
        app.writers[0].write(OK)
        assert (await visitor.answer()).status == 200


async def test_a_tunnel_lasts_as_long_as_it_is_used() -> None:
    async with stage(exchange_timeout=0.1) as on, on.visitor() as visitor:
        app = await on.serve(App(SWITCH))
        visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
        assert (await visitor.answer()).status == 101
        before = on.proxy.now
        await until(lambda: on.proxy.now > before + 0.9)
        app.writers[0].write(b"hello")
        assert await visitor.reader.readexactly(5) == b"hello"


# Connections to the tenant.


async def test_a_tenant_without_keep_alive_sees_each_request_on_a_connection_of_its_own() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(keep_alive=False)
        for _ in range(3):
            answer = await visitor.ask(get())
            assert answer.status == 200
            assert answer.get("Connection") is None
        assert (app.connections, len(app.seen)) == (3, 3)
        assert [message.get("Connection") for message in app.seen] == ["close"] * 3
        await until(lambda: app.lost == 3)


async def test_a_tenant_without_keep_alive_may_still_switch_protocols() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(SWITCH), keep_alive=False)
        visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
        assert (await visitor.answer()).status == 101
        assert app.seen[0].get("Connection") == "Upgrade"


async def test_connections_kept_before_a_tenant_wanted_none_are_not_used_again() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        # Of the same start of the tenant: nothing else has changed.
        on.change(tenant=replace(on.records["acme"].tenant, keep_alive=False))
        await until(lambda: app.lost == 1)
        await visitor.ask(get())
        assert app.connections == 2
        await until(lambda: app.lost == 2)


# Connections of one address.


@contextlib.asynccontextmanager
async def visitor_from(on: Stage, address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A visitor's connection from one of this machine's addresses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", on.port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask_from(on: Stage, address: str) -> Message:
    """A request from one of this machine's addresses."""
    async with visitor_from(on, address) as (reader, writer):
        writer.write(get())
        return await read_message(reader)


async def test_one_address_has_so_many_connections_and_no_more() -> None:
    async with stage(max_connections_per_address=2) as on:
        await on.serve()
        async with on.visitor() as one:
            async with on.visitor() as two:
                assert [(await visitor.ask(get())).status for visitor in (one, two)] == [200, 200]
                async with on.visitor() as third:
                    answer = await third.answer()
                    assert (answer.status, code(answer)) == (429, "too-many-connections-from-address")
                    assert answer.get("Retry-After")
                    assert answer.get("Connection") == "close"
                # Others are served meanwhile, and so are those who were there before.
                assert (await ask_from(on, "127.0.0.2")).status == 200
                assert (await one.ask(get())).status == 200
            await until(lambda: len(on.proxy.connections) == 1)
            assert (await on.ask(get())).status == 200
        assert on.proxy.tally.refusals["too-many-connections-from-address"] == 1
        await until(lambda: not on.proxy.connections)
        assert len(on.proxy.census) == 0


async def test_a_trusted_proxy_has_as_many_as_it_needs() -> None:
    trusted = (ipaddress.ip_network("127.0.0.2"),)
    async with stage(max_connections_per_address=1, trusted_proxies=trusted) as on:
        await on.serve()
        async with visitor_from(on, "127.0.0.2"), visitor_from(on, "127.0.0.2"):
            await until(lambda: len(on.proxy.connections) == 2)
            assert (await ask_from(on, "127.0.0.2")).status == 200
            async with on.visitor() as other:
                assert (await other.ask(get())).status == 200
                assert (await on.ask(get())).status == 429


# The rate of a request's body.

SLOW = {"min_body_rate": 1000, "body_rate_window": 0.5}


async def test_a_body_that_drips_is_408_and_the_tenant_is_cut() -> None:
    async with stage(**SLOW) as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(post(b"x" * 1000)[:-1000])
        answering = asyncio.create_task(visitor.answer())
        while not answering.done():
            # Never silent for long: no timeout of silence ends this.
            visitor.send(b"x")
            await asyncio.sleep(0.02)
        answer = await answering
        assert (answer.status, code(answer)) == (408, "body-too-slow")
        await until(lambda: app.lost == 1)
        assert app.seen == []


async def test_a_body_that_drips_behind_an_answer_is_broken_off() -> None:
    async with stage(**SLOW) as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(CHUNKED)
        await until(lambda: app.writers)
        app.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert await visitor.reader.readuntil(b"hello")
        with pytest.raises(ConnectionError):
            await visitor.rest()
        assert on.proxy.tally.broken["timeout"] == 1


async def test_a_body_that_is_fast_enough_takes_its_time() -> None:
    async with stage(min_body_rate=100, body_rate_window=0.5) as on, on.visitor() as visitor:
        app = await on.serve()
        visitor.send(post(b"x" * 3000)[:-3000])
        before = on.proxy.now
        sent = 0
        while sent < 3000:
            visitor.send(b"x" * 60)
            sent += 60
            await asyncio.sleep(0.03)
        assert (await visitor.answer()).status == 200
        assert len(app.seen[0].body) == 3000
        # It was judged more than once.
        assert on.proxy.now - before > 1.0


async def test_who_waits_to_be_asked_for_the_body_is_not_slow() -> None:
    async with stage(**SLOW) as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(post(b"hello", "Expect: 100-continue")[:-5])
        await until(lambda: app.writers)
        before = on.proxy.now
        await until(lambda: on.proxy.now > before + 1.5)
        app.writers[0].write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await visitor.answer()).status == 100
        visitor.send(b"hello")
        await app.heard(1)
        app.writers[0].write(OK)
        assert (await visitor.answer()).status == 200


async def test_who_waits_for_a_slow_tenant_is_not_slow() -> None:
    go_on = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined] # noqa: SLF001 - that is what deaf means
        await go_on.wait()
        reader._transport.resume_reading()  # type: ignore[attr-defined] # noqa: SLF001 - ditto
        await read_message(reader)
        writer.write(OK)
        await writer.drain()

    async with stage(**SLOW) as on, on.visitor() as visitor:
        await on.serve(deaf)
        visitor.send(post(b"x" * 20_000_000))
        before = on.proxy.now
        await until(lambda: on.proxy.now > before + 1.5)
        go_on.set()
        assert (await visitor.answer()).status == 200


async def test_who_waits_for_an_earlier_answer_is_not_slow() -> None:
    async with stage(min_body_rate=1000, body_rate_window=1.0) as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get() + post(b"hello")[:-4])
        await app.heard(1)
        before = on.proxy.now
        await until(lambda: on.proxy.now > before + 1.5)
        app.writers[0].write(OK)
        assert (await visitor.answer()).status == 200
        # Its turn has come, and the sweep looks at it for the first time.
        before = on.proxy.now
        await until(lambda: on.proxy.now > before)
        visitor.send(b"ello")
        await app.heard(2)
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200


async def test_without_a_least_rate_a_body_may_drip() -> None:
    async with stage(min_body_rate=0, body_rate_window=0.5) as on, on.visitor() as visitor:
        await on.serve()
        visitor.send(post(b"hello")[:-5])
        before = on.proxy.now
        await until(lambda: on.proxy.now > before + 1.5)
        visitor.send(b"hello")
        assert (await visitor.answer()).status == 200
