"""A proxy on real loopback sockets, with tenants given directly and a registry that only writes down what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, LastAccess, ObservedState, TenantRecord
from gogeta.domain.tenant import TenantName, read_tenant
from gogeta.domain.timeline import WakeReport
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.kit.tasks import Tasks
from gogeta.kit.tracing import Tracing
from gogeta.net.certificates import Certificates
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.fleet import Entry
from gogeta.net.forwarder import Proxy
from gogeta.net.server import Server
from gogeta.net.tracing import TracedProxy
from gogeta.registry.registry import DesiredChange
from gogeta.registry.store import RegistryUnavailableError
from gogeta.settings import ServeSettings
from tests.net.talk import LIMIT, App, Handler, Message, read_message, until


@dataclass
class RecordingRegistry:
    """Takes the proxy's writes; ``on_wake`` plays what passivator would do."""

    by: str = "test"
    wakes: list[tuple[str, Cause]] = field(default_factory=list)
    accesses: list[Mapping[str, LastAccess]] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    askers: list[str] = field(default_factory=list)
    """The request id that came with each wake."""
    traces: list[str] = field(default_factory=list)
    """The trace context that came with each wake."""
    reports: list[Mapping[str, WakeReport]] = field(default_factory=list)
    on_wake: Callable[[str, Cause], Awaitable[DesiredChange]] | None = None
    tries: list[str] = field(default_factory=list)
    """Who was asked one more try for."""
    on_try: Callable[[TenantRecord], Awaitable[DesiredChange | None]] | None = None
    away: bool = False
    """Whether it cannot be reached."""

    async def change_desired(
        self,
        name: str,
        cause: Cause,
        *,
        known: TenantRecord | None = None,
        per_hour: int = 0,
        request_id: str = "",
        trace: str = "",
    ) -> DesiredChange:
        """As Registry's."""
        self.wakes.append((name, cause))
        self.askers.append(request_id)
        self.traces.append(trace)
        self._reach()
        assert self.on_wake is not None
        return await self.on_wake(name, cause)

    async def ask_again(self, record: TenantRecord, *, trace: str = "") -> DesiredChange | None:
        """As Registry's."""
        self.tries.append(record.name)
        self._reach()
        return None if self.on_try is None else await self.on_try(record)

    async def record_accesses(self, accesses: Mapping[str, LastAccess]) -> None:
        """As Registry's."""
        self._reach()
        self.accesses.append(accesses)

    async def report_wakes(self, reports: Mapping[str, WakeReport]) -> None:
        """As Registry's."""
        self._reach()
        self.reports.append(reports)

    async def suspect(self, name: str, instance: str) -> None:
        """As Registry's."""
        self.suspects.append(name)

    def _reach(self) -> None:
        if self.away:
            raise RegistryUnavailableError("it is away")


class Stage:
    """The proxy, its visitors and its tenants."""

    def __init__(self, proxy: Proxy, server: Server, registry: RecordingRegistry) -> None:
        self.proxy = proxy
        self.server = server
        self.registry = registry
        self.records: dict[str, TenantRecord] = {}
        self.writers: list[asyncio.StreamWriter] = []
        """The applications' sides of all connections so far."""
        self._servers: list[asyncio.Server] = []
        self.removed: list[Entry] = []
        """Tenants that were taken away: nothing of them may be left either."""
        self.revision = 1

    @property
    def port(self) -> int:
        """Where visitors are served."""
        return self.server.port

    async def upstream(self, handler: Handler) -> Endpoint:
        """An application; ``handler`` plays each connection's other side."""

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.append(writer)
            try:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await handler(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        self._servers.append(server)
        return Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])

    def declare(self, name: str = "acme", *, endpoint: Endpoint | None = None, **more: Any) -> None:  # noqa: ANN401 - parts of a declaration
        """A managed tenant ``NAME.test``: started at ``endpoint``, or asleep without one."""
        tenant = read_tenant({"name": name, "hosts": [f"{name}.test"], "docker": {"image": "x"}, **more}, what="test")
        desired = DesiredState(state=Desired.STARTED if endpoint else Desired.PASSIVATED)
        self.become(
            name,
            TenantRecord(tenant=tenant, desired=desired, observed=self.observed(endpoint), revision=1, created=1),
        )

    def observed(self, endpoint: Endpoint | None, state: Observed | None = None) -> ObservedState:
        """Started at an endpoint (a new instance each time), or stopped."""
        self.revision += 1
        if endpoint is None:
            return ObservedState(state=state or Observed.STOPPED)
        return ObservedState(state=state or Observed.STARTED, endpoints=(endpoint,), instance=f"i{self.revision}")

    def become(self, name: str, record: TenantRecord | None) -> None:
        """What the mirror would tell."""
        before = self.records.get(name)
        if record is None:
            self.records.pop(name, None)
            self.removed.append(self.proxy.fleet.entries[name])
        else:
            self.revision += 1
            record = replace(record, desired_revision=self.revision)
            self.records[name] = record
        self.proxy.fleet.changed(TenantName(name), before, record)

    def change(self, name: str = "acme", **parts: Any) -> None:  # noqa: ANN401 - parts of a record
        """Change parts of a record."""
        self.become(name, replace(self.records[name], **parts))

    async def serve(self, app: Handler | None = None, name: str = "acme", **more: Any) -> App:  # noqa: ANN401 - parts of a declaration
        """Declare a started tenant with an application of its own, which is returned."""
        chosen = App() if app is None else app
        self.declare(name, endpoint=await self.upstream(chosen), **more)
        return chosen  # type: ignore[return-value] # whoever gives another kind knows it

    @contextlib.asynccontextmanager
    async def visitor(self, tls: ssl.SSLContext | None = None, host: str = "acme.test") -> AsyncIterator[Visitor]:
        """A visitor's connection, with ``tls`` a secure one to ``host``; closed at the end."""
        port = self.port if tls is None else self.server.tls_port or self.port
        name = None if tls is None else host
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        try:
            yield Visitor(reader, writer, self.proxy)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def ask(
        self, request: bytes, *, bodiless: bool = False, tls: ssl.SSLContext | None = None, host: str = "acme.test"
    ) -> Message:
        """One request on a connection of its own."""
        async with self.visitor(tls, host) as visitor:
            return await visitor.ask(request, bodiless=bodiless)

    async def quiet(self) -> None:
        """Wait until nothing is under way."""
        await until(lambda: not self.proxy.connections and not self.proxy.tally.held)

    async def close(self) -> None:
        """End everything, and show that nothing is left of it."""
        await self.end()
        proxy = self.proxy
        await until(lambda: not proxy.connections and not proxy.upstreams)
        await until(lambda: ":connect" not in repr(proxy.tasks))
        await until(lambda: not self.server.arriving and ":handshake" not in repr(proxy.tasks))
        assert proxy.tally.held == 0
        entries = [*proxy.fleet.entries.values(), *self.removed]
        assert [entry for entry in entries if entry.in_flight or entry.held] == []

    async def end(self) -> None:
        """End everything."""
        await self.server.drain(0.0)
        for server in self._servers:
            server.close()


