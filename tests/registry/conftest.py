"""The stores that the contract suite runs on, and small things that its tests share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gogeta.kit.setting_values import parse_registry
from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.metered import MeteredStore
from gogeta.registry.opening import open_store
from gogeta.registry.store import Store
from gogeta.settings import RegistrySettings
from tests.rig.etcd import EtcdCluster, EtcdServer

KINDS = ["memory", "metered", "embedded", "etcd", "etcd-cluster"]


class Stores:
    """Clients of one and the same registry."""

    def __init__(self, kind: str, make: Callable[[], Store], compact: Callable[[], Awaitable[None]]) -> None:
        self.kind = kind
        self.make = make
        self.compact = compact
        """Forget all history so far."""


@pytest.fixture(params=KINDS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """One empty registry of each kind."""
    kind: str = request.param
    async with AsyncExitStack() as cleanup:

        def kept(store: Store) -> Store:
            cleanup.push_async_callback(store.close)
            return store

        if kind in ("memory", "metered"):
            space = MemorySpace()

            async def compact_memory() -> None:
                space.compact()

            def make() -> Store:
                return MemoryStore(space) if kind == "memory" else MeteredStore(MemoryStore(space))

            yield Stores(kind, lambda: kept(make()), compact_memory)
        elif kind == "embedded":
            from gogeta.registry.embedded import EmbeddedStore  # noqa: PLC0415  # not for the other kinds

            path = str(tmp_path / "registry.db")

            async def compact_embedded() -> None:
                from gogeta.registry.store import Put  # noqa: PLC0415

                store = EmbeddedStore(path, history=1)
                for number in range(3):
                    await store.commit([Put("~compaction", str(number).encode())])
                await store.close()

            yield Stores(kind, lambda: kept(EmbeddedStore(path)), compact_embedded)
        else:
            cluster: EtcdCluster | None = request.getfixturevalue("etcd_cluster") if kind == "etcd-cluster" else None
            server: EtcdServer = cluster.members[0] if cluster else request.getfixturevalue("etcd")

            async def compact_etcd() -> None:
                server.compact()

            settings = RegistrySettings(registry=parse_registry((cluster or server).registry_url))
            yield Stores(kind, lambda: kept(open_store(settings)), compact_etcd)


@pytest.fixture
def store(stores: Stores) -> Store:
    """One client of it."""
    return stores.make()
