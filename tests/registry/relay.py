"""A TCP relay that misbehaves on command: what a network does to a connection between us and etcd."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.rig.ports import free_port

_CHUNK = 65536


class Relay:
    """Passes bytes between clients and one port of this machine. `async with Relay(port) as relay:` runs it."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.accepted = 0
        self.delay = 0.0
        """Seconds by which every chunk is late, either way."""
        self.cut_when: Callable[[bytes], bool] | None = None
        """Cuts the connection on which a chunk of an answer satisfies this, before the chunk is passed on; once."""

    def black_hole(self) -> None:
        """Pass nothing on, close nothing: a cable pulled out."""
        self._open.clear()

    def heal(self) -> None:
        """Pass everything on again, what was held back too."""
        self._open.set()

    def cut(self) -> None:
        """Reset all connections; new ones are fine."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, ["127.0.0.1", "127.0.0.2"], self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.close()
        self.cut()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        self.accepted += 1
        self._writers.add(writer)
        # asyncio.streams logs an error for a connection's task that is cancelled, hence no cancellation leaves it.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(to_writer)
            ways = [
                asyncio.create_task(self._pass_on(reader, to_writer, answers=False)),
                asyncio.create_task(self._pass_on(to_reader, writer, answers=True)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                to_writer.transport.abort()
                self._writers.discard(to_writer)
        writer.transport.abort()
        self._writers.discard(writer)
        self._connections.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await asyncio.sleep(self.delay)
                await self._open.wait()
                if answers and self.cut_when and self.cut_when(chunk):
                    self.cut_when = None
                    return
                writer.write(chunk)
                await writer.drain()
