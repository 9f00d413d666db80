from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from gogeta.app import _load
from gogeta.domain.tenant import read_tenant
from gogeta.net.forwarder import Proxy
from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry

pytestmark = pytest.mark.virtual_time

ACME = read_tenant({"name": "acme", "hosts": ["acme.test"], "process": {"command": ["x"]}}, what="test")


async def test_an_unknown_host_is_unknown_only_once_the_files_tenants_are_routed() -> None:
    store = MemoryStore(MemorySpace())
    mirror = TenantMirror(store)
    proxy = SimpleNamespace(loaded=False)
    ready: list[tuple[str, str | None, bool]] = []

    class Front:
        def ready(self, name: str, problem: str | None) -> None:
            ready.append((name, problem, "acme" in mirror.records))

    running = asyncio.create_task(mirror.source.run())
    await mirror.source.wait_synced()
    store.go_away()
    loading = asyncio.create_task(_load(Registry(store, "test"), mirror, [ACME], cast("Proxy", proxy), Front()))
    await asyncio.sleep(60)
    assert not proxy.loaded
    assert not ready
    store.come_back()
    await loading
    assert proxy.loaded
    assert ready == [("routes", None, True)]
    running.cancel()
    await store.close()
