"""A simulated network between visitors, proxies and containers, and what stands at both of its ends.

The proxies' protocols are the real ones (``gogeta.net``); what they get as transports is ours. Visitors send real
HTTP/1.1 and read what comes back; applications in containers do the same on their side.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tests.simulation.engine import Box, Dockerd
from tests.simulation.scheduler import Process
from tests.simulation.world import World

_QUIET, _OTHER_END = socket.socketpair()
"""What transports show as their socket: nothing ever waits in it to be read."""
LATENCY: Final = (0.0001, 0.002)
CUT_OFF: Final = 1e9


class Peer(Protocol):
    """What is at the far end of a transport, without a process of its own."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        ...

    def closed(self) -> None:
        """Nothing more comes."""
        ...


class Transport(asyncio.Transport):
    """One connection, as a process has it."""

    def __init__(self, world: World, process: Process, peer: Peer, address: str = "198.51.100.7") -> None:
        super().__init__()
        self._world = world
        self._process = process
        self._peer = peer
        self._address = address
        self._protocol: Any = None
        self._out_at = 0.0
        self._in_at = 0.0
        self._closing = False
        self._lost = False
        self._reading = True
        self._unread: list[Callable[[], None]] = []
        process.on_death.append(self._died)

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """The connection is there."""
        self._protocol = protocol
        protocol.connection_made(self)

    # The process's side.

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's signature
        """As asyncio has it."""
        return {"peername": (self._address, 40000), "socket": _QUIET}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """As asyncio has it."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """As asyncio has it."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def write(self, data: Any) -> None:  # noqa: ANN401 - asyncio's signature
        """As asyncio has it."""
        if not self._closing:
            self._send(self._peer.received, bytes(data))

    def _send(self, call: Callable[..., object], *args: object) -> None:
        self._out_at = max(self._out_at, self._world.scheduler.now + self._world.between(*LATENCY))
        self._world.scheduler.at(self._out_at, None, call, *args)

    def can_write_eof(self) -> bool:
        """As asyncio has it."""
        return True

    def write_eof(self) -> None:
        """As asyncio has it; nobody here half-closes in earnest."""
        if not self._closing:
            self._send(self._peer.closed)

    def close(self) -> None:
        """As asyncio has it."""
        if not self._closing:
            self._send(self._peer.closed)
            self._end(None)

    abort = close

    def is_closing(self) -> bool:
        """As asyncio has it."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Always empty."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Never full."""

    def pause_reading(self) -> None:
        """As asyncio has it."""
        self._reading = False

    def resume_reading(self) -> None:
        """As asyncio has it."""
        self._reading = True
        unread, self._unread = self._unread, []
        for call in unread:
            self._world.scheduler.soon(self._process, call)

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._forget()
            self._world.scheduler.soon(self._process, lambda: self._protocol.connection_lost(error))

    def _died(self) -> None:
        self._closing = self._lost = True
        self._send(self._peer.closed)

    def _forget(self) -> None:
        if self._died in self._process.on_death:
            self._process.on_death.remove(self._died)

    # The far end's side.

    def deliver(self, data: bytes) -> None:
        """The far end sends."""
        self._arrive(lambda: self._take(data))

    def reset(self, error: Exception | None = None) -> None:
        """The far end is gone."""
        self._arrive(lambda: self._end(error))

    def _arrive(self, call: Callable[[], None]) -> None:
        self._in_at = max(self._in_at, self._world.scheduler.now + self._world.between(*LATENCY))
        self._world.scheduler.at(self._in_at, self._process, call)

    def _take(self, data: bytes) -> None:
        if self._lost:
            return
        if not self._reading:
            self._unread.append(lambda: self._take(data))
            return
        self._protocol.data_received(data)


# ---------------------------------------------------------------------------------------------------------- messages


