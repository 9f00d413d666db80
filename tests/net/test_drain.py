"""The end of a worker: what is under way finishes, what waits is told, and nobody is cut without need."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from gogeta.domain.upstreams import Endpoint
from gogeta.net.server import IDLE_SECONDS, Server
from gogeta.settings import HTTP
from tests.net.stage import stage
from tests.net.talk import OK, App, get, until


async def test_idle_connections_end_at_once_and_nobody_new_is_let_in() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        await visitor.ask(get())
        assert await on.server.drain(5.0) == 0
        assert await visitor.rest() == b""
        with pytest.raises(ConnectionError):
            await on.ask(get())


async def test_a_request_in_flight_finishes_and_says_close() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        draining = asyncio.create_task(on.server.drain(5.0))
        await until(lambda: on.proxy.draining)
        app.writers[-1].write(OK)
        answer = await visitor.answer()
        assert (answer.body, answer.get("Connection")) == (b"ok", "close")
        assert await visitor.rest() == b""
        assert await draining == 0


async def test_without_hurry_an_idle_connection_has_one_more_request() -> None:
    async with stage() as on, on.visitor() as one, on.visitor() as silent:
        await on.serve()
        await one.ask(get())
        await silent.ask(get())
        hurry = asyncio.Event()
        draining = asyncio.create_task(on.server.drain(60.0, hurry))
        await until(lambda: on.proxy.draining)
        # Longer than it would be kept at the end of the program.
        await asyncio.sleep(2 * IDLE_SECONDS)
        answer = await one.ask(get())
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert await one.rest() == b""
        assert not draining.done(), "the other one may still ask"
        hurry.set()
        assert await silent.rest() == b""
        assert await draining == 0


async def test_a_request_on_its_way_to_an_idle_connection_is_answered() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        await visitor.ask(get())
        draining = asyncio.create_task(on.server.drain(5.0))
        await until(lambda: on.proxy.draining)
        # It takes a while to come, and the loop looks at the end of idle connections meanwhile.
        await asyncio.sleep(IDLE_SECONDS / 5)
        answer = await visitor.ask(get())
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert await draining == 0


async def test_who_waits_in_the_queue_is_served() -> None:
    async with stage() as on:
        await on.serve()
        with contextlib.ExitStack() as opened:
            early = [
                opened.enter_context(socket.create_connection(("127.0.0.1", on.port), timeout=5)) for _ in range(5)
            ]
            # The loop has not run since: nobody has accepted these.
            assert not on.proxy.connections
            draining = asyncio.create_task(on.server.drain(5.0))
            for each in early:
                each.sendall(get())
            answers = [await asyncio.to_thread(each.recv, 1000) for each in early]
        assert {answer[:13] for answer in answers} == {b"HTTP/1.1 200 "}
        assert all(b"connection: close" in answer.lower() for answer in answers)
        assert await draining == 0


async def test_given_sockets_listen_on_when_somebody_else_holds_them() -> None:
    async with stage() as on:
        with socket.create_server(("127.0.0.1", 0)) as held:
            server = Server(on.proxy, Endpoint("127.0.0.1", 1))
            server.start({HTTP: [held.dup()]})
            await server.accept()
            assert server.port == held.getsockname()[1]
            await server.drain(0.0)
            with socket.create_connection(held.getsockname(), timeout=5):
                held.settimeout(5)
                held.accept()[0].close()


async def test_a_head_half_read_is_still_answered() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        visitor.send(get()[:10])
        connection = await visitor.other_side()
        await until(lambda: connection._in_head)  # noqa: SLF001 - it has arrived
        draining = asyncio.create_task(on.server.drain(5.0))
        await until(lambda: on.proxy.draining)
        visitor.send(get()[10:])
        assert (await visitor.answer()).get("Connection") == "close"
        assert await draining == 0


async def test_the_deadline_breaks_an_answer_off_visibly() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve(App(b"HTTP/1.0 200 OK\r\n\r\nhello"))
        visitor.send(b"GET / HTTP/1.0\r\nHost: acme.test\r\n\r\n")
        await visitor.reader.readuntil(b"hello")
        assert await on.server.drain(0.05) == 1
        with pytest.raises(ConnectionError):
            await visitor.rest()
        assert on.proxy.tally.broken["drain"] == 1


@pytest.mark.parametrize("state", ["held", "waiting for its answer"])
async def test_at_the_deadline_who_has_no_answer_is_told(state: str) -> None:
    async with stage() as on, on.visitor() as visitor:
        if state == "held":
            on.declare()
            visitor.send(get())
            await until(lambda: on.proxy.tally.held)
        else:
            app = await on.serve(App(b""))
            visitor.send(get())
            await app.heard(1)
        assert await on.server.drain(0.05) == 1
        answer = await visitor.answer()
        assert answer.status == 503
        assert b"draining" in answer.body
        assert answer.get("Retry-After")
        assert await visitor.rest() == b""


async def test_a_tunnel_is_cut_at_the_deadline() -> None:
    switch = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    async with stage() as on, on.visitor() as visitor:
        await on.serve(App(switch))
        visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
        assert (await visitor.answer()).status == 101
        assert await on.server.drain(0.05) == 1
        with pytest.raises(ConnectionError):
            await visitor.rest()


GOING_AWAY = b"\x88\x02\x03\xe9"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_a_quiet_websocket_is_told_that_the_server_goes_away() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(SWITCHED))
        visitor.send(get("/", *WEBSOCKET))
        assert (await visitor.answer()).status == 101
        draining = asyncio.create_task(on.server.drain(0.5))
        app.writers[-1].write(b"\x81\x02hi")
        assert await visitor.reader.readexactly(4) == b"\x81\x02hi"
        assert await visitor.rest() == GOING_AWAY
        await draining
        await until(lambda: app.lost == 1)


async def test_a_websocket_in_which_something_moves_is_cut() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(SWITCHED))
        visitor.send(get("/", *WEBSOCKET))
        assert (await visitor.answer()).status == 101
        draining = asyncio.create_task(on.server.drain(0.5))
        while not app.writers[-1].transport.is_closing():
            app.writers[-1].write(b"\x81\x7e\x01\x00" + b"x" * 100)
            await asyncio.sleep(0.02)
        await draining
        assert GOING_AWAY not in await visitor.everything()


async def test_another_protocol_is_not_spoken_to() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve(App(SWITCHED.replace(b"websocket", b"other")))
        visitor.send(get("/", "Connection: Upgrade", "Upgrade: other"))
        assert (await visitor.answer()).status == 101
        await on.server.drain(0.5)
        assert await visitor.everything() == b""
