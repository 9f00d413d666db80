"""WebSocket messages: ``python -m bench.loads.messages PORT CONNECTIONS SECONDS``.

Each connection sends its next message when the one before has come back, and sees that it is the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

from bench.frames import CLIENT_FRAME, SERVER_FRAME
from bench.stage import HOST

_HANDSHAKE = (
    f"GET /chat HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://{HOST}\r\n\r\n"
).encode()
_PATIENCE = 10.0


class Visitor(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self.count = 0
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_HANDSHAKE)

    def begin(self) -> None:
        """Send the first message."""
        self._transport.write(CLIENT_FRAME)

    def end(self) -> None:
        """Leave."""
        self.ended = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Send the next when this one is whole."""
        if data == SERVER_FRAME and not self._buffer:
            self.count += 1
            self._transport.write(CLIENT_FRAME)
            return
        self._buffer += data
        if not self.open.done():
            head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
            elif not head.startswith(b"HTTP/1.1 101"):
                self.open.set_exception(ValueError(f"answered with {head!r}"))
            else:
                self.open.set_result(None)
        elif len(self._buffer) == len(SERVER_FRAME):
            if self._buffer != SERVER_FRAME:
                raise ValueError(f"not the message that was sent: {self._buffer!r}")
            self._buffer = b""
            self.count += 1
            self._transport.write(CLIENT_FRAME)

    def connection_lost(self, error: Exception | None) -> None:
        """It must not be."""
        if not self.ended and not self.open.done():
            self.open.set_exception(ConnectionError("closed in the handshake"))
        self.lost = not self.ended


async def _drive(port: int, connections: int, seconds: float) -> tuple[int, float, int]:
    loop = asyncio.get_running_loop()
    visitors = [(await loop.create_connection(Visitor, "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.wait_for(asyncio.gather(*(visitor.open for visitor in visitors)), _PATIENCE)
    began = time.perf_counter()
    for visitor in visitors:
        visitor.begin()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    count = sum(visitor.count for visitor in visitors)
    stuck = sum(visitor.count == 0 or getattr(visitor, "lost", False) for visitor in visitors)
    for visitor in visitors:
        visitor.end()
    return count, took, stuck


def main() -> None:
    """Run and print messages, seconds, and how many connections broke or never moved."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    count, took, failed = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_drive(port, connections, seconds))
    print(json.dumps({"count": count, "seconds": took, "failed": failed}))


if __name__ == "__main__":
    main()
