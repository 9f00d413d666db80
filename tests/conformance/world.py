"""The whole proxy in memory: visitors feed it bytes, a tenant that reads strictly answers, nothing waits.

The product's code is all there; only sockets are replaced (see wire.py). Every request that reaches the tenant is read
twice, by the strictest form there is and by h11, and both must have read the same.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import h11

from gogeta.core.forwarding import Forwarding
from gogeta.domain.state import TenantRecord
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.kit.tasks import Tasks
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.forwarder import Proxy
from gogeta.net.listener import Listener
from gogeta.net.server import Server
from gogeta.settings import ServeSettings
from tests.conformance import strictly
from tests.conformance.strictly import Message
from tests.conformance.wire import MemoryLoop, Wire
from tests.net.stage import RecordingRegistry, Stage

T = TypeVar("T")

STRANGER = "198.51.100.7"
TRUSTED = "10.1.1.1"
DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
"""What the proxy writes where a tenant gave none: fixed, so that whole heads can be compared."""
_BLANK = re.compile(rb"\r\n\r\n")


@dataclass(frozen=True)
class Reply:
    """What the tenant says to one request. ``ends``: and then ``end`` or ``reset``. ``early``: to its head alone."""

    data: bytes
    ends: str = ""
    early: bool = False


OK = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
Answering = Callable[[Message], Reply]
Splitting = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> list[bytes]:
    """In one piece."""
    return [data] if data else []


def bytewise(data: bytes) -> list[bytes]:
    """Every byte by itself."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(*places: int) -> Splitting:
    """In pieces that begin at these places."""

    def split(data: bytes) -> list[bytes]:
        inside = sorted({place for place in places if 0 < place < len(data)})
        return [data[begin:end] for begin, end in zip([0, *inside], [*inside, len(data)], strict=True)]

    return split


class Behind:
    """The tenant's side of one connection."""

    def __init__(self, world: World, wire: Wire) -> None:
        self._world = world
        self.wire = wire
        self.read: list[Message] = []
        """Complete requests."""
        self.partial: Message | None = None
        """The one that has begun."""
        self.error: str | None = None
        self._at = 0
        self._answered = False
        self._busy = False
        self._tunnel = False
        self._deaf = False
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._heard_by_h11 = 0
        wire.on_write = self._hear
        wire.on_over = self._over

    def tunnel(self) -> None:
        """From now on bytes are no requests any more."""
        self._tunnel = True

    def tunnelled(self) -> bytes:
        """What came behind the head of an upgrade."""
        return bytes(self.wire.sent[self._at :])

    def _over(self) -> None:
        if self.error is None and not self._tunnel and not self._deaf:
            self._ask_h11()

    def _hear(self) -> None:
        if self.error is not None or self._tunnel or self._deaf:
            return
        try:
            self._read()
        except strictly.Malformed as error:
            self.error = f"malformed: {error}"

    def _read(self) -> None:
        data = bytes(self.wire.sent)
        if self._busy:
            raise strictly.Malformed("bytes behind a request that is not answered")
        found = strictly.request(data, self._at)
        if found is None:
            return
        message, end = found
        if message.complete:
            if end < len(data):
                raise strictly.Malformed("bytes behind a request")
            self._at, self.partial = end, None
            self._ask_h11(message)
            self.read.append(message)
            self._world.heard.append(message)
            self._busy = True
        else:
            self.partial = message
        if message.complete or not self._answered:
            reply = self._world.answering(message)
            if message.complete:
                if not self._answered:
                    self._say(reply)
                else:
                    self._busy = False
                self._answered = False
            elif reply.early:
                self._answered = True
                self._say(reply)

    def _ask_h11(self, ours: Message | None = None) -> None:
        """The second reader, no friend of ours, must agree."""
        other = self._h11
        data = bytes(self.wire.sent[self._heard_by_h11 :])
        self._heard_by_h11 += len(data)
        body = b""
        request: h11.Request | None = None
        try:
            other.receive_data(data)
            while True:
                event = other.next_event()
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif ours is None:
                    return
                else:
                    raise strictly.Malformed(f"h11 waits: {event}")
        except h11.RemoteProtocolError as error:
            raise strictly.Malformed(f"h11: {error}") from None
        if ours is None or request is None:
            raise strictly.Malformed("h11 reads more")
        if (request.method, request.target, body) != (*ours.start, ours.body):
            raise strictly.Malformed(f"h11 reads {request} {body!r}")
        other.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]))
        other.send(h11.EndOfMessage())
        if other.our_state is h11.DONE:
            other.start_next_cycle()
        else:
            self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)

    def _say(self, reply: Reply) -> None:
        self._world.loop.call_soon(self._speak, reply)

    def _speak(self, reply: Reply) -> None:
        self._busy = False
        if reply.data.startswith(b"HTTP/1.1 101 "):
            self._tunnel = True
        # Who ends behind this answer reads no request that comes before the proxy has heard of the end.
        self._deaf = bool(reply.ends)
        pieces = list(self._world.tenant_splits(reply.data))
        for left, piece in zip(range(len(pieces) - 1, -1, -1), pieces, strict=True):
            # All of it was sent at once: what is not fed yet waits in the kernel.
            self._world.loop.descriptor.waiting(more=left > 0)
            self.wire.feed(piece)
        if reply.ends == "end":
            self.wire.end()
        elif reply.ends == "reset":
            self.wire.reset()


