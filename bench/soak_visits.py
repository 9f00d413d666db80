"""The visits of the soak whose every answer must be whole and right: one function a kind.

A visit raises AssertionError when an answer is not what the request asked for; whatever else it raises is as wrong.
`bench.soak_faults` has the visits in which something goes wrong on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from websockets.asyncio.client import connect

from bench.soak_application import digest, text
from tests.net.talk import Message, read_message

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LARGE: Final = 2_000_000
_SMALL_WINDOW: Final = 4096


@dataclass
class Visitor:
    """What one visit needs: where gogeta listens, and names and chance of its own."""

    port: int
    random: random.Random
    numbers: Iterator[int] = field(default_factory=itertools.count)
    prefix: str = "v"

    def name(self) -> str:
        """A name that no other request has."""
        return f"{self.prefix}-{next(self.numbers)}"

    @contextlib.asynccontextmanager
    async def connection(self, *, slow: bool = False) -> AsyncIterator[Streams]:
        """A connection to gogeta; a slow one takes little at a time."""
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if slow:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_WINDOW)
        endpoint.setblocking(False)  # noqa: FBT003 - the socket module's own
        try:
            await asyncio.get_running_loop().sock_connect(endpoint, ("127.0.0.1", self.port))
        except BaseException:
            endpoint.close()
            raise
        reader, writer = await asyncio.open_connection(sock=endpoint)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


Visit = Callable[[Visitor], Awaitable[None]]


def request(method: str, path: str, *fields: str, host: str = "good", version: str = "1.1") -> bytes:
    """A request's head."""
    return "\r\n".join((f"{method} {path} HTTP/{version}", f"Host: {host}.localhost", *fields, "", "")).encode()


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of ``size``, the last one shorter."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def check(answer: Message, status: int, body: bytes) -> None:
    """The answer must be that."""
    assert answer.status == status, f"{answer.start} instead of {status}: {answer.body[:200]!r}"
    assert answer.body == body, f"{len(answer.body)} bytes {answer.body[:60]!r}, not {len(body)} bytes {body[:60]!r}"


def reset(writer: asyncio.StreamWriter) -> None:
    """Leave with a reset."""
    endpoint: socket.socket = writer.get_extra_info("socket")
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def echo(visitor: Visitor) -> connect:
    """A WebSocket whose messages come back, as a context manager."""
    url = f"ws://good.localhost:{visitor.port}/echo"
    return connect(url, host="127.0.0.1", port=visitor.port, proxy=None, max_size=None)


async def small(visitor: Visitor) -> None:
    """Twenty requests on one connection."""
    async with visitor.connection() as (reader, writer):
        for _ in range(20):
            name, size = visitor.name(), visitor.random.randrange(3000)
            writer.write(request("GET", f"/text/{name}?size={size}"))
            check(await read_message(reader), 200, text(name, size))


async def forms(visitor: Visitor) -> None:
    """HEAD, 204, 304 and HTTP/1.0."""
    async with visitor.connection() as (reader, writer):
        name = visitor.name()
        writer.write(request("HEAD", f"/text/{name}?size=777"))
        answer = await read_message(reader, bodiless=True)
        assert (answer.status, answer.get("Content-Length")) == (200, "777"), answer
        writer.write(request("GET", f"/nothing/{name}"))
        answer = await read_message(reader)
        assert (answer.status, answer.get("X-Name")) == (204, name), answer
        writer.write(request("GET", f"/text/{name}", f'If-None-Match: "{name}"'))
        answer = await read_message(reader)
        assert (answer.status, answer.get("ETag")) == (304, f'"{name}"'), answer
        writer.write(request("GET", f"/text/{name}?size=70000&chunked", version="1.0"))
        answer = await read_message(reader)
        assert answer.get("Transfer-Encoding") is None
        check(answer, 200, text(name, 70_000))
        assert await reader.read() == b""


async def large(visitor: Visitor) -> None:
    """A large answer with its length."""
    await _download(visitor, LARGE, "")


async def large_chunked(visitor: Visitor) -> None:
    """A large answer in chunks."""
    await _download(visitor, LARGE, "&chunked")


async def _download(visitor: Visitor, size: int, query: str) -> None:
    async with visitor.connection() as (reader, writer):
        for _ in range(2):
            name = visitor.name()
            writer.write(request("GET", f"/text/{name}?size={size}{query}"))
            check(await read_message(reader), 200, text(name, size))


