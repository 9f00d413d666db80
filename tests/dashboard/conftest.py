"""The dashboard on a real admin listener, over an embedded registry, with some tenants in every state."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gogeta.api.tenant_logs import LogReader
from gogeta.dashboard.serving import serve_admin
from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import LastAccess, Member, ObservedState, Phase, Reason, ReasonCode
from gogeta.domain.tenant import read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.clock import wall_ms
from gogeta.kit.setting_values import parse_registry
from gogeta.kit.tasks import Tasks
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.registry.store import Put
from gogeta.settings import RegistrySettings


@dataclass
class Shown:
    """A dashboard at work."""

    registry: Registry
    mirror: TenantMirror
    url: str

    async def declare(self, *names: str, **more: object) -> None:
        """Tenants that run as local processes."""
        declared = {"process": {"command": ["app"], "memory": "256m", "env": {"SECRET": "hunter2"}}, **more}
        await self.registry.apply(
            [read_tenant({"name": name, "hosts": [f"{name}.example"], **declared}, what=name) for name in names]
        )

    async def caught_up(self) -> None:
        """Return when the dashboard's own copy has all that was written."""
        revision = (await self.registry.store.list("/")).revision
        while self.mirror.source.revision < revision:  # noqa: ASYNC110 - the mirror's work
            await asyncio.sleep(0.01)

    async def observe(self, name: str, state: Observed, **more: object) -> None:
        """What a passivator would write next."""
        record, _ = await self.registry.look_up(name)
        seen = ObservedState(state=state, since=wall_ms(), wakes=record.desired.wakes, **more)  # type: ignore[arg-type]
        assert await self.registry.observe(name, seen, record.observed_revision)


Opener = Callable[..., Awaitable[Shown]]


@pytest.fixture
async def open_dashboard(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens one; ``auth`` is the setting ``admin_auth``."""
    async with AsyncExitStack() as cleanup:

        async def open_one(auth: str = "auto", logs: LogReader | None = None) -> Shown:
            store = open_store(RegistrySettings(registry=parse_registry(f"embedded:{tmp_path}/r.db")))
            cleanup.push_async_callback(store.close)
            tasks = await cleanup.enter_async_context(Tasks("test dashboard"))
            registry, mirror = Registry(store, "passivator/web1-4712"), TenantMirror(store)
            site = AdminSite(Endpoint("127.0.0.1", 0), CollectorRegistry(), "gogeta")
            served = serve_admin(site, registry, mirror, tasks, auth=auth, logs=logs)
            tasks.start(mirror.source.run(), "mirror")
            await mirror.source.wait_synced()
            await served.guard.tokens.source.wait_synced()
            await site.start()
            cleanup.push_async_callback(site.stop)
            return Shown(registry, mirror, f"http://{site.endpoint}")

        yield open_one


@pytest.fixture
async def shown(open_dashboard: Opener) -> Shown:
    """One with tenants in many states, as an operator meets it."""
    dashboard = await open_dashboard()
    await dashboard.declare("acme", "bakery", "cinema", "dentist", "editor", "florist")
    for name in ("acme", "bakery", "cinema"):
        await dashboard.registry.change_desired(name, Cause.REQUEST, request_id="4d5e-0001")
    await dashboard.observe(
        "acme",
        Observed.STARTED,
        endpoints=(Endpoint("127.0.0.1", 20001),),
        instance="1f2e",
        phases=(Phase("queued", 4), Phase("started", 31), Phase("ready", 642)),
    )
    await dashboard.observe("bakery", Observed.STARTING, phase="waiting until it is ready")
    await dashboard.observe(
        "cinema", Observed.FAILED, reason=Reason(ReasonCode.EXITED, "ended with exit code 3: no database")
    )
    await dashboard.registry.change_desired("dentist", Cause.STOP)
    await dashboard.registry.record_accesses({"acme": LastAccess(at=wall_ms(), by="gogeta/web1-4711", in_flight=2)})
    for kind, role in (("gogeta", ""), ("passivator", "leader")):
        member = Member(
            kind=kind, id=f"web1-471{len(role)}", since=wall_ms() - 7_200_000, role=role,
            driver="process" if role else "", listeners=(Endpoint("127.0.0.1", 9901 + len(role)),),
        )  # fmt: skip
        await dashboard.registry.store.commit([Put(keys.member_key(member.kind, member.id), encode(member))])
    await dashboard.caught_up()
    return dashboard
