"""A load that counts every failure by its kind: what a visitor would have met while processes come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PATIENCE = 20.0
"""Seconds after which an exchange counts as stuck."""


@dataclass
class Load:
    """Visitors who ask again and again, some on a connection each time, some on one that they keep."""

    port: int
    host: str = "acme.test"
    pause: float = 0.002
    done: int = 0
    closes: int = 0
    """Kept connections whose answer said that it was the last."""
    failures: Counter[str] = field(default_factory=Counter)
    bodies: Counter[bytes] = field(default_factory=Counter)

    @contextlib.asynccontextmanager
    async def running(self, *, fresh: int = 8, kept: int = 8) -> AsyncIterator[Load]:
        """Run while the block does; at its end every exchange under way is finished."""
        stop = asyncio.Event()
        visitors = [asyncio.create_task(self._visit(stop, keep=keep)) for keep in [False] * fresh + [True] * kept]
        try:
            yield self
        finally:
            stop.set()
            await asyncio.gather(*visitors)

    async def more(self, count: int) -> None:
        """Return when so many more exchanges are done."""
        until = self.done + count
        async with asyncio.timeout(60):
            while self.done < until:  # noqa: ASYNC110 - counted by many
                await asyncio.sleep(0.005)

    async def _visit(self, stop: asyncio.Event, *, keep: bool) -> None:
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not stop.is_set():
            step = "connect"
            try:
                async with asyncio.timeout(PATIENCE):
                    if stream is None:
                        stream = await asyncio.open_connection("127.0.0.1", self.port)
                        step = "first request"
                    else:
                        step = "kept connection"
                    last = await self._exchange(*stream, keep=keep)
                self.done += 1
                if last or not keep:
                    self.closes += keep
                    stream[1].close()
                    stream = None
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                self.failures[f"{step}: {type(error).__name__} {error}"] += 1
                if stream is not None:
                    stream[1].close()
                    stream = None
            await asyncio.sleep(self.pause)
        if stream is not None:
            stream[1].close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> bool:
        close = "" if keep else "Connection: close\r\n"
        writer.write(f"GET / HTTP/1.1\r\nHost: {self.host}\r\n{close}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        status = int(head.split(" ")[1])
        if status != 200:
            raise ValueError(f"status {status} {body[:60]!r}")
        self.bodies[body] += 1
        return "connection: close" in head