async def upload(visitor: Visitor) -> None:
    """A large request with its length, and the next one behind it."""
    body = visitor.random.randbytes(LARGE)
    async with visitor.connection() as (reader, writer):
        for _ in range(2):
            name = visitor.name()
            writer.write(request("POST", f"/digest/{name}", f"Content-Length: {len(body)}") + body)
            check(await read_message(reader), 200, digest(name, body))


async def upload_chunked(visitor: Visitor) -> None:
    """A large request in chunks of odd sizes, and the next one behind it."""
    body = visitor.random.randbytes(LARGE // 4)
    async with visitor.connection() as (reader, writer):
        for size in (visitor.random.randrange(50, 2000), 65_537):
            name = visitor.name()
            writer.write(request("POST", f"/digest/{name}", "Transfer-Encoding: chunked") + chunked(body, size))
            check(await read_message(reader), 200, digest(name, body))


async def expect(visitor: Visitor) -> None:
    """The body is sent when the application wants it."""
    body = visitor.random.randbytes(10_000)
    async with visitor.connection() as (reader, writer):
        name = visitor.name()
        writer.write(
            request(
                "POST", f"/digest/{name}", f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close"
            )
        )
        assert (await read_message(reader)).status == 100
        writer.write(body)
        check(await read_message(reader), 200, digest(name, body))


async def pipelined(visitor: Visitor) -> None:
    """Requests of several kinds in one write, answered in their order."""
    wanted, asked = [], []
    for number in range(20):
        name = visitor.name()
        if number % 3:
            size = visitor.random.randrange(20_000)
            asked.append(request("GET", f"/text/{name}?size={size}{'&chunked' * (number % 2)}"))
            wanted.append(text(name, size))
        else:
            body = visitor.random.randbytes(5000)
            asked.append(request("POST", f"/digest/{name}", "Transfer-Encoding: chunked") + chunked(body, 999))
            wanted.append(digest(name, body))
    async with visitor.connection() as (reader, writer):
        writer.write(b"".join(asked))
        for body in wanted:
            check(await read_message(reader), 200, body)


async def websocket(visitor: Visitor) -> None:
    """An echo of messages of all sizes."""
    async with echo(visitor) as ws:
        for _ in range(20):
            size = visitor.random.choice((0, 10, 1000, 70_000, 300_000))
            message = text(visitor.name(), size)
            await ws.send(message if size % 3 else message.decode())
            heard = await ws.recv()
            assert (heard.encode() if isinstance(heard, str) else heard) == message, f"{len(heard)} instead of {size}"


async def slow_reader(visitor: Visitor) -> None:
    """An answer that is taken in small parts."""
    async with visitor.connection(slow=True) as (reader, writer):
        name = visitor.name()
        writer.write(request("GET", f"/text/{name}?size={LARGE // 4}", "Connection: close"))
        await reader.readuntil(b"\r\n\r\n")
        body = b""
        while piece := await reader.read(30_000):
            body += piece
            await asyncio.sleep(0.05)
        assert body == text(name, LARGE // 4), f"{len(body)} bytes"


async def slow_writer(visitor: Visitor) -> None:
    """A request that comes in small parts, from within its head on."""
    body = visitor.random.randbytes(3000)
    name = visitor.name()
    whole = request("POST", f"/digest/{name}", f"Content-Length: {len(body)}") + body
    async with visitor.connection() as (reader, writer):
        for start in range(0, len(whole), 100):
            writer.write(whole[start : start + 100])
            await asyncio.sleep(0.02)
        check(await read_message(reader), 200, digest(name, body))


async def half_closed(visitor: Visitor) -> None:
    """A visitor who has said all."""
    async with visitor.connection() as (reader, writer):
        name = visitor.name()
        writer.write(request("GET", f"/text/{name}?size=100000&pause=0.01"))
        writer.write_eof()
        check(await read_message(reader), 200, text(name, 100_000))
        assert await reader.read() == b""


GOOD: Final[dict[Visit, int]] = {
    small: 4,
    forms: 1,
    large: 1,
    large_chunked: 1,
    upload: 1,
    upload_chunked: 1,
    expect: 1,
    pipelined: 2,
    websocket: 2,
    slow_reader: 4,
    slow_writer: 4,
    half_closed: 1,
}
"""The kinds, and how many visitors each has at a time."""
