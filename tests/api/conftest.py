"""The admin API on a listener of its own, over a real registry, with nobody who carries wishes out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from gogeta.api.events import Events
from gogeta.api.operation import route
from gogeta.api.site import operations
from gogeta.api.tenant_logs import LogLimits, LogReader, TenantLogs
from gogeta.dashboard.serving import serve_admin
from gogeta.domain.lifecycle import Observed
from gogeta.domain.state import ObservedState
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.setting_values import parse_registry
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.registry.tokens import TokenMirror
from gogeta.settings import RegistrySettings

ACME: dict[str, Any] = {"hosts": ["acme.test"], "process": {"command": ["app"], "env": {"SECRET": "x"}}}


class Api:
    """One process that serves the API, and a caller."""

    def __init__(self, registry: Registry, mirror: TenantMirror, events: Events, site: AdminSite, tasks: Tasks) -> None:
        self.registry = registry
        self.mirror = mirror
        self.events = events
        self.site = site
        self.tasks = tasks
        self.tokens: TokenMirror | None = None
        """Those that its guard knows, where it has one."""
        self.session = aiohttp.ClientSession(f"http://{site.endpoint}")

    async def call(self, method: str, path: str, **how: Any) -> tuple[int, Any, Any]:  # noqa: ANN401 - aiohttp's
        """Status, JSON (or None) and headers; a problem is checked to be one."""
        async with self.session.request(method, "/api/v1" + path, **how) as answer:
            data: Any = await answer.json(content_type=None) if await answer.read() else None
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json"
                assert data["status"] == answer.status
                assert data["detail"]
            return answer.status, data, answer.headers

    async def put(self, name: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any, Any]:
        """PUT with headers such as If_Match."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.call("PUT", f"/tenants/{name}", json=ACME if body is None else body, headers=named)

    async def until(self, holds: Callable[[], bool | Awaitable[bool]]) -> None:
        """Wait until something holds."""
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)

    async def observe(self, name: str, state: Observed) -> None:
        """What a passivator would see next."""
        record, _ = await self.registry.look_up(name)
        up = (Endpoint("127.0.0.1", 9),) if state is Observed.STARTED else ()
        seen = ObservedState(state=state, wakes=record.desired.wakes, endpoints=up)
        assert await self.registry.observe(name, seen, record.observed_revision)


Opener = Callable[..., Any]


@pytest.fixture
async def open_api(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens one API; several share a registry."""
    async with AsyncExitStack() as cleanup:

        async def open_one(
            url: str = f"embedded:{tmp_path}/r.db",
            *,
            auth: str | None = None,
            reader: LogReader | None = None,
            **events: Any,  # noqa: ANN401 - as `Events` takes them; with ``auth``, as `TenantLogs` does
        ) -> Api:
            store = open_store(RegistrySettings(registry=parse_registry(url)))
            cleanup.push_async_callback(store.close)
            tasks = await cleanup.enter_async_context(Tasks("test API"))
            registry, mirror = Registry(store, "test/api"), TenantMirror(store)
            site = AdminSite(Endpoint("127.0.0.1", 0), CollectorRegistry(), "test")
            tokens: TokenMirror | None = None
            if auth is None:
                hub = Events(mirror, program="test", **events)
                site.on_stop(hub.close)
                site.add_routes(
                    map(route, operations(registry, mirror, hub, tasks, [TenantLogs(registry, reader).operation]))
                )
            else:
                served = serve_admin(
                    site, registry, mirror, tasks, auth=auth, logs=TenantLogs(registry, reader, LogLimits(**events))
                )
                hub, tokens = served.events, served.guard.tokens
                await tokens.source.wait_synced()
            tasks.start(mirror.source.run(), "mirror")
            await mirror.source.wait_synced()
            await site.start()
            cleanup.push_async_callback(site.stop)
            api = Api(registry, mirror, hub, site, tasks)
            api.tokens = tokens
            cleanup.push_async_callback(api.session.close)
            return api

        yield open_one


@pytest.fixture
async def api(open_api: Opener) -> Api:
    """One API on an embedded registry."""

    async def written(_: Tenant, lines: int, *, follow: bool) -> AsyncGenerator[Sequence[str], None]:
        yield ["begins", "ends"][:lines]

    opened: Api = await open_api(reader=written)
    return opened
