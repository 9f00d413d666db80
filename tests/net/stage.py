"""A proxy on real loopback sockets, with tenants given directly and a registry that only writes down what it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, LastAccess, ObservedState, TenantRecord
from gogeta.domain.tenant import TenantName, read_tenant
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.kit.tasks import Tasks
from gogeta.net.forwarder import Proxy
from gogeta.net.server import Server
from gogeta.registry.registry import DesiredChange
from gogeta.settings import ServeSettings


@dataclass
class RecordingRegistry:
    """Takes the proxy's writes; ``on_wake`` plays what passivator would do."""

    by: str = "test"
    wakes: list[tuple[str, Cause]] = field(default_factory=list)
    accesses: list[Mapping[str, LastAccess]] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    on_wake: Callable[[str, Cause], Awaitable[DesiredChange]] | None = None

    async def change_desired(self, name: str, cause: Cause, *, known: TenantRecord | None = None) -> DesiredChange:
        """As Registry's."""
        self.wakes.append((name, cause))
        assert self.on_wake is not None
        return await self.on_wake(name, cause)

    async def record_accesses(self, accesses: Mapping[str, LastAccess]) -> None:
        """As Registry's."""
        self.accesses.append(accesses)

    async def suspect(self, name: str, instance: str) -> None:
        """As Registry's."""
        self.suspects.append(name)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Stage:
    """The proxy, its visitors and its tenants."""

    def __init__(self, proxy: Proxy, server: Server, registry: RecordingRegistry) -> None:
        self.proxy = proxy
        self.server = server
        self.registry = registry
        self.records: dict[str, TenantRecord] = {}
        self._servers: list[asyncio.Server] = []
        self.revision = 1

    @property
    def port(self) -> int:
        """Where visitors are served."""
        return self.server.port

    async def upstream(self, handler: Handler) -> Endpoint:
        """An application; ``handler`` plays each connection's other side."""

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await handler(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        self._servers.append(server)
        return Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])

    def declare(self, name: str = "acme", *, endpoint: Endpoint | None = None, **more: Any) -> None:
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
        else:
            self.revision += 1
            record = replace(record, desired_revision=self.revision)
            self.records[name] = record
        self.proxy.fleet.changed(TenantName(name), before, record)

    def change(self, name: str = "acme", **parts: Any) -> None:
        """Change parts of a record."""
        self.become(name, replace(self.records[name], **parts))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A visitor's connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, request: bytes, *, timeout: float = 5.0) -> bytes:
        """Send bytes and read all that comes until the proxy closes (or half of ``timeout`` of silence)."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            async with asyncio.timeout(timeout):
                return await reader.read(-1)
        finally:
            writer.close()

    async def close(self) -> None:
        """End everything."""
        await self.server.drain(0.0)
        for server in self._servers:
            server.close()


@contextlib.asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    """A proxy that serves visitors on a free port."""
    registry = RecordingRegistry()
    async with Tasks("test") as tasks:
        chosen = ServeSettings(listen=Endpoint("127.0.0.1", 0), **settings)
        proxy = Proxy(chosen, registry, Forbidden(), tasks)  # type: ignore[arg-type] # it plays the registry
        server = Server(proxy, chosen.listen)
        await server.start()
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
        finally:
            await on_stage.close()
