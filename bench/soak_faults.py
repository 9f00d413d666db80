"""The visits of the soak in which something goes wrong on purpose.

Visitors leave, applications break, requests are no requests. Each has its right outcome too, and anything else counts
as a wrong answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from bench.soak_visits import LARGE, Visit, Visitor, check, echo, request, reset
from tests.net.talk import read_message

_BREAKING_OFF: Final = ("close-length", "reset-length", "close-chunked", "reset-chunked")
_BEGINNING_WRONG: Final = (
    *("close-head", "reset-head"),
    *("invalid-garbage", "invalid-two-lengths", "invalid-folded", "invalid-nul"),
)
_BROKEN: Final = (asyncio.IncompleteReadError, ConnectionError)
_TO_GOOD: Final = b" / HTTP/1.1\r\nHost: good.localhost\r\n"
_NO_REQUESTS: Final = (
    b"POST" + _TO_GOOD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST" + _TO_GOOD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"POST" + _TO_GOOD + b"Transfer-Encoding: gzip\r\n\r\n",
    b"POST" + _TO_GOOD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"GET" + _TO_GOOD + b"X-A: 1\r\n 2\r\n\r\n",
    b"GET" + _TO_GOOD + b"X-A: \x00\r\n\r\n",
    b"GET" + _TO_GOOD + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + _TO_GOOD[2:] + b"\r\n",
    b"GET / HTTP/1.1\r\nHost : good.localhost\r\n\r\n",
    b"GET / HTTP/1.1\nHost: good.localhost\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
_REFUSED: Final = frozenset({400, 405, 413, 414, 431, 501, 505})


async def leaves(visitor: Visitor) -> None:
    """A visitor who leaves somewhere on the way, in peace or with a reset."""
    name = visitor.name()
    download = request("GET", f"/text/{name}?size={LARGE}")
    said, heard = visitor.random.choice(
        [
            (b"", 0),
            (download[:30], 0),
            (download, 0),
            (download, 1),
            (download * 5, 100_000),
            (request("POST", f"/digest/{name}", "Content-Length: 1000000") + b"x" * 100_000, 0),
            (request("POST", f"/digest/{name}", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n5\r\nhel", 0),
            (request("GET", f"/text/{name}?pause=0.2"), 0),
            (request("GET", f"/silence/{name}", host="bad"), 0),
            (request("GET", f"/events/{name}"), 100),
        ]
    )
    async with visitor.connection() as (reader, writer):
        writer.write(said)
        if heard:
            await reader.readexactly(heard)
        else:
            await asyncio.sleep(visitor.random.random() * 0.02)
        if visitor.random.random() < 0.5:
            reset(writer)


async def leaves_socket(visitor: Visitor) -> None:
    """The same with a WebSocket, in the middle of a message."""
    async with echo(visitor) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        ws.transport.write(b"\x82\xfe\xff\xff")
        ws.transport.abort()


async def early(visitor: Visitor) -> None:
    """An answer before the request is sent."""
    async with visitor.connection() as (reader, writer):
        name = visitor.name()
        writer.write(request("POST", f"/early/{name}", f"Content-Length: {LARGE}") + b"x" * 10_000)
        check(await read_message(reader), 413, name.encode())
        # Whatever else is sent, no second answer comes.
        with contextlib.suppress(ConnectionError):
            writer.write(b"x" * 100_000)
            assert await reader.read() == b""


async def breaks(visitor: Visitor) -> None:
    """An application that breaks its answer off, or never begins a valid one."""
    manner = visitor.random.choice((*_BREAKING_OFF, *_BEGINNING_WRONG, "badchunk"))
    async with visitor.connection() as (reader, writer):
        writer.write(request("GET", f"/{manner}/{visitor.name()}", host="bad"))
        try:
            answer = await read_message(reader)
        except _BROKEN:
            assert manner not in _BEGINNING_WRONG, f"{manner}: broken off, and nothing had begun"
        else:
            # What is wrong may come together with the beginning: then nothing was passed on.
            assert answer.status == 502, f"{manner}: {answer.start} with {len(answer.body)} bytes"
            assert manner not in _BREAKING_OFF, f"{manner}: {answer.start}"


async def behaves(visitor: Visitor) -> None:
    """The same application, answering right in odd ways: a byte at a time, with bytes too many."""
    async with visitor.connection() as (reader, writer):
        for manner in ("fine", "dribble", "surplus", "fine"):
            name = visitor.name()
            writer.write(request("GET", f"/{manner}/{name}", host="bad"))
            check(await read_message(reader), 200, name.encode())


async def stale(visitor: Visitor) -> None:
    """An application that closes a kept connection: before the next request, or under it."""
    async with visitor.connection() as (reader, writer):
        for manner in ("poison", "last", "fine"):
            name = visitor.name()
            writer.write(request("GET", f"/{manner}/{name}", host="stale"))
            check(await read_message(reader), 200, name.encode())
            await asyncio.sleep(visitor.random.random() * 0.003)


async def silence(visitor: Visitor) -> None:
    """An application that does not answer, one that is not there, and one that nobody knows."""
    for host, status in (("away", 502), ("nobody", 404), ("bad", 504)):
        async with visitor.connection() as (reader, writer):
            writer.write(request("GET", f"/silence/{visitor.name()}", host=host))
            answer = await read_message(reader)
            assert answer.status == status, f"{host}: {answer.start}"


async def refused(visitor: Visitor) -> None:
    """What is no request is refused, and nothing behind it is taken for one."""
    behind = request("GET", f"/text/{visitor.name()}")
    bad = visitor.random.choice(_NO_REQUESTS)
    async with visitor.connection() as (reader, writer):
        writer.write(bad + behind)
        answer = await read_message(reader)
        assert answer.status in _REFUSED, f"{bad[:60]!r}: {answer.start}"
        assert await reader.read() == b"", f"{bad[:60]!r}: something was answered behind it"


FAULTS: Final[dict[Visit, int]] = {
    leaves: 4,
    leaves_socket: 1,
    early: 1,
    breaks: 3,
    behaves: 1,
    stale: 1,
    silence: 2,
    refused: 2,
}
"""The kinds, and how many visitors each has at a time."""
