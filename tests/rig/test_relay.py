"""The relay passes on, cuts, freezes, delays and refuses."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.rig.ports import free_port
from tests.rig.relay import FaultRelay


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(1000):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[FaultRelay]:
    """A relay in front of a server that gives back what it gets."""
    port = free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    relay = FaultRelay(port)
    yield relay
    await asyncio.to_thread(relay.close)
    server.close()
    await server.wait_closed()


class Client:
    """One connection through the relay."""

    async def connect(self, relay: FaultRelay) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", relay.port)

    async def ask(self, text: bytes) -> bytes:
        self.writer.write(text)
        async with asyncio.timeout(2):
            return await self.reader.readexactly(len(text))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@pytest_asyncio.fixture
async def client(relay: FaultRelay) -> AsyncIterator[Client]:
    """A client that is connected."""
    client = Client()
    await client.connect(relay)
    yield client
    await client.close()


async def test_it_passes_on(relay: FaultRelay, client: Client) -> None:
    assert await client.ask(b"hello") == b"hello"
    assert (relay.accepted, relay.open_connections, relay.passed) == (1, 1, 10)


async def test_a_cut_resets_and_lets_new_connections_in(relay: FaultRelay, client: Client) -> None:
    await client.ask(b"hello")
    await asyncio.to_thread(relay.cut)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await client.ask(b"again")
    other = Client()
    await other.connect(relay)
    assert await other.ask(b"hello") == b"hello"
    await other.close()


async def test_a_cut_can_come_amid_a_message(relay: FaultRelay, client: Client) -> None:
    relay.cut_after(3)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await client.ask(b"hello")


async def test_a_frozen_path_is_open_and_silent_and_thaws(relay: FaultRelay, client: Client) -> None:
    relay.freeze()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.ask(b"hello")
    await asyncio.to_thread(relay.restore)
    async with asyncio.timeout(2):
        assert await client.reader.readexactly(5) == b"hello"


async def test_a_delay_is_kept(relay: FaultRelay, client: Client) -> None:
    relay.delay(0.1)
    before = time.monotonic()
    await client.ask(b"hello")
    assert time.monotonic() - before >= 0.2


async def test_a_refusal_ends_with_a_restore(relay: FaultRelay, client: Client) -> None:
    await asyncio.to_thread(relay.refuse)
    with pytest.raises(ConnectionRefusedError):
        await Client().connect(relay)
    await asyncio.to_thread(relay.restore)
    other = Client()
    await other.connect(relay)
    assert await other.ask(b"hello") == b"hello"
    await other.close()
