"""docs/registry.md is true: its examples are read by the codec, its roles are enough and not too much."""

import asyncio
import re
from pathlib import Path

import pytest

from gogeta.domain.discovery import Discovery, Refusal, Refused
from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import DesiredState, LastAccess, Leader, Member, ObservedState, Suspicion, Told
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.timeline import Timeline, WakeReport, fold
from gogeta.domain.tokens import Token
from gogeta.domain.wakefulness import Vetoes
from gogeta.kit.setting_values import parse_registry
from gogeta.registry import keys
from gogeta.registry.codec import decode, encode
from gogeta.registry.discovering import Rewrite, discoveries, note_discovery, rewrite
from gogeta.registry.explaining import explained
from gogeta.registry.lead import FencedStore, stand
from gogeta.registry.opening import open_store
from gogeta.registry.records import Records
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryRefusedError, Store
from gogeta.settings import RegistrySettings
from tests.registry.watching import Watching
from tests.rig.etcd import EtcdFactory

PAGE = (Path(__file__).parents[2] / "docs" / "registry.md").read_text()
EXAMPLES = re.findall(r"^`(/gogeta/v1/[^`]+)`:\n\n```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
KINDS: dict[str, type[object]] = {
    keys.TENANTS: Tenant,
    keys.DESIRED: DesiredState,
    keys.OBSERVED: ObservedState,
    keys.ACCESS: LastAccess,
    keys.SUSPECTS: Suspicion,
    keys.MEMBERS: Member,
    keys.TIMELINE: Timeline,
    keys.WAKES: WakeReport,
    keys.VETOES: Vetoes,
    keys.LEADERS: Leader,
    keys.TOKENS: Token,
    keys.WEBHOOKS: Told,
    keys.DISCOVERY: Discovery,
}
GRANTS = re.findall(r"^etcdctl role grant-permission (\w+) (\w+) --prefix=true (\S+)$", PAGE, re.MULTILINE)


def kind_of(key: str) -> type[object]:
    return next(kind for prefix, kind in KINDS.items() if key.startswith(prefix))


@pytest.mark.parametrize(("key", "text"), EXAMPLES, ids=[key for key, _ in EXAMPLES])
def test_an_example_is_what_we_read_and_write(key: str, text: str) -> None:
    kind = kind_of(key)
    value = decode(kind, text.encode(), what=key)
    assert decode(kind, encode(value), what=key) == value
    if isinstance(value, Tenant):
        assert key == keys.tenant_key(value.name)
    if isinstance(value, Member):
        assert key == keys.member_key(value.kind, value.id)


def test_every_kind_has_an_example() -> None:
    assert {kind_of(key) for key, _ in EXAMPLES} == set(KINDS.values())
    for prefix in (*KINDS, keys.GENERATION):
        assert f"| `{prefix}" in PAGE


async def test_the_documented_roles_are_enough_and_not_too_much(make_etcd: EtcdFactory) -> None:
    users = {"root": "secret", "gogeta": "g", "passivator": "p", "operator": "o", "discovering": "d"}
    server = await asyncio.to_thread(lambda: make_etcd(users=users))
    assert {role for role, _, _ in GRANTS} == {"gogeta", "passivator", "operator", "discoverer"}
    for role, permission, prefix in GRANTS:
        # A passivator that discovers has a role more than one that does not.
        for user in {"passivator": ("passivator", "discovering"), "discoverer": ("discovering",)}.get(role, (role,)):
            server.grant(user, prefix, permission.upper())

    def registry_of(user: str) -> Registry:
        url = server.registry_url.replace("://", f"://{user}:{users[user]}@")
        return Registry(open_store(RegistrySettings(registry=parse_registry(url))), user)

    operator, gogeta, passivator = registry_of("operator"), registry_of("gogeta"), registry_of("passivator")
    stores = [registry.store for registry in (operator, gogeta, passivator)]
    acme = read_tenant({"name": "acme", "hosts": ["acme.example"], "process": {"command": ["run"]}}, what="test")
    try:
        await operator.apply([acme])
        for registry in (gogeta, passivator):
            assert set((await registry.load()).by_name) == {"acme"}
            async with Watching(registry.store, keys.STATE, 1):
                pass
            announcing = asyncio.create_task(registry.announce(Member(kind=registry.by, id="1")))
            await asyncio.sleep(0.2)
            assert registry.by in {member.kind for member in await registry.members()}
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
        await gogeta.change_desired("acme", Cause.REQUEST)
        await gogeta.record_accesses({"acme": LastAccess(at=1)})
        await gogeta.suspect("acme", "1")
        await gogeta.report_wakes({"acme": WakeReport(wake=1, at=1)})
        async with Watching(passivator.store, keys.WAKES, 1):
            pass
        assert await passivator.wake_report("acme") == WakeReport(wake=1, at=1)
        told = fold((await passivator.timeline("acme"))[0], [WakeReport(wake=1, at=1)])
        assert await passivator.write_timelines({"acme": (told, 0)}) is not None
        # What an admin listener of either explains; a proxy may not even read last accesses, and says so.
        assert (await explained(passivator, "acme"))["warnings"][-1].startswith("no passivator")
        assert (await explained(gogeta, "acme"))["timeline"]["events"]
        assert any("last access could not be read" in text for text in (await explained(gogeta, "acme"))["warnings"])
        async with Watching(passivator.store, keys.SUSPECTS, 1):
            pass
        await passivator.clear_suspect("acme")
        lead = await stand(passivator.store, "g", Leader(by="p"), 5.0)
        assert lead is not None
        passivator = Registry(FencedStore(passivator.store, lead), "passivator")
        assert await passivator.observe("acme", ObservedState(state=Observed.STARTED), 0) is not None
        await passivator.note_told("g", 1)
        assert await passivator.told("g") == 1
        record = await passivator.record("acme")
        access, access_revision = await passivator.access("acme")
        assert access is not None
        assert access_revision
        for forbidden in [
            gogeta.apply(
                [acme, read_tenant({"name": "x", "hosts": ["x.example"], "upstreams": ["http://a:1"]}, what="")]
            ),
            gogeta.observe("acme", ObservedState(state=Observed.STARTED), record.observed_revision),
            gogeta.remove("acme"),
            gogeta.write_timelines({"acme": (told, 0)}),
            gogeta.forget_timelines(["acme"]),
            gogeta.note_told("g", 2),
            gogeta.store.list(keys.ACCESS),
            passivator.remove("acme"),
            gogeta.store.list(keys.LEADERS),
        ]:
            with pytest.raises(RegistryRefusedError, match="permission denied"):
                await forbidden
        await _discovers(registry_of("discovering"), passivator, stores)
        await operator.remove("acme")
        await passivator.forget("acme")
        assert (await operator.store.list(keys.STATE)).entries == ()
    finally:
        for store in stores:
            await store.close()


async def _discovers(discovering: Registry, passivator: Registry, stores: list[Store]) -> None:
    """What a passivator does under --discover, and what one without that role may not."""
    stores.append(discovering.store)
    lead = await stand(discovering.store, "h", Leader(by="d"), 5.0)
    assert lead is not None
    fenced = Registry(FencedStore(discovering.store, lead), "d")
    data = {"name": "shop", "hosts": ["shop.example"], "docker": {"container": "shop"}, "discovered": True}
    shop = read_tenant(data, what="test")
    refusal = Refusal(source="container x", why=Refused.INVALID, message="gogeta.port: ...")

    def declared(records: Records) -> Rewrite:
        return Rewrite() if "shop" in records.by_name else Rewrite(put=(shop,))

    def withdrawn(records: Records) -> Rewrite:
        return Rewrite(remove=("shop",)) if "shop" in records.by_name else Rewrite()

    with pytest.raises(RegistryRefusedError, match="permission denied"):
        await rewrite(passivator, declared)
    with pytest.raises(RegistryRefusedError, match="permission denied"):
        await note_discovery(passivator.store, "g", Discovery(refusals=(refusal,)), lead.lease)
    assert (await rewrite(fenced, declared)).put == (shop,)
    await note_discovery(fenced.store, "h", Discovery(refusals=(refusal,)), lead.lease)
    assert (await discoveries(discovering.store))[0].refusals == (refusal,)
    assert (await rewrite(fenced, withdrawn)).remove == ("shop",)
    assert set((await discovering.load()).by_name) == {"acme"}