@dataclass
class Outcome:
    """What became of one visitor's bytes."""

    answers: list[Message]
    """Without heralds (1xx)."""
    heralds: list[Message]
    over: bool
    broken: bool
    read: list[Message]
    """Complete requests that the tenant read meanwhile."""
    partial: list[Message]
    """Requests that the tenant read in part."""
    connects: int
    """Connections to the tenant made meanwhile."""
    raw: bytes = field(repr=False, default=b"")

    @property
    def statuses(self) -> list[int]:
        """Of the answers, in order."""
        return [answer.status for answer in self.answers]


class World:
    """A proxy, its tenant ``acme`` and its visitors. Use it as a context manager."""

    def __init__(self, *, hosts: Sequence[str] = ("acme.test", "*.acme.test"), **settings: Any) -> None:  # noqa: ANN401 - settings
        self.loop = MemoryLoop()
        self.loop.on_connect = lambda wire: self.behind.append(Behind(self, wire))
        self.answering: Answering = lambda _: OK
        self.tenant_splits: Splitting = whole
        self.behind: list[Behind] = []
        """All connections to the tenant so far."""
        self.heard: list[Message] = []
        """All requests that the tenant has read, in order."""
        self._visitors: list[Wire] = []
        self._port = 1024
        self._settings = settings
        self._hosts = list(hosts)
        self._record: TenantRecord | None = None
        self.run(self._open())

    def renew(self) -> None:
        """A proxy that has seen nothing takes the place of this one."""
        self.run(self._end())
        self.run(self._open())

    def abandon(self) -> None:
        """End it in whatever state it is."""
        self.run(self._end())
        self.loop.close()

    async def _open(self) -> None:
        self._tasks = Tasks("world")
        self._visitors.clear()
        self.behind.clear()
        self.heard.clear()
        self.tenant_splits = whole
        networks = (ipaddress.ip_network("10.0.0.0/8"),)
        chosen = ServeSettings(listen=Endpoint("192.0.2.80", 80), trusted_proxies=networks, **self._settings)
        registry = RecordingRegistry()
        self.proxy = Proxy(chosen, registry, Forbidden(), self._tasks)  # type: ignore[arg-type] # it plays the registry
        self.proxy.loaded = True
        self.proxy.date = DATE
        self._listener = Listener(Forwarding(chosen.listen.port, chosen.trusted_proxies))
        stage = Stage(self.proxy, Server(self.proxy, chosen.listen), registry)
        if self._record is None:
            stage.declare("acme", endpoint=Endpoint("192.0.2.9", 80), hosts=self._hosts)
            self._record = stage.records["acme"]
        else:
            stage.become("acme", self._record)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop do this."""
        return self.loop.run_until_complete(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._end())
        self.loop.close()
        if error is None:
            assert not self.proxy.connections
            assert not self.proxy.upstreams
            assert [entry for entry in self.proxy.fleet.entries.values() if entry.in_flight or entry.held] == []

    async def _end(self) -> None:
        for wire in [*self._visitors, *(behind.wire for behind in self.behind)]:
            wire.reset()
        await self.loop.settle()
        await self._tasks.close()

    def visitor(self, peer: str = STRANGER) -> Wire:
        """A visitor connects. Only while the loop runs."""
        self._port = 1024 + (self._port - 1023) % 60000
        wire = Wire(self.loop, DownstreamConnection(self.proxy, self._listener), (peer, self._port))
        self._visitors.append(wire)
        return wire

    def hang_up(self) -> None:
        """The tenant ends its connections: whoever comes next meets a new one."""
        self.run(self._hang_up())

    async def _hang_up(self) -> None:
        for behind in self.behind:
            behind.wire.end()
        await self.loop.settle()

    def forget(self) -> None:
        """Drop what is over, so that a long run stays small."""
        self._visitors = [wire for wire in self._visitors if not wire.lost]
        self.behind = [behind for behind in self.behind if not behind.wire.lost]
        self.heard.clear()

    def play(
        self,
        data: bytes,
        split: Splitting = whole,
        *,
        peer: str = STRANGER,
        ends: bool = False,
        methods: Sequence[bytes] = (),
    ) -> Outcome:
        """One visitor sends these bytes and, with ``ends``, no more; what became of them."""
        return self.run(self._play(list(split(data)), peer=peer, ends=ends, methods=methods))

    async def _play(self, pieces: list[bytes], *, peer: str, ends: bool, methods: Sequence[bytes]) -> Outcome:
        for behind in self.behind:
            behind.partial = None
        before = len(self.behind), len(self.heard)
        wire = self.visitor(peer)
        for piece in pieces:
            wire.feed(piece)
            if len(pieces) < 4:
                await self.loop.settle()
        await self.loop.settle()
        if ends:
            wire.end()
            await self.loop.settle()
        outcome = self.outcome(wire, before, methods)
        wire.end()
        await self.loop.settle()
        return outcome

    def outcome(self, wire: Wire, before: tuple[int, int] = (0, 0), methods: Sequence[bytes] = ()) -> Outcome:
        """What has become of a visitor so far; ``before``: connections and requests of earlier ones."""
        self.check()
        raw = bytes(wire.sent)
        messages = strictly.responses(raw, methods=methods, over=wire.over and not wire.broken)
        return Outcome(
            answers=[message for message in messages if not 100 <= message.status < 200 or message.status == 101],
            heralds=[message for message in messages if 100 <= message.status < 200 and message.status != 101],
            over=wire.over,
            broken=wire.broken,
            read=self.heard[before[1] :],
            partial=[behind.partial for behind in self.behind if behind.partial is not None],
            connects=len(self.behind) - before[0],
            raw=raw,
        )

    def check(self) -> None:
        """Nothing that reached the tenant was anything but one valid request at a time."""
        for behind in self.behind:
            assert behind.error is None, f"{behind.error}: {bytes(behind.wire.sent)!r}"
