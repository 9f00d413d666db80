"""The visitors of the scenarios: one function for each kind of request, which fills in what came of it.

A kind raises OSError or TimeoutError when it did not end well; who calls it notes that. Every answer is looked at
whole: the tenant's name and instance stand in its fields *and* in its body, with the request's own id.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bench.lifecycle import wire
from bench.lifecycle.application import bulk
from bench.lifecycle.verdict import Visit
from bench.lifecycle.wire import Answer, Streams

MOST: Final = 200_000
"""Bytes of an upload, at the most."""
_SLOW_PIECES: Final = 40
"""Pieces of ten megabytes."""


@dataclass
class Visitors:
    """What all visits need: where the proxies listen, chance, numbers, and how long the long ones take."""

    ports: list[int]
    chance: random.Random
    long: float = 4.0
    """Seconds for which slow downloads and silent WebSockets last: longer than any idle timeout."""
    patience: float = 90.0
    """Seconds after which no answer comes any more."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def visit(self, kind: str, tenant: str) -> Visit:
        """A visit to be made, through one proxy or the other."""
        number = next(self.numbers)
        return Visit(kind, tenant, number % len(self.ports), f"{tenant}-{kind}-{number}")

    async def make(self, visit: Visit) -> None:
        """Make it: what came of it stands in ``visit``; nothing is raised."""
        clock = asyncio.get_running_loop().time
        visit.sent = clock()
        try:
            async with asyncio.timeout(self.patience), wire.connected(self.ports[visit.proxy]) as streams:
                await KINDS[visit.kind](self, visit, streams)
        except (OSError, TimeoutError, ValueError, KeyError, asyncio.LimitOverrunError) as error:
            visit.trouble = f"{type(error).__name__}: {error}"
        visit.ended = clock()


Kind = Callable[[Visitors, Visit, Streams], Awaitable[None]]


async def _get(_visitors: Visitors, visit: Visit, streams: Streams) -> None:
    reader, writer = streams
    writer.write(wire.request("GET", f"/echo/{visit.id}", _host(visit), "Accept: */*"))
    answer = await _answered(visit, reader)
    if answer.status == 200:
        _compare(visit, answer, f"{visit.tenant} {visit.instance} {visit.id}\n".encode())


