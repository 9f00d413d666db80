"""The backend of uploads: reads a body, keeps nothing of it, and answers with its length when all of it is there.

It understands what proxies send it here, heads that arrive before their body, with Content-Length or chunked, and is
no HTTP server beyond that.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from bench.backends.listening import serve

_BUFFER: Final = 256 * 1024
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class Sink(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER)
        self._head = b""
        self._left = -1
        """Bytes that are missing of the body; -1 between requests; of a chunked one its end is looked for."""
        self._chunked = False
        self._tail = b""
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes go: always the same place."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came."""
        if self._left < 0:
            self._head += self._buffer[:nbytes]
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._begin(head.lower(), body)
        elif self._chunked:
            # The body of the bench is all zeros, so that what looks like its end is.
            self._tail = (self._tail + self._buffer[max(0, nbytes - len(_LAST_CHUNK)) : nbytes])[-len(_LAST_CHUNK) :]
            self._size += nbytes
            self._left = 0 if self._tail == _LAST_CHUNK else 1
        else:
            self._size += nbytes
            self._left -= nbytes
        if self._left == 0:
            self._answer()

    def _begin(self, head: bytes, body: bytes) -> None:
        self._head, self._size = b"", len(body)
        if b"\r\nexpect:" in head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        self._chunked = b"\r\ntransfer-encoding:" in head
        if self._chunked:
            # The head's end stands for that of a chunk before: an empty body is a last chunk alone.
            self._tail = (b"\r\n" + body)[-len(_LAST_CHUNK) :]
            self._left = 0 if self._tail == _LAST_CHUNK else 1
        else:
            self._left = int(length or 0) - len(body)

    def _answer(self) -> None:
        text = b"%d" % self._size
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text))
        self._transport.write(text)
        self._left = -1


if __name__ == "__main__":
    serve(Sink)