@dataclass(slots=True)
class Answer:
    """What a visitor has read so far."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    switched: bool = False


class AnswerReader:
    """Reads one answer."""

    def __init__(self) -> None:
        self.answer = Answer()
        self._data = b""
        self._in_body = False

    def feed(self, data: bytes, *, end: bool = False) -> None:
        """More bytes, or the end of all."""
        self._data += data
        answer = self.answer
        if not self._in_body:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.decode().split("\r\n")
            answer.status = int(lines[0].split(" ")[1])
            answer.fields = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            self._data, self._in_body = rest, True
        if answer.status == 101:
            answer.switched = True
            answer.body, self._data = answer.body + self._data, b""
        elif "content-length" in answer.fields:
            answer.body, self._data = answer.body + self._data, b""
            answer.complete = len(answer.body) >= int(answer.fields["content-length"])
        elif answer.fields.get("transfer-encoding") == "chunked":
            self._chunks()

    def _chunks(self) -> None:
        while not self.answer.complete:
            size, found, rest = self._data.partition(b"\r\n")
            if not found or len(rest) < (length := int(size, 16)) + 2:
                return
            self.answer.complete = length == 0
            self.answer.body += rest[:length]
            self._data = rest[length + 2 :]


# ------------------------------------------------------------------------------------------------------ applications


class Application:
    """One connection of a container's application: reads requests, serves each as its target asks."""

    def __init__(self, network: Network, box: Box) -> None:
        self._network = network
        self._box = box
        self._instance = box.instance
        self._transport: Transport | None = None
        self._data = b""
        self._wanted = 0
        self._gone = False
        self._serving: int | None = None
        box.on_end.append(self._died)

    def join(self, transport: Transport) -> None:
        """The connection is there."""
        self._transport = transport

    def received(self, data: bytes) -> None:
        """See ``Peer``."""
        if self._gone:
            return
        self._data += data
        self._look()

    def _look(self) -> None:
        if self._box.paused:
            # It takes part again when it is continued.
            self._network.world.scheduler.after(0.25, self._look_again)
            return
        while self._serving is None:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.decode().split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(fields.get("content-length", "0"))
            if len(rest) < length:
                return
            self._data = rest[length:]
            self._serve(lines[0].split(" ")[1], fields)

    def _look_again(self) -> None:
        if not self._gone:
            self._look()

    def _serve(self, target: str, fields: dict[str, str]) -> None:
        if target == "/ready":
            self._write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        _, kind, number, seconds = target.split("/")
        self._serving = int(number)
        self._network.on_arrival(self._serving, self._box)
        tag = f"X-Tenant: {self._box.tenant}\r\nX-Instance: {self._instance}\r\n"
        after = self._network.world.scheduler.after
        if kind == "socket":
            self._write(
                f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{tag}\r\n".encode()
            )
            return
        if kind == "download":
            self._write(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{tag}\r\n".encode())
            steps = max(int(float(seconds) / 1.5), 1)
            for step in range(steps):
                after(float(seconds) * (step + 1) / steps, self._piece, self._serving, step + 1 == steps)
            return
        after(float(seconds), self._reply, self._serving, tag)

    def _piece(self, number: int, last: bool) -> None:  # noqa: FBT001 - a callback
        if self._serving == number and not self._gone:
            if self._box.paused:
                self._network.world.scheduler.after(0.25, self._piece, number, last)
                return
            self._write(b"4\r\ndata\r\n" + (b"0\r\n\r\n" if last else b""))
            if last:
                self._done()

    def _reply(self, number: int, tag: str) -> None:
        if self._serving == number and not self._gone:
            if self._box.paused:
                self._network.world.scheduler.after(0.25, self._reply, number, tag)
                return
            self._write(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{tag}\r\nok".encode())
            self._done()

    def _done(self) -> None:
        assert self._serving is not None
        self._network.on_departure(self._serving, self._box)
        self._serving = None
        self._look()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._gone:
            self._transport.deliver(data)

    def closed(self) -> None:
        """See ``Peer``: the proxy has gone."""
        if self._gone:
            return
        self._gone = True
        if self._died in self._box.on_end:
            self._box.on_end.remove(self._died)
        if self._serving is not None:
            self._network.on_departure(self._serving, self._box)
        if self._transport is not None:
            self._transport.reset()

    def _died(self) -> None:
        self._gone = True
        if self._transport is not None:
            self._transport.reset(ConnectionResetError("reset by peer"))


class Network:
    """Connects processes with containers."""

    def __init__(self, world: World, dockerd: Dockerd) -> None:
        self.world = world
        self._dockerd = dockerd
        self.on_arrival: Callable[[int, Box], None] = lambda *_: None
        """A request of this number is read by a container's application."""
        self.on_departure: Callable[[int, Box], None] = lambda *_: None
        """The application has answered it, or its connection was closed from outside."""

    async def connect(
        self, process: Process, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[Transport, asyncio.BaseProtocol]:
        """As the loop's ``create_connection``."""
        answer: asyncio.Future[Box | None] = asyncio.get_running_loop().create_future()
        world = self.world
        world.scheduler.after(world.between(*LATENCY), self._arrive, process, answer, host)
        box = await answer
        if box is None or not box.running:
            raise ConnectionRefusedError(111, f"connection to {host}:{port} refused")
        application = Application(self, box)
        transport = Transport(world, process, application)
        application.join(transport)
        protocol = factory()
        transport.start(protocol)
        return transport, protocol

    def _arrive(self, process: Process, answer: asyncio.Future[Box | None], host: str) -> None:
        box = self._dockerd.reach(host)
        if box is None and self.world.random.random() < 0.3:
            # Nobody has the address: packets vanish.
            return
        if box is not None and self.world.scheduler.now < box.ready_at:
            box = None
        when = self.world.scheduler.now + self.world.between(*LATENCY)
        self.world.scheduler.at(when, process, _settle, answer, box)


def _settle(answer: asyncio.Future[Box | None], box: Box | None) -> None:
    if not answer.done():
        answer.set_result(box)


def reason_of(answer: Answer) -> str:
    """The name of a refusal, or ``page``."""
    if answer.fields.get("content-type", "").startswith("text/html"):
        return "page"
    try:
        return str(json.loads(answer.body)["code"])
    except (ValueError, KeyError, TypeError):
        return "unknown"