class Visitor:
    """One visitor's connection, as the test speaks on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy) -> None:
        self.reader = reader
        self.writer = writer
        self._proxy = proxy
        self._address = writer.get_extra_info("sockname")

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def feed(self, data: bytes) -> None:
        """Give the proxy's protocol every byte by itself, which no network does so reliably."""
        connection = await self.other_side()
        for place in range(len(data)):
            connection.data_received(data[place : place + 1])

    async def other_side(self) -> DownstreamConnection:
        """The proxy's protocol of this very connection."""

        def mine() -> list[DownstreamConnection]:
            return [
                connection
                for connection in self._proxy.connections
                if connection.transport.get_extra_info("peername")[:2] == self._address[:2]
            ]

        await until(mine)
        return mine()[0]

    async def answer(self, *, bodiless: bool = False) -> Message:
        """The next response."""
        return await read_message(self.reader, bodiless=bodiless)

    async def ask(self, request: bytes, *, bodiless: bool = False) -> Message:
        """Send a request and read its response."""
        self.send(request)
        return await self.answer(bodiless=bodiless)

    async def rest(self) -> bytes:
        """All that comes until the proxy closes. Raises ConnectionError when it resets."""
        async with asyncio.timeout(LIMIT):
            return await self.reader.read(-1)

    async def everything(self) -> bytes:
        """All that comes until the proxy closes, in whatever way."""
        got = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LIMIT):
                while data := await self.reader.read(65536):
                    got += data
        return got

    def reset(self) -> None:
        """Break the connection off."""
        reset(self.writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset."""
    sock = writer.get_extra_info("socket")
    if sock is None or writer.transport.is_closing():
        return
    with socket.socket(fileno=os.dup(sock.fileno())) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def stage(tracing: Tracing | None = None, /, **settings: Any) -> AsyncIterator[Stage]:  # noqa: ANN401 - settings
    """A proxy that serves visitors on a free port; with ``tracing`` one that traces."""
    registry = RecordingRegistry()
    async with Tasks("test") as tasks:
        chosen = ServeSettings(listen=Endpoint("127.0.0.1", 0), **settings)
        parts = (chosen, registry, Forbidden(), tasks)
        # The registry is played.
        proxy = Proxy(*parts) if tracing is None else TracedProxy(*parts, tracing=tracing)  # type: ignore[arg-type]
        server = Server(proxy, chosen.listen, Certificates.of(chosen))
        server.start()
        await server.accept()
        proxy.loaded = True
        on_stage = Stage(proxy, server, registry)

        async def wake(name: str, _: Cause) -> DesiredChange:
            desired = DesiredState(state=Desired.STARTED)
            on_stage.change(name, desired=desired)
            return DesiredChange(desired, on_stage.revision, changed=True)

        registry.on_wake = wake
        try:
            yield on_stage
        except BaseException:
            # The test has failed already: what is left over is no news.
            await on_stage.end()
            raise
        await on_stage.close()
