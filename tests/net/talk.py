"""HTTP/1.1 as the tests speak it: a small strict reader for both sides, and applications made of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

LIMIT = 10.0
"""Seconds after which a wait in a test has failed; nothing waits that long otherwise."""


@dataclass
class Message:
    """One message as it stood on the wire."""

    start: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start.split(" ")[1])

    def get(self, name: str) -> str | None:
        """The value of a field; it must not be there twice."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else None


async def _lines(reader: asyncio.StreamReader) -> list[str]:
    lines = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        lines.append(line[:-2].decode("latin-1"))
    return lines


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


async def read_message(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Message:
    """One request or response with its body. Raises IncompleteReadError when it is cut short."""
    async with asyncio.timeout(LIMIT):
        start, *rest = await _lines(reader)
        message = Message(start, _pairs(rest))
        is_response = start.startswith("HTTP/")
        if bodiless or (is_response and (message.status < 200 or message.status in (204, 304))):
            return message
        if message.get("Transfer-Encoding") == "chunked":
            assert message.get("Content-Length") is None
            while size := int(await reader.readuntil(b"\r\n"), 16):
                message.body += await reader.readexactly(size)
                assert await reader.readexactly(2) == b"\r\n"
            message.trailers = _pairs(await _lines(reader))
        elif (length := message.get("Content-Length")) is not None:
            message.body = await reader.readexactly(int(length))
        elif is_response:
            message.body = await reader.read(-1)
    return message


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class App:
    """An application that answers every request with ``response`` and keeps what it saw.

    With an empty ``response`` the test answers by hand on ``writers[-1]``.
    """

    def __init__(self, response: bytes = OK) -> None:
        self.response = response
        self.seen: list[Message] = []
        self.connections = 0
        self.lost = 0
        """Connections that the proxy has ended, in whatever way."""
        self.writers: list[asyncio.StreamWriter] = []
        self.readers: list[asyncio.StreamReader] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.readers.append(reader)
        try:
            while True:
                self.seen.append(await self.receive(reader))
                if self.response:
                    writer.write(self.response)
                    await writer.drain()
        finally:
            self.lost += 1

    async def heard(self, count: int) -> Message:
        """Wait until it has heard so many requests; the last of these."""
        await until(lambda: len(self.seen) >= count)
        return self.seen[count - 1]

    async def receive(self, reader: asyncio.StreamReader) -> Message:
        """Wait for the next request, however long the test takes to send it."""
        while True:
            with contextlib.suppress(TimeoutError):
                return await read_message(reader)


async def until(condition: Callable[[], object], *, limit: float = LIMIT) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 - any fact, not only events
            await asyncio.sleep(0.002)


def get(path: str = "/", *more: str, host: str = "acme.test") -> bytes:
    """A GET request."""
    return "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {host}", *more, "", "")).encode("latin-1")


def post(body: bytes, *more: str, host: str = "acme.test") -> bytes:
    """A POST request."""
    return (
        "\r\n".join(("POST / HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *more, "", "")).encode() + body
    )


NAVIGATES = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")
