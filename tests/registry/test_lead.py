"""Leading by lease, on every store: one leads, the next one follows, and a stale one can write nothing."""

import asyncio

import pytest

from gogeta.domain.state import Leader
from gogeta.registry import keys
from gogeta.registry.lead import FencedStore, Lead, NotLeadingError, moment, stand
from gogeta.registry.store import Delete, Guard, Put, Store
from tests.registry.conftest import Stores

TTL = 2.0
KEY = keys.leader_key("g")


async def lead(store: Store, by: str, over: int = 0) -> Lead | None:
    return await stand(store, "g", Leader(by=by), TTL, over)


async def test_of_many_who_stand_one_leads(stores: Stores) -> None:
    results = await asyncio.gather(*(lead(stores.make(), f"p{number}") for number in range(8)))
    (leader,) = [result for result in results if result is not None]
    assert leader.holds
    entry = await stores.make().get(KEY)
    assert entry is not None
    assert entry.revision == leader.revision


async def test_a_lease_that_is_not_prolonged_ends_and_the_next_one_leads(stores: Stores) -> None:
    store = stores.make()
    first = await lead(store, "first")
    assert first is not None
    assert await lead(store, "second") is None
    async with asyncio.timeout(3 * TTL + 5):
        while (second := await lead(store, "second")) is None:  # noqa: ASYNC110 - a real registry
            await asyncio.sleep(0.1)
    assert not first.holds, "it knew by its own clocks before anybody else could lead"
    assert second.holds


async def test_what_a_stale_leader_writes_is_refused_and_changes_nothing(stores: Stores) -> None:
    store = stores.make()
    first = await lead(store, "first")
    assert first is not None
    fenced = FencedStore(stores.make(), first)
    assert (await fenced.commit([Put("/x", b"1")])).happened
    # Another one takes over, knowing that the first is dead; which believes otherwise.
    second = await lead(store, "second", over=first.revision)
    assert second is not None
    first.check()  # by its own clocks
    with pytest.raises(NotLeadingError):
        await fenced.commit([Put("/x", b"2"), Put("/y", b"2")], [Guard("/z", 0)])
    assert first.lost.is_set()
    assert not first.holds
    with pytest.raises(NotLeadingError):
        await fenced.commit([Delete("/x")])
    entry = await store.get("/x")
    assert entry is not None
    assert entry.value == b"1"
    assert await store.get("/y") is None
    assert (await FencedStore(store, second).commit([Put("/x", b"3")])).happened


async def test_a_guard_of_the_callers_own_refuses_as_ever_and_tells_its_entry_alone(stores: Stores) -> None:
    store = stores.make()
    leader = await lead(store, "first")
    assert leader is not None
    fenced = FencedStore(store, leader)
    await fenced.commit([Put("/x", b"1")])
    result = await fenced.commit([Put("/x", b"2")], [Guard("/x", 0), Guard("/gone", 0)])
    assert not result.happened
    assert [entry.key for entry in result.current] == ["/x"]
    assert leader.holds


async def test_the_registry_proves_who_leads_and_whose_time_is_over(stores: Stores) -> None:
    store = stores.make()
    first = await lead(store, "first")
    assert first is not None
    await first.prove(store)
    assert await lead(store, "second", over=first.revision) is not None
    with pytest.raises(NotLeadingError):
        await first.prove(store)
    assert first.lost.is_set()


async def test_a_lease_that_ended_takes_no_key_of_the_one_who_took_over(stores: Stores) -> None:
    store = stores.make()
    first = await lead(store, "first")
    assert first is not None
    second = await lead(store, "second", over=first.revision)
    assert second is not None
    await store.revoke(first.lease)
    await second.prove(store)


async def test_time_since_the_lease_was_asked_for_counts_on_both_clocks(stores: Stores) -> None:
    leader = await lead(stores.make(), "first")
    assert leader is not None
    loops, systems = moment()
    leader.prolonged((loops - TTL, systems))
    assert not leader.holds
    leader.prolonged((loops, systems - TTL))
    assert not leader.holds
    leader.prolonged(moment())
    leader.check()