async def _page(_visitors: Visitors, visit: Visit, streams: Streams) -> None:
    reader, writer = streams
    fields = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html,*/*;q=0.8")
    writer.write(wire.request("GET", f"/echo/{visit.id}", _host(visit), *fields))
    answer = await _answered(visit, reader)
    if answer.status == 200:
        _compare(visit, answer, f"{visit.tenant} {visit.instance} {visit.id}\n".encode())


async def _post(visitors: Visitors, visit: Visit, streams: Streams) -> None:
    reader, writer = streams
    body = visitors.chance.randbytes(visitors.chance.choice((1, 300, 5000, MOST)))
    head = wire.request("POST", f"/take/{visit.id}", _host(visit), f"Content-Length: {len(body)}")
    await _taken(visit, streams, reader, body, lambda: writer.write(head + body))


async def _chunked(visitors: Visitors, visit: Visit, streams: Streams) -> None:
    """A body in chunks that come one after the other, as it is made."""
    reader, writer = streams
    chance = visitors.chance
    pieces = [chance.randbytes(chance.randrange(1, MOST // 10)) for _ in range(chance.randrange(1, 8))]

    async def send() -> None:
        writer.write(wire.request("POST", f"/take/{visit.id}", _host(visit), "Transfer-Encoding: chunked"))
        for piece in pieces:
            writer.write(wire.chunk(piece))
            # Who was answered early does not listen any more.
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(chance.random() * 0.04)
        writer.write(wire.chunk(b""))

    await _taken(visit, streams, reader, b"".join(pieces), send)


async def _taken(
    visit: Visit,
    streams: Streams,
    reader: asyncio.StreamReader,
    body: bytes,
    send: Callable[[], Awaitable[None] | None],
) -> None:
    visit.digest = hashlib.sha256(body).hexdigest()
    sending = send()
    if sending is not None:
        await sending
    del streams
    answer = await _answered(visit, reader)
    if answer.status == 200:
        _compare(visit, answer, f"{visit.tenant} {visit.instance} {visit.id} {visit.digest} {len(body)}\n".encode())


async def _bulk(visitors: Visitors, visit: Visit, streams: Streams) -> None:
    await _download(visitors, visit, streams, 0.0)


async def _slow_bulk(visitors: Visitors, visit: Visit, streams: Streams) -> None:
    """Ten megabytes, taken slowly: for longer than the tenant's idle timeout."""
    await _download(visitors, visit, streams, visitors.long / _SLOW_PIECES)


async def _download(_visitors: Visitors, visit: Visit, streams: Streams, pause: float) -> None:
    reader, writer = streams
    writer.write(wire.request("GET", f"/bulk/{visit.id}", _host(visit)))
    pace = (lambda: asyncio.sleep(pause)) if pause else None
    answer = await _answered(visit, reader, pace)
    if answer.status == 200:
        _compare(visit, answer, bulk(f"{visit.tenant} {visit.instance} {visit.id}\n".encode()))


async def _socket(_visitors: Visitors, visit: Visit, streams: Streams) -> None:
    await _tunnel(visit, streams, 0.05)


async def _long_socket(visitors: Visitors, visit: Visit, streams: Streams) -> None:
    """A WebSocket that says nothing for longer than the tenant's idle timeout, and is there all the same."""
    await _tunnel(visit, streams, visitors.long)


async def _tunnel(visit: Visit, streams: Streams, silence: float) -> None:
    reader, writer = streams
    writer.write(wire.upgrade(f"/socket/{visit.id}", _host(visit)))
    answer = await _answered(visit, reader)
    if answer.status != 101:
        return
    for word in (b"one", b"two"):
        writer.write(wire.message(word))
        _, said = await wire.read_message(reader)
        wanted = f"{visit.tenant} {visit.instance} {visit.id} {word.decode()}\n".encode()
        if said != wanted:
            visit.wrong = f"the WebSocket said {said!r} instead of {wanted!r}"
            return
        if word == b"one":
            await asyncio.sleep(silence)
    writer.write(wire.message(b"", 8))


KINDS: Final[dict[str, Kind]] = {
    "get": _get,
    "page": _page,
    "post": _post,
    "chunked": _chunked,
    "bulk": _bulk,
    "slow-bulk": _slow_bulk,
    "socket": _socket,
    "long-socket": _long_socket,
}
QUICK: Final = {"get": 6, "page": 3, "post": 4, "chunked": 3, "bulk": 1, "socket": 2}
"""The kinds that are over at once, and how often each is chosen."""
LONG: Final = ("slow-bulk", "long-socket")
"""The kinds that last for longer than an idle timeout."""


def _host(visit: Visit) -> str:
    return f"{visit.tenant}.localhost"


async def _answered(
    visit: Visit, reader: asyncio.StreamReader, pace: Callable[[], Awaitable[object]] | None = None
) -> Answer:
    """Read an answer, and note what it says of itself."""
    answer = await wire.read_head(reader)
    visit.first_byte = asyncio.get_running_loop().time()
    visit.status = answer.status
    visit.whose, visit.instance = answer.fields.get("x-tenant", ""), answer.fields.get("x-instance", "")
    visit.retry_after = answer.fields.get("retry-after", "")
    visit.under_way = bool(visit.whose)
    if answer.status == 101:
        return answer
    await wire.read_body(reader, answer, pace)
    kind = answer.fields.get("content-type", "")
    if kind == "application/problem+json":
        visit.code = str(json.loads(answer.body)["code"])
    visit.page = kind.startswith("text/html")
    return answer


def _compare(visit: Visit, answer: Answer, wanted: bytes) -> None:
    if answer.body == wanted:
        return
    at = next((at for at, (is_, should) in enumerate(zip(answer.body, wanted, strict=False)) if is_ != should), None)
    visit.wrong = (
        f"{len(answer.body)} bytes instead of {len(wanted)}"
        if at is None
        else f"from byte {at} on {answer.body[at : at + 60]!r} instead of {wanted[at : at + 60]!r}"
    )
