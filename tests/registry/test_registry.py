"""The product's operations: who may change what, under which condition, also when others do it at the same time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gogeta.domain.errors import HostConflictError, InvalidInputError, TransitionRefusedError, UnknownTenantError
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, Judgement, LastAccess, Member, ObservedState
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.declarations import Applied, Beginning
from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.registry import Registry
from gogeta.registry.store import Put, RegistryUnavailableError, Store

virtual_time = pytest.mark.virtual_time


def tenant(name: str, *hosts: str, **fields: object) -> Tenant:
    data = {"name": name, "hosts": list(hosts) or [f"{name}.example"], "process": {"command": ["run"]}, **fields}
    return read_tenant(data, what="test")


@pytest.fixture(params=["memory", "embedded"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else EmbeddedStore(str(tmp_path / "registry.db"))
    yield store
    await store.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, "test/1")


# ------------------------------------------------------------------------------------------------------- declarations


async def test_apply_creates_changes_and_leaves_alone(registry: Registry) -> None:
    assert await registry.apply([tenant("a"), tenant("b")]) == Applied(created=("a", "b"))
    applied = await registry.apply([tenant("b", port=81), tenant("c"), tenant("a")])
    assert applied == Applied(created=("c",), changed=("b",), unchanged=("a",))
    before = (await registry.load()).by_name
    assert await registry.apply([tenant("a")]) == Applied(unchanged=("a",))
    assert (await registry.load()).by_name == before, "nothing was written"
    record = await registry.record("b")
    assert record.tenant.port == 81
    assert record.desired.state is Desired.PASSIVATED
    assert record.created < record.revision


async def test_a_changed_declaration_leaves_the_states_alone(registry: Registry) -> None:
    await registry.apply([tenant("a")])
    woken = await registry.change_desired("a", Cause.REQUEST)
    await registry.apply([tenant("a", port=99)])
    assert (await registry.record("a")).desired == woken.desired


async def test_a_new_tenant_may_begin_as_something_else_has_left_it_and_an_old_one_stays_as_it_is(
    registry: Registry,
) -> None:
    await registry.apply([tenant("old")])
    accessed = LastAccess(at=1_415_027_045_000, by="something else")
    routed = read_tenant({"name": "routed", "hosts": ["r.example"], "upstreams": ["http://10.0.0.1"]}, what="test")
    left = {
        "old": Beginning(Desired.STARTED, accessed),
        "up": Beginning(Desired.STARTED, accessed),
        "halted": Beginning(Desired.STOPPED),
        "routed": Beginning(Desired.STARTED, accessed),
    }
    await registry.apply([tenant("old"), tenant("up"), tenant("halted"), tenant("new"), routed], left)
    records = (await registry.load()).by_name
    assert {name: (record.desired.state, record.desired.wakes) for name, record in records.items()} == {
        "old": (Desired.PASSIVATED, 0),
        "up": (Desired.STARTED, 1),
        "halted": (Desired.STOPPED, 0),
        "new": (Desired.PASSIVATED, 0),
        "routed": (Desired.PASSIVATED, 0),
    }
    assert records[routed.name].desired_revision == 0, "what is routed only has no state"
    used = {name: (await registry.access(name))[0] for name in records}
    assert used == {"old": None, "up": accessed, "halted": None, "new": None, "routed": accessed}


async def test_many_beginnings_go_in_several_commits(registry: Registry) -> None:
    names = [f"t{number}" for number in range(100)]
    left = {name: Beginning(Desired.STOPPED, LastAccess(at=1 + number)) for number, name in enumerate(names)}
    await registry.apply([tenant(name) for name in names], left)
    records = (await registry.load()).by_name
    assert {record.desired.state for record in records.values()} == {Desired.STOPPED}
    accesses = [(await registry.access(name))[0] for name in names]
    assert [access.at for access in accesses if access is not None] == list(range(1, 101))


async def test_a_host_of_another_is_refused_and_nothing_is_applied(registry: Registry) -> None:
    await registry.apply([tenant("a", "shared.example")])
    with pytest.raises(HostConflictError) as caught:
        await registry.apply([tenant("new"), tenant("b", "b.example", "shared.example")])
    assert (caught.value.holder, caught.value.claimant, caught.value.host) == ("a", "b", "shared.example")
    assert "'a'" in caught.value.message
    assert "'b'" in caught.value.message
    assert set((await registry.load()).by_name) == {"a"}
    # A host may change hands within one apply.
    await registry.apply([tenant("a", "other.example"), tenant("b", "shared.example")])


async def test_many_and_large_declarations_go_in_several_commits(registry: Registry) -> None:
    many = [tenant(f"t-{number}") for number in range(300)]
    assert len((await registry.apply(many)).created) == 300
    environment = {"A": "x" * 100_000}
    large = [tenant(f"large-{n}", process={"command": ["run"], "env": environment}) for n in range(25)]
    assert len((await registry.apply(large)).created) == 25
    assert len((await registry.load()).by_name) == 325


async def test_two_applies_at_once_cannot_both_claim_a_host(store: Store) -> None:
    one, other = Registry(store, "one"), Registry(store, "other")
    results = await asyncio.gather(
        *(
            registry.apply([tenant(name, "prize.example")])
            for registry, name in [(one, "a"), (other, "b"), (one, "c"), (other, "d")]
        ),
        return_exceptions=True,
    )
    winners = [result for result in results if isinstance(result, Applied)]
    assert len(winners) == 1
    assert len([result for result in results if isinstance(result, HostConflictError)]) == 3
    assert set((await one.load()).by_name) == set(winners[0].created)


async def test_remove_takes_declaration_and_wishes_and_leaves_what_runs_to_passivator(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.observe("acme", ObservedState(state=Observed.STARTED), 0)
    await registry.record_accesses({"acme": LastAccess(at=1)})
    await registry.remove("acme")
    records = await registry.load()
    assert records.by_name == {}
    assert records.leftovers == ("acme",)
    assert await registry.access("acme") == (None, 0)
    await registry.forget("acme")
    assert (await registry.load()).leftovers == ()
    with pytest.raises(UnknownTenantError) as caught:
        await registry.remove("acme")
    assert caught.value.nearest is None


async def test_forget_spares_a_tenant_that_came_back(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.observe("acme", ObservedState(state=Observed.STARTED), 0)
    await registry.forget("acme")
    assert (await registry.record("acme")).observed.state is Observed.STARTED


async def test_an_unknown_name_comes_with_the_nearest(registry: Registry) -> None:
    await registry.apply([tenant("acme"), tenant("zebra")])
    for operation in [registry.record("acne"), registry.remove("acne"), registry.change_desired("acne", Cause.WAKE)]:
        with pytest.raises(UnknownTenantError) as caught:
            await operation
        assert caught.value.nearest == "acme"


# -------------------------------------------------------------------------------------------------------------- wakes


async def test_fifty_wakers_make_one_wake(store: Store) -> None:
    registries = [Registry(store, f"gogeta/{number}") for number in range(5)]
    await registries[0].apply([tenant("acme")])
    known = await registries[0].record("acme")
    results = await asyncio.gather(
        *(
            registries[number % 5].change_desired("acme", Cause.REQUEST, known=known if number % 2 else None)
            for number in range(50)
        )
    )
    assert sum(result.changed for result in results) == 1
    assert len({(result.desired, result.revision) for result in results}) == 1
    record = await registries[0].record("acme")
    assert record.desired.wakes == 1
    assert (record.desired.state, record.desired.cause) == (Desired.STARTED, Cause.REQUEST)
    assert record.desired_revision == results[0].revision


async def test_each_wake_has_the_next_number(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    for number in range(1, 4):
        assert (await registry.change_desired("acme", Cause.WAKE)).desired.wakes == number
        asleep = await registry.change_desired("acme", Cause.SLEEP)
        assert asleep.desired.wakes == number


async def test_a_renewed_wish_is_written_again_as_a_wake_of_its_own(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    first = await registry.change_desired("acme", Cause.WAKE)
    again = await registry.change_desired("acme", Cause.START, renew=True)
    assert again.changed
    assert again.revision > first.revision
    assert (again.desired.state, again.desired.wakes) == (Desired.STARTED, 2)
    assert not (await registry.change_desired("acme", Cause.START)).changed


async def test_requests_do_not_wake_what_an_operator_stopped(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.change_desired("acme", Cause.STOP)
    for cause in (Cause.REQUEST, Cause.IN_USE, Cause.WAKE):
        with pytest.raises(TransitionRefusedError, match="'acme' is stopped") as caught:
            await registry.change_desired("acme", cause)
        assert "gogeta start acme" in caught.value.hint
    assert (await registry.change_desired("acme", Cause.START)).changed


async def test_a_refusal_does_not_rest_on_an_old_view(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.change_desired("acme", Cause.STOP)
    old = await registry.record("acme")
    await registry.change_desired("acme", Cause.SLEEP)
    assert (await registry.change_desired("acme", Cause.REQUEST, known=old)).changed


async def test_an_unchanged_answer_does_not_rest_on_an_old_view(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.change_desired("acme", Cause.WAKE)
    old = await registry.record("acme")
    await registry.change_desired("acme", Cause.SLEEP)
    result = await registry.change_desired("acme", Cause.REQUEST, known=old)
    assert result.changed
    assert result.desired.wakes == 2


async def test_a_state_that_cannot_be_read_is_replaced_by_operators_alone(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.store.commit([Put(keys.desired_key("acme"), b"garbage")])
    with pytest.raises(InvalidInputError):
        await registry.change_desired("acme", Cause.REQUEST)
    assert (await registry.change_desired("acme", Cause.START)).changed


# ------------------------------------------------------------------------------------------------------- lost answers


@virtual_time
async def test_a_wake_whose_answer_was_lost_is_known_by_reading() -> None:
    store = MemoryStore()
    registry = Registry(store, "gogeta/1")
    await registry.apply([tenant("acme")])
    store.answers_to_lose = 1
    result = await registry.change_desired("acme", Cause.REQUEST)
    assert result.changed
    assert result.desired.wakes == 1
    assert (await registry.record("acme")).desired_revision == result.revision


@virtual_time
async def test_a_wake_that_happens_late_happens_once() -> None:
    """Its caller gave up while there was no leader; the next leader carries it out."""
    space = MemorySpace()
    store = MemoryStore(space)
    registry = Registry(store, "gogeta/1")
    await registry.apply([tenant("acme")])
    known = await registry.record("acme")
    space.lose_leader()
    waking = asyncio.create_task(registry.change_desired("acme", Cause.REQUEST, known=known))
    await asyncio.sleep(4)
    space.elect_leader()
    result = await waking
    assert result.desired.wakes == 1
    assert (await registry.record("acme")).desired.wakes == 1


@virtual_time
async def test_apply_and_remove_settle_a_lost_answer() -> None:
    store = MemoryStore()
    registry = Registry(store, "cli/me")
    store.answers_to_lose = 2
    assert await registry.apply([tenant("a"), tenant("b")]) == Applied(created=("a", "b"))
    store.answers_to_lose = 1
    await registry.remove("a")
    assert set((await registry.load()).by_name) == {"b"}


@virtual_time
async def test_what_was_never_sent_is_not_called_unknown() -> None:
    store = MemoryStore()
    registry = Registry(store, "gogeta/1")
    await registry.apply([tenant("acme")])
    store.go_away()
    with pytest.raises(RegistryUnavailableError) as caught:
        await registry.change_desired("acme", Cause.REQUEST)
    assert not caught.value.unknown


# --------------------------------------------------------------------------------------------------------------- idle


async def test_an_idle_tenant_is_passivated_only_if_nothing_changed(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    woken = await registry.change_desired("acme", Cause.REQUEST)
    await registry.record_accesses({"acme": LastAccess(at=1)})
    _, access_revision = await registry.access("acme")
    judged = Judgement(desired_revision=woken.revision, access_revision=access_revision)
    await registry.record_accesses({"acme": LastAccess(at=2)})
    assert await registry.passivate("acme", judged, woken.desired.wakes) is None
    assert (await registry.record("acme")).desired.state is Desired.STARTED
    access, access_revision = await registry.access("acme")
    assert access == LastAccess(at=2)
    judged = Judgement(desired_revision=woken.revision, access_revision=access_revision)
    done = await registry.passivate("acme", judged, woken.desired.wakes)
    assert done is not None
    record = await registry.record("acme")
    assert record.desired == done.desired
    assert (record.desired.state, record.desired.cause, record.desired.wakes) == (Desired.PASSIVATED, Cause.IDLE, 1)
    assert await registry.passivate("acme", judged, 1) is None, "it has been judged by something else"


async def test_a_wake_and_a_passivation_at_once_have_one_winner(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    for number in range(1, 6):
        woken = await registry.change_desired("acme", Cause.WAKE)
        passivated, _ = await asyncio.gather(
            registry.passivate("acme", Judgement(desired_revision=woken.revision), woken.desired.wakes),
            registry.record_accesses({"acme": LastAccess(at=number)}),
        )
        record = await registry.record("acme")
        assert (record.desired.state is Desired.PASSIVATED) == (passivated is not None)
        if passivated is None:
            await registry.change_desired("acme", Cause.SLEEP)
        await registry.remove("acme")
        await registry.apply([tenant("acme")])


async def test_many_accesses_are_written_and_garbage_counts_as_none(registry: Registry) -> None:
    await registry.record_accesses({f"t-{number}": LastAccess(at=number, in_flight=1) for number in range(300)})
    assert (await registry.access("t-299"))[0] == LastAccess(at=299, in_flight=1)
    await registry.store.commit([Put(keys.access_key("t-1"), b"garbage")])
    access, revision = await registry.access("t-1")
    assert access is None
    assert revision > 0


# ----------------------------------------------------------------------------------------------------------- observed


async def test_observed_states_have_one_writer(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    first = await registry.observe("acme", ObservedState(state=Observed.STARTING), 0)
    assert first is not None
    assert await registry.observe("acme", ObservedState(state=Observed.FAILED), 0) is None
    second = await registry.observe("acme", ObservedState(state=Observed.STARTED), first)
    assert second is not None
    assert await registry.observed("acme") == (ObservedState(state=Observed.STARTED), second)


async def test_a_stop_announces_itself_only_while_nobody_woke(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    asleep = await registry.record("acme")
    await registry.change_desired("acme", Cause.REQUEST)
    stopping = ObservedState(state=Observed.STOPPING)
    assert await registry.observe("acme", stopping, 0, desired_revision=asleep.desired_revision) is None
    assert (await registry.record("acme")).observed_revision == 0


async def test_a_hint_is_written_and_cleared(registry: Registry) -> None:
    await registry.suspect("acme", "instance-1")
    assert len((await registry.store.list(keys.SUSPECTS)).entries) == 1
    await registry.clear_suspect("acme")
    assert (await registry.store.list(keys.SUSPECTS)).entries == ()


# ------------------------------------------------------------------------------------------------------------ members


@virtual_time
async def test_a_member_is_listed_while_it_lives_and_a_while_after_a_crash() -> None:
    space = MemorySpace()
    registry, watcher = Registry(MemoryStore(space), "gogeta/1"), Registry(MemoryStore(space), "passivator/1")
    member = Member(kind="gogeta", id="1", listeners=(Endpoint("127.0.0.1", 8080),))
    announcing = asyncio.create_task(registry.announce(member, ttl=10))
    await asyncio.sleep(60)
    assert await watcher.members() == (member,)
    assert isinstance(registry.store, MemoryStore)
    registry.store.go_away()  # as after a crash: nobody can revoke the lease
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)
    assert await watcher.members() == (member,)
    await asyncio.sleep(10)
    assert await watcher.members() == ()


@virtual_time
async def test_a_member_that_ends_in_order_is_gone_at_once_and_comes_back_after_an_outage() -> None:
    space = MemorySpace()
    registry, watcher = Registry(MemoryStore(space), "gogeta/1"), Registry(MemoryStore(space), "passivator/1")
    assert isinstance(registry.store, MemoryStore)
    member = Member(kind="gogeta", id="1")
    announcing = asyncio.create_task(registry.announce(member, ttl=10))
    await asyncio.sleep(1)
    registry.store.go_away()
    await asyncio.sleep(30)
    assert await watcher.members() == ()
    registry.store.come_back()
    await asyncio.sleep(11)
    assert await watcher.members() == (member,)
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)
    assert await watcher.members() == ()


@virtual_time
async def test_a_member_whose_key_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that was granted and then carried no key must not be prolonged for ever."""
    space = MemorySpace()
    store = MemoryStore(space)
    registry = Registry(store, "gogeta/1")
    commit = store.commit
    failing = [True, True]

    async def fail_at_first(*args: object) -> object:
        if failing:
            failing.pop()
            raise RegistryUnavailableError("not now")
        return await commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "commit", fail_at_first)
    announcing = asyncio.create_task(registry.announce(Member(kind="gogeta", id="1"), ttl=10))
    await asyncio.sleep(2)
    assert len(await registry.members()) == 1
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)


async def test_members_that_cannot_be_read_are_left_out(registry: Registry) -> None:
    await registry.store.commit([Put(keys.member_key("gogeta", "x"), b"garbage")])
    await registry.store.commit([Put(keys.member_key("gogeta", "y"), encode(Member(kind="gogeta", id="y")))])
    assert [member.id for member in await registry.members()] == ["y"]


async def test_a_desired_state_written_by_hand_is_read(registry: Registry) -> None:
    await registry.apply([tenant("acme")])
    await registry.store.commit([Put(keys.desired_key("acme"), b'{"version": 1, "state": "started"}')])
    assert (await registry.record("acme")).desired == DesiredState(state=Desired.STARTED)
