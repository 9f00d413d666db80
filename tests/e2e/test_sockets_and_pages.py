"""WebSockets and other upgrades through gogeta, with the `websockets` library and bare sockets; a page in Chromium."""

import asyncio
import contextlib
import random
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.typing import Subprotocol

from tests.e2e.served import Served, everything
from tests.rig.chromium import Chromium

pytestmark = pytest.mark.e2e

both = pytest.mark.parametrize("app", ["asgi", "node"])
MANY = 150


def opened(served: Served, app: str, *subprotocols: str) -> connect:
    """A WebSocket to a tenant, as a context manager."""
    return connect(
        served.socket_url(app),
        host="127.0.0.1",
        port=served.port,
        proxy=None,
        max_size=None,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
    )


@both
async def test_messages_of_every_kind_come_back(served: Served, app: str) -> None:
    megabyte = random.Random(2).randbytes(1 << 20)
    async with opened(served, app) as ws:
        assert ws.subprotocol is None
        for message in ("hello", "", "ä€😀" * 1000, b"", b"\x00\xff", megabyte, "x" * (1 << 20)):
            await ws.send(message)
            assert await ws.recv() == message
        # One message in fragments.
        await ws.send(["one ", "message ", "in parts"])
        assert await ws.recv() == "one message in parts"


@both
async def test_pings_are_answered_by_the_application(served: Served, app: str) -> None:
    async with opened(served, app) as ws:
        for _ in range(3):
            assert await asyncio.wait_for(await ws.ping(), 5) >= 0


@both
async def test_a_subprotocol_is_agreed_on(served: Served, app: str) -> None:
    async with opened(served, app, "chat.v1", "chat.v2") as ws:
        assert ws.subprotocol == "chat.v2"


@both
async def test_close_codes_cross_both_ways(served: Served, app: str) -> None:
    ws: ClientConnection
    async with opened(served, app) as ws:
        await ws.close(4002, "mine")
        assert (ws.close_code, ws.close_reason) == (4002, "mine")
    async with opened(served, app) as ws:
        await ws.send("close 4003 theirs")
        with pytest.raises(ConnectionClosedError) as closed:
            await ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4003, "theirs")
    async with opened(served, app) as ws:
        await ws.send("close 1000 done")
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()


@both
async def test_many_at_once_hear_each_their_own(served: Served, app: str) -> None:
    async def visit(number: int) -> None:
        async with opened(served, app) as ws:
            for turn in range(5):
                message = f"{number} {turn} " + "." * (number * 100)
                await ws.send(message)
                assert await ws.recv() == message
            together.release()
            await everybody.wait()

    before = await asyncio.to_thread(served.metric, "gogeta_in_flight")
    together, everybody = asyncio.Semaphore(0), asyncio.Event()
    async with asyncio.TaskGroup() as visitors:
        for number in range(MANY):
            visitors.create_task(visit(number))
        for _ in range(MANY):
            await together.acquire()
        open_now = await asyncio.to_thread(served.metric, "gogeta_in_flight")
        everybody.set()
    assert open_now == before + MANY
    async with asyncio.timeout(10):
        while await asyncio.to_thread(served.metric, "gogeta_in_flight") > before:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.02)


async def test_an_upgrade_that_is_refused_is_an_ordinary_answer(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(served, "nginx"):
            pass
    assert refused.value.response.status_code == 404


def test_who_has_said_all_still_hears_the_end(served: Served) -> None:
    with served.visitor() as visitor:
        visitor.sendall(
            b"GET /count HTTP/1.1\r\nHost: node.localhost\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\nright behind"
        )
        got = b""
        while b"\r\n\r\n" not in got:
            got += visitor.recv(1000)
        assert got.startswith(b"HTTP/1.1 101 ")
        visitor.sendall(b"x" * 1_000_000)
        visitor.shutdown(socket.SHUT_WR)
        got += everything(visitor)
    assert got.endswith(b"\r\n\r\n1000012 bytes")


async def test_a_page_with_fetch_socket_and_events(served: Served, chromium: Chromium, tmp_path: Path) -> None:
    async with chromium.page() as page:
        await page.navigate(f"http://node.localhost:{served.port}/")
        with contextlib.suppress(AssertionError):
            await page.wait_for_text("event: second", timeout=10)
            await page.wait_for_text("closed:", timeout=10)
            await page.wait_for_text("fetch:", timeout=10)
        await page.screenshot(tmp_path / "page.png")
        noted = sorted((await page.text()).strip().splitlines())
        assert noted == [
            "closed: 4001 enough true",
            "event: first",
            "event: second",
            "fetch: POST 1048576",
            "socket: second 1048576",
        ]
        assert page.console == []
