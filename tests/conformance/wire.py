"""Connections without a network: the proxy's own protocols on transports that exist in memory only.

A byte fed here is what ``data_received`` gets, so a message can be split where no kernel would split it, a thousand
times a second. What only a kernel can do (windows, resets under way, time) is tested in tests/net on real sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

_LINGER = struct.pack("ii", 0, 0)


class Descriptor:
    """The socket that every wire shows: a real one, because the product asks the kernel about it by its number."""

    def __init__(self) -> None:
        self._one, self._other = socket.socketpair()
        self._more = False

    def fileno(self) -> int:
        """The number."""
        return self._one.fileno()

    def taken_for_reset(self) -> bool:
        """Whether it has been told to end with a reset since this was asked last."""
        told = self._one.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        self._one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        switched_on: int = struct.unpack("ii", told)[0]
        return switched_on != 0

    def waiting(self, *, more: bool) -> None:
        """Let the kernel say that more bytes wait to be read, or none: what a proxy asks before it reuses."""
        if more != self._more:
            self._more = more
            if more:
                self._other.send(b"x")
            else:
                self._one.recv(1)

    def close(self) -> None:
        """Give both ends back."""
        self._one.close()
        self._other.close()


class Wire(asyncio.Transport):
    """One transport as the proxy sees it, and the hands of who is on its other side."""

    def __init__(self, loop: MemoryLoop, protocol: asyncio.BaseProtocol, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer, "sockname": ("192.0.2.80", 80), "socket": loop.descriptor})
        self._loop = loop
        self._protocol: Any = protocol
        self._held: list[bytes] = []
        self._reading = True
        self.sent = bytearray()
        """All that the proxy has written."""
        self.over = False
        """The proxy writes no more: its side is closed, wholly or by half."""
        self.closing = False
        self.broken = False
        """It has ended with a reset."""
        self.lost = False
        self.on_write: Callable[[], None] = lambda: None
        self.on_over: Callable[[], None] = lambda: None
        protocol.connection_made(self)

    # The other side's hands.

    def feed(self, data: bytes) -> None:
        """Bytes arrive; they wait while the proxy does not read."""
        if self.closing:
            return
        if self._reading and not self._held:
            self._protocol.data_received(data)
        else:
            self._held.append(data)

    def end(self) -> None:
        """The other side sends no more."""
        if not self.closing and not self._protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """The other side breaks the connection off."""
        self._lose(ConnectionResetError("reset by the other side"))

    # asyncio's side.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return] # any protocol

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self._reading and not self.closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._held:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._held and self._reading and not self.closing:
            self._protocol.data_received(self._held.pop(0))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (0, 65536)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.over, "a write behind the end"
        if not self.closing:
            self.sent += data
            self.on_write()

    def writelines(self, list_of_data: Any) -> None:  # noqa: ANN401 - asyncio's own signature is as wide
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._finish()

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        if not self.closing:
            self.broken = self._loop.descriptor.taken_for_reset()
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self.closing:
            self.closing = True
            self._finish()
            self._loop.call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        self.lost = True
        self._protocol.connection_lost(error)

    def _finish(self) -> None:
        if not self.over:
            self.over = True
            self.on_over()


class MemoryLoop(asyncio.SelectorEventLoop):
    """A loop whose outgoing connections are wires: ``on_connect`` is told of each."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = Descriptor()
        self.on_connect: Callable[[Wire], None] = lambda _: None

    async def create_connection(  # type: ignore[override] # only what the product asks for
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *where: Any,  # noqa: ANN401 - asyncio's own signature is as wide
        **more: Any,  # noqa: ANN401 - ditto
    ) -> tuple[Wire, asyncio.BaseProtocol]:
        """Connected at once."""
        protocol = protocol_factory()
        wire = Wire(self, protocol, ("192.0.2.9", 80))
        self.on_connect(wire)
        return wire, protocol

    async def settle(self) -> None:
        """Wait until nothing happens any more without new bytes or time."""
        ready: Any = self._ready  # type: ignore[attr-defined] # what is about to run: no public way to ask
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - there is no event: it is the loop itself that is waited for
            await asyncio.sleep(0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.descriptor.close()
        super().close()
