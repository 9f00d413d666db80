"""Visitors: each asks for one thing, waits as long as it takes, and says what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.simulation.network import AnswerReader, Transport, reason_of
from tests.simulation.parts import ProxyPart
from tests.simulation.world import World

OWN: Final = "own"
"""The tenant's own answer, complete."""
BROKEN: Final = "broken"
"""The connection ended before the answer was complete."""
LEFT: Final = "left"
"""The visitor had gone before."""
NOBODY: Final = "nobody"
"""No proxy took the connection."""
PAGE: Final = "page"


@dataclass(slots=True, eq=False)
class Request:
    """One request, from its first byte to its end."""

    number: int
    tenant: str
    kind: str
    """``get``, ``navigation``, ``post``, ``download``, ``socket``."""
    seconds: float
    """How long the application takes for it."""
    proxy: str
    began: float
    """Scheduler time."""
    instance: str = ""
    """The start of the container whose application has it, or had it last."""
    ended: float | None = None
    outcome: str = ""
    answered_by: str = ""

    def __str__(self) -> str:
        return f"request {self.number} ({self.kind} of {self.tenant}, {self.seconds:.2f} s, by {self.proxy})"


class Visitor:
    """The far end of a connection to a proxy, with one request."""

    def __init__(self, world: World, request: Request, done: Callable[[Request], None]) -> None:
        self._world = world
        self.request = request
        self._done = done
        self._reader = AnswerReader()
        self._transport: Transport | None = None
        self._open = False

    def ask(self, proxy: ProxyPart) -> None:
        """Connect and send the request."""
        transport = proxy.accept(self)
        if transport is None:
            self._end(NOBODY)
            return
        self._transport = transport
        self._world.scheduler.after(0.0002, transport.deliver, self._bytes())

    def _bytes(self) -> bytes:
        request = self.request
        target = f"/{request.kind}/{request.number}/{request.seconds:.3f}"
        fields = [f"Host: {request.tenant}.example"]
        method, body = "GET", ""
        match request.kind:
            case "navigation":
                fields += ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]
            case "post":
                method, body = "POST", "body"
                fields.append("Content-Length: 4")
            case "socket":
                fields += ["Connection: Upgrade", "Upgrade: websocket"]
        return (
            f"{method} {target} HTTP/1.1\r\n{''.join(line + chr(13) + chr(10) for line in fields)}\r\n{body}".encode()
        )

    def leave(self) -> None:
        """Close, whatever has come so far."""
        if self.request.ended is None:
            self._close(LEFT)

    def received(self, data: bytes) -> None:
        """See ``Peer``."""
        if self.request.ended is not None:
            return
        self._reader.feed(data)
        answer = self._reader.answer
        if answer.switched and not self._open:
            self._open = True
            self.request.answered_by = answer.fields.get("x-tenant", "")
            self._world.scheduler.after(self.request.seconds, self._hang_up)
        elif answer.complete:
            self.request.answered_by = answer.fields.get("x-tenant", "")
            self._close(OWN if answer.status == 200 else reason_of(answer))

    def _hang_up(self) -> None:
        if self.request.ended is None:
            self._close(OWN)

    def closed(self) -> None:
        """See ``Peer``."""
        if self.request.ended is None:
            self._end(BROKEN)

    def _close(self, outcome: str) -> None:
        self._end(outcome)
        if self._transport is not None:
            self._transport.reset()

    def _end(self, outcome: str) -> None:
        self.request.ended = self._world.scheduler.now
        self.request.outcome = outcome
        self._world.tell("visitor", f"{self.request}: {outcome}")
        self._done(self.request)
