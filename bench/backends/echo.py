"""The WebSocket backend: a handshake, then every message of 100 bytes back, unmasked as RFC 6455 section 5.1 has it.

The load masks with zeros (it is a measurement, not the web), so a payload is what it looks like and costs nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import cast

from bench.backends.listening import serve
from bench.frames import CLIENT_FRAME, MAGIC, SERVER_FRAME


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._pending = 0
        """Bytes of a message that is not whole yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Shake hands once; from then on a frame back for each that is whole."""
        if self._head is None:
            if data == CLIENT_FRAME and not self._pending:
                self._transport.write(SERVER_FRAME)
                return
            frames, self._pending = divmod(self._pending + len(data), len(CLIENT_FRAME))
            self._transport.write(SERVER_FRAME * frames)
            return
        self._head += data
        head, end, early = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        if b"websocket" not in head.lower():
            # A proxy that is asked whether it works yet.
            self._transport.write(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
            self._head = b""
            return
        self._head = None
        self._transport.write(_accepted(head))
        if early:
            self.data_received(early)


def _accepted(head: bytes) -> bytes:
    fields = dict(line.split(b":", 1) for line in head.split(b"\r\n")[1:])
    key = next(value.strip() for name, value in fields.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


if __name__ == "__main__":
    serve(Echo)
