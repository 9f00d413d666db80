"""Declarations that follow labels: written on all records as they are, and giving way to those by hand."""

from typing import Any

import pytest

from gogeta.domain.errors import HostConflictError
from gogeta.domain.lifecycle import Cause, Desired
from gogeta.domain.tenant import Tenant, read_tenant, read_tenants, tenant_to_data
from gogeta.registry import keys
from gogeta.registry.conditional import declare
from gogeta.registry.discovering import Rewrite, rewrite
from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.records import Records
from gogeta.registry.registry import Registry


def tenant(name: str, *hosts: str, discovered: bool = False, **more: Any) -> Tenant:  # noqa: ANN401
    data = {"name": name, "hosts": list(hosts) or [f"{name}.test"], "docker": {"container": name}, **more}
    return read_tenant({**data, "discovered": discovered}, what="test")


@pytest.fixture
def registry() -> Registry:
    """An empty registry."""
    return Registry(MemoryStore(MemorySpace()), "test")


async def discover(registry: Registry, *tenants: Tenant, awake: frozenset[str] = frozenset()) -> None:
    def decide(records: Records) -> Rewrite:
        return Rewrite(put=tuple(each for each in tenants if each.name not in records.by_name), awake=awake)

    await rewrite(registry, decide)


async def names(registry: Registry) -> list[str]:
    return sorted((await registry.load()).by_name)


async def test_what_runs_begins_started_and_the_rest_asleep(registry: Registry) -> None:
    await discover(registry, tenant("up"), tenant("down"), awake=frozenset({"up"}))
    up, down = await registry.record("up"), await registry.record("down")
    assert (up.desired.state, up.desired.cause, up.desired.wakes) == (Desired.STARTED, Cause.START, 1)
    assert (down.desired.state, down.desired.wakes) == (Desired.PASSIVATED, 0)


async def test_it_is_decided_anew_when_somebody_declared_meanwhile(registry: Registry) -> None:
    asked: list[list[str]] = []
    other = Registry(registry.store, "other")
    generation = await registry.store.get(keys.GENERATION)
    assert generation is None

    class Racing(Registry):
        async def write(self, *args: Any, **more: Any) -> bool:  # noqa: ANN401
            if len(asked) == 1:
                await other.apply([tenant("web", "hand.test")])
            return await super().write(*args, **more)

    def decide(records: Records) -> Rewrite:
        asked.append(sorted(records.by_name))
        return Rewrite() if "web" in records.by_name else Rewrite(put=(tenant("web", discovered=True),))

    await rewrite(Racing(registry.store, "test"), decide)
    assert asked == [[], ["web"]]
    assert (await registry.record("web")).tenant.hosts == ("hand.test",)


async def test_a_change_leaves_what_it_should_be_and_a_withdrawal_leaves_what_is_for_cleaning_up(
    registry: Registry,
) -> None:
    await discover(registry, tenant("web", discovered=True))
    await registry.change_desired("web", Cause.REQUEST)
    changed = tenant("web", discovered=True, port=81)
    await rewrite(
        registry,
        lambda records: Rewrite(put=(changed,)) if records.by_name["web"].tenant != changed else Rewrite(),  # type: ignore[index]
    )
    record = await registry.record("web")
    assert (record.tenant.port, record.desired.state) == (81, Desired.STARTED)
    await rewrite(registry, lambda records: Rewrite(remove=tuple(records.by_name)))
    assert await names(registry) == []


async def test_applied_declarations_take_hosts_from_discovered_ones_and_from_no_others(registry: Registry) -> None:
    await discover(registry, tenant("web", "a.test", discovered=True), tenant("stays", discovered=True))
    await registry.apply([tenant("hand", "a.test")])
    assert await names(registry) == ["hand", "stays"]
    with pytest.raises(HostConflictError, match="already claimed by tenant 'hand'"):
        await registry.apply([tenant("late", "a.test")])
    assert await names(registry) == ["hand", "stays"]


async def test_a_single_declaration_takes_them_too(registry: Registry) -> None:
    await discover(registry, tenant("web", "a.test", discovered=True))
    await declare(registry, tenant("hand", "a.test"), 0)
    assert await names(registry) == ["hand"]


async def test_a_file_of_the_same_name_makes_it_one_by_hand(registry: Registry) -> None:
    await discover(registry, tenant("web", discovered=True))
    applied = await registry.apply([tenant("web")])
    assert applied.changed == ("web",)
    assert not (await registry.record("web")).tenant.discovered


def test_the_mark_is_not_for_files_and_what_has_none_was_declared_by_hand() -> None:
    data = tenant_to_data(tenant("web", discovered=True))
    with pytest.raises(Exception, match=r"tenants\[0\].discovered: is passivator's own mark: leave it out"):
        read_tenants({"tenants": [data]}, what="file")
    assert "discovered" not in tenant_to_data(tenant("web"))


@pytest.mark.parametrize(
    ("docker", "message"),
    [
        ({"compose": "shop"}, "docker: compose needs `service`"),
        ({"container": "web", "service": "web"}, "docker: service goes with compose"),
        ({"compose": "shop", "service": "web", "image": "a:1"}, "found image and compose"),
        ({"compose": "No Project", "service": "web"}, "docker.compose: "),
    ],
)
def test_a_project_by_hand_is_checked(docker: dict[str, str], message: str) -> None:
    with pytest.raises(Exception, match=message.replace("`", ".")):
        read_tenant({"name": "shop", "hosts": ["shop.test"], "docker": docker}, what="test")
