"""A TCP relay with faults on demand: between a program under test and a server, it cuts, freezes, delays and refuses.

It works in a thread with a loop of its own, so that tests of any kind, and processes, can use it; its methods return
when what they ask for has been done.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

from tests.rig.ports import free_port

_CHUNK = 1 << 16


class FaultRelay:
    """Listens on `port` and passes everything on to the target, until told otherwise."""

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.accepted = 0
        """How many connections were accepted so far."""
        self.passed = 0
        """How many bytes were passed on so far, in both directions."""
        self._target = (target_host, target_port)
        self._delay = 0.0
        self._cut_at: int | None = None
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"relay {self.port}", daemon=True)
        self._thread.start()
        self._do(self._listen())

    @property
    def endpoint(self) -> str:
        """Host and port to connect to."""
        return f"127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections it holds now."""
        return len(self._connections)

    def cut(self) -> None:
        """Reset all connections; new ones are accepted."""
        self._do(self._cut())

    def cut_after(self, passed: int) -> None:
        """Reset all connections once, as soon as that many bytes more were passed on."""
        self._cut_at = self.passed + passed

    def freeze(self) -> None:
        """Pass nothing on, while connections stay open and new ones are accepted: a half-open path."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def delay(self, seconds: float) -> None:
        """Hold each piece for this long before it is passed on."""
        self._delay = seconds

    def refuse(self) -> None:
        """Reset all connections and accept no new ones."""
        self._do(self._refuse())

    def restore(self) -> None:
        """Pass everything on again; what was held back by a freeze goes first."""
        self._delay = 0.0
        self._cut_at = None
        self._do(self._listen())
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """End it with all its connections."""
        self._do(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        connections = [task for task in self._connections if task is not asyncio.current_task()]
        for task in connections:
            for writer in self._connections[task]:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task
        self._connections[task] = (writer,)
        try:
            # A server that is not there looks to the client as it would without the relay, but one step later.
            with contextlib.suppress(OSError):
                onward_reader, onward_writer = await asyncio.open_connection(*self._target)
                self._connections[task] = (writer, onward_writer)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass_on(reader, onward_writer))
                    both.create_task(self._pass_on(onward_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in self._connections.pop(task):
                end.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            if self._cut_at is not None and self.passed + len(piece) >= self._cut_at:
                self._cut_at = None
                for writers in self._connections.values():
                    for end in writers:
                        _reset(end)
                return
            # Counted before the other side can know of it.
            self.passed += len(piece)
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once and with RST, as a vanished host's kernel would."""
    with contextlib.suppress(OSError):
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
