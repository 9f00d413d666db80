"""HTTP and WebSockets as the visitors of the scenarios speak them: little, strict, and patient with who holds them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_PIECE: Final = 1 << 16
_BUFFER: Final = 1 << 18


@dataclass
class Answer:
    """An answer's head, and its body as far as it has been read."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@contextlib.asynccontextmanager
async def connected(port: int, source: str | None = None) -> AsyncIterator[Streams]:
    """A connection to a proxy, from loopback address ``source`` where one is named."""
    local = None if source is None else (source, 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local, limit=_BUFFER)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def request(method: str, target: str, host: str, *fields: str) -> bytes:
    """A request's head."""
    return "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", "")).encode("ascii")


async def read_head(reader: asyncio.StreamReader) -> Answer:
    """The head of the next answer; interim answers are passed over. ConnectionError when none comes."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"the connection ended, after {len(error.partial)} bytes of a head") from None
        start, *lines = head[:-4].decode("latin-1").split("\r\n")
        answer = Answer(int(start.split(" ")[1]))
        for line in lines:
            name, _, value = line.partition(":")
            answer.fields[name.lower()] = value.strip()
        if answer.status >= 200 or answer.status == 101:
            return answer


async def read_body(
    reader: asyncio.StreamReader, answer: Answer, pace: Callable[[], Awaitable[object]] | None = None
) -> None:
    """The body behind a head with Content-Length, ``pace`` awaited between pieces. ConnectionError when it is cut."""
    size = int(answer.fields["content-length"])
    body = bytearray()
    while len(body) < size:
        piece = await reader.read(min(_PIECE * 4, size - len(body)))
        if not piece:
            raise ConnectionError(f"the body was cut after {len(body)} of {size} bytes")
        body += piece
        if pace is not None:
            await pace()
    answer.body = bytes(body)


def chunk(piece: bytes) -> bytes:
    """One chunk of a body; an empty piece ends it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


# The WebSocket's side: short messages only.


def upgrade(target: str, host: str) -> bytes:
    """The handshake's head."""
    key = base64.b64encode(os.urandom(16)).decode()
    fields = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
    return request("GET", target, host, *fields)


def message(payload: bytes, kind: int = 2) -> bytes:
    """A client's frame, masked with zeros, which leaves the payload as it is."""
    return bytes((0x80 | kind, 0x80 | len(payload))) + bytes(4) + payload


async def read_message(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The kind and the payload of the next frame. ConnectionError when none comes."""
    try:
        first, size = await reader.readexactly(2)
        return first & 0x0F, await reader.readexactly(size & 0x7F)
    except asyncio.IncompleteReadError:
        raise ConnectionError("the WebSocket was cut") from None
