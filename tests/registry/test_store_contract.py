"""What every store promises, on every store: in memory, in a file, on one etcd node and on three."""

import asyncio
import random

import pytest

from gogeta.registry.store import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    CompactedError,
    Delete,
    Guard,
    Put,
    RegistryRefusedError,
    RegistryUnavailableError,
    Store,
)
from tests.registry.conftest import Stores
from tests.registry.watching import Watching, watch_to_its_end

EVERY_BYTE = bytes(range(256))


async def committed(store: Store, *operations: Put | Delete) -> int:
    result = await store.commit(operations)
    assert result.happened
    return result.revision


async def put(store: Store, key: str, value: bytes = b"") -> int:
    return await committed(store, Put(key, value))


async def revision_of(store: Store) -> int:
    return (await store.list("/nothing/")).revision


# ------------------------------------------------------------------------------------------------ values and revisions


async def test_a_key_is_what_was_put_last(store: Store) -> None:
    assert await store.get("/a") is None
    first = await put(store, "/a", b"one")
    second = await put(store, "/a", b"two")
    entry = await store.get("/a")
    assert entry is not None
    assert (entry.key, entry.value) == ("/a", b"two")
    assert 0 < first < second
    assert (entry.created, entry.revision) == (first, second)


async def test_a_key_that_comes_again_was_created_anew(store: Store) -> None:
    await put(store, "/a")
    await store.commit([Delete("/a")])
    assert await store.get("/a") is None
    again = await put(store, "/a")
    entry = await store.get("/a")
    assert entry is not None
    assert entry.created == entry.revision == again


@pytest.mark.parametrize("value", [b"", EVERY_BYTE, b"\n{}\n", b"x" * 200_000], ids=["empty", "all", "lines", "long"])
async def test_any_bytes_come_back(store: Store, value: bytes) -> None:
    await put(store, "/bytes", value)
    entry = await store.get("/bytes")
    assert entry is not None
    assert entry.value == value
    (listed,) = (await store.list("/bytes")).entries
    assert listed == entry


@pytest.mark.parametrize("key", ["/ключ/日本", "/a b", "/quote'\"\\", "/\U0001f600", "/\udcff\udc80", "x", "/a\x00b"])
async def test_any_key_comes_back(store: Store, key: str) -> None:
    async with Watching(store, key, await revision_of(store)) as watching:
        await put(store, key, b"v")
        await watching.until(lambda: bool(watching.changes))
    assert [change.key for change in watching.changes] == [key]
    assert [entry.key for entry in (await store.list(key)).entries] == [key]
    found = await store.get(key)
    assert found is not None
    assert found.key == key


async def test_what_changes_nothing_has_no_revision(store: Store) -> None:
    before = await revision_of(store)
    result = await store.commit([Delete("/never")])
    assert result.happened
    assert result.revision == await revision_of(store) == before


# ------------------------------------------------------------------------------------------------------------- listing


async def test_a_listing_has_what_begins_with_the_prefix_in_order(store: Store) -> None:
    inside = ["/a/", "/a/1", "/a/10", "/a/2", "/a/é", "/a/\U0010ffff"]
    outside = ["/a", "/a.", "/a0", "/b/1"]
    for key in random.sample(inside + outside, len(inside + outside)):
        await put(store, key)
    listing = await store.list("/a/")
    assert [entry.key for entry in listing.entries] == sorted(inside, key=str.encode)
    assert listing.revision == max(entry.revision for entry in (await store.list("/")).entries)
    everything = [entry.key for entry in (await store.list("")).entries]
    assert set(inside + outside) <= set(everything)
    assert (await store.list("/none/")).entries == ()


async def test_a_long_listing_is_of_one_moment(stores: Stores) -> None:
    """Two keys far apart are always changed together; no listing may see one changed and the other not."""
    store, other = stores.make(), stores.make()
    many = 2500
    for start in range(0, many, 100):
        await store.commit([Put(f"/many/{number:06}", b"0") for number in range(start, start + 100)])
    first, last = "/many/000000", f"/many/{many - 1:06}"
    await store.commit([Put(first, b"0"), Put(last, b"0")])
    stop = asyncio.Event()

    async def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await other.commit([Put(first, str(number).encode()), Put(last, str(number).encode())])

    changing = asyncio.create_task(change())
    try:
        for _ in range(5):
            listing = await store.list("/many/")
            assert len(listing.entries) == many
            assert listing.entries[0].value == listing.entries[-1].value
            assert listing.entries[0].revision == listing.entries[-1].revision <= listing.revision
    finally:
        stop.set()
        await changing


# ------------------------------------------------------------------------------------------------------------- commits


async def test_all_operations_or_none(store: Store) -> None:
    revision = await put(store, "/a", b"1")
    refused = await store.commit([Put("/b", b"2"), Delete("/a")], [Guard("/a", revision + 1)])
    assert not refused.happened
    assert [entry.key for entry in refused.current] == ["/a"]
    assert refused.current[0].revision == revision
    assert await store.get("/b") is None
    done = await store.commit([Put("/b", b"2"), Delete("/a")], [Guard("/a", revision), Guard("/b", 0)])
    assert done.happened
    assert await store.get("/a") is None
    entry = await store.get("/b")
    assert entry is not None
    assert entry.revision == done.revision


async def test_a_guard_of_zero_wants_the_key_not_to_exist(store: Store) -> None:
    assert (await store.commit([Put("/new", b"")], [Guard("/new", 0)])).happened
    refused = await store.commit([Put("/new", b"")], [Guard("/new", 0), Guard("/other", 0)])
    assert not refused.happened
    assert [entry.key for entry in refused.current] == ["/new"]


async def test_a_refusal_tells_every_guarded_entry(store: Store) -> None:
    one, two = await put(store, "/1", b"one"), await put(store, "/2", b"two")
    refused = await store.commit([Put("/3", b"")], [Guard("/1", one), Guard("/2", two + 9), Guard("/none", 0)])
    assert not refused.happened
    assert {entry.key: entry.value for entry in refused.current} == {"/1": b"one", "/2": b"two"}


async def test_of_many_writers_exactly_one_wins_each_round(stores: Stores) -> None:
    clients = [stores.make() for _ in range(4)]
    for _ in range(5):
        entry = await clients[0].get("/prize")
        revision = entry.revision if entry else 0
        results = await asyncio.gather(
            *(
                clients[number % 4].commit([Put("/prize", str(number).encode())], [Guard("/prize", revision)])
                for number in range(24)
            )
        )
        winners = [number for number, result in enumerate(results) if result.happened]
        assert len(winners) == 1
        entry = await clients[1].get("/prize")
        assert entry is not None
        assert entry.value == str(winners[0]).encode()


async def test_counters_add_up(stores: Stores) -> None:
    clients = [stores.make() for _ in range(3)]
    each = 5

    async def count(store: Store) -> None:
        done = 0
        current = await store.get("/counter")
        while done < each:
            value, revision = (int(current.value), current.revision) if current else (0, 0)
            result = await store.commit([Put("/counter", str(value + 1).encode())], [Guard("/counter", revision)])
            done += result.happened
            current = await store.get("/counter") if result.happened else (result.current or (None,))[0]

    await asyncio.gather(*(count(client) for client in clients for _ in range(3)))
    entry = await clients[0].get("/counter")
    assert entry is not None
    assert int(entry.value) == 9 * each


async def test_a_commit_has_limits(store: Store) -> None:
    most = [Put(f"/m/{number}", b"") for number in range(MAX_OPERATIONS)]
    assert (await store.commit(most, [Guard(operation.key, 0) for operation in most])).happened
    with pytest.raises(ValueError, match=str(MAX_OPERATIONS)):
        await store.commit([*most, Put("/m/more", b"")])
    with pytest.raises(ValueError, match="twice"):
        await store.commit([Put("/twice", b""), Delete("/twice")])
    with pytest.raises(ValueError, match="empty"):
        await store.commit([Put("", b"")])
    with pytest.raises(ValueError, match="surrogates"):
        await store.commit([Put("/\ud800", b"")])
    with pytest.raises(ValueError, match="expected"):
        await store.commit([])
    with pytest.raises(RegistryRefusedError, match="too large"):
        await store.commit([Put("/large", bytes(MAX_COMMIT_BYTES))])
    assert (await store.commit([Put("/large", bytes(MAX_COMMIT_BYTES - 100))])).happened


# ------------------------------------------------------------------------------------------------------------- watches


async def test_a_watch_tells_every_change_of_a_burst_once_and_in_order(stores: Stores) -> None:
    store, other = stores.make(), stores.make()
    start = await revision_of(store)
    async with Watching(store, "/burst/", start) as watching:
        results = await asyncio.gather(
            *(
                client.commit([Put(f"/burst/{number}", str(number).encode())])
                for number in range(400)
                for client in [store if number % 2 else other]
            ),
            *(store.commit([Put(f"/elsewhere/{number}", b"")]) for number in range(50)),
        )
        await watching.until(lambda: len(watching.changes) >= 400)
        await put(store, "/burst/end")
        await watching.until(lambda: watching.changes[-1].key == "/burst/end")
    changes = watching.changes
    assert len(changes) == 401
    assert {change.key for change in changes} == {f"/burst/{number}" for number in range(400)} | {"/burst/end"}
    revisions = [change.revision for change in changes]
    assert revisions == sorted(set(revisions))
    assert set(revisions[:-1]) == {result.revision for result in results[:400] if result.happened}
    for change in changes[:-1]:
        assert change.entry is not None
        assert change.entry.value == change.key.rpartition("/")[2].encode()
    told = [batch.revision for batch in watching.batches]
    assert told == sorted(told)


async def test_changes_of_one_commit_share_a_revision_and_a_batch(store: Store) -> None:
    await put(store, "/w/gone")
    start = await revision_of(store)
    async with Watching(store, "/w/", start) as watching:
        revision = await committed(store, Put("/w/1", b"1"), Put("/w/2", b"2"), Delete("/w/gone"), Put("/v/3", b"3"))
        await watching.until(lambda: len(watching.changes) >= 3)
    assert [change.key for change in watching.changes] == ["/w/1", "/w/2", "/w/gone"]
    assert {change.revision for change in watching.changes} == {revision}
    assert [change.entry is None for change in watching.changes] == [False, False, True]
    first = watching.changes[0].entry
    assert first is not None
    assert first.created == first.revision == watching.changes[0].revision
    (batch,) = [batch for batch in watching.batches if batch.changes]
    assert batch.revision >= batch.changes[0].revision


async def test_a_watch_resumes_from_any_revision_without_a_gap(stores: Stores) -> None:
    store = stores.make()
    start = await revision_of(store)
    revisions = [await put(store, f"/r/{number % 7}", str(number).encode()) for number in range(60)]
    for after in [start, revisions[0], revisions[30], revisions[-1]]:
        expected = [revision for revision in revisions if revision > after]
        async with Watching(stores.make(), "/r/", after) as watching:
            await watching.until(lambda: len(watching.changes) >= len(expected))  # noqa: B023  # awaited at once
            assert [change.revision for change in watching.changes] == expected


async def test_a_long_absence_is_caught_up_with_whole_commits(store: Store) -> None:
    """More than one batch of every store; whoever stops between two batches must be able to go on from there."""
    start = await revision_of(store)
    for number in range(30):
        await store.commit([Put(f"/c/{key}", str(number).encode()) for key in range(100)])
    async with Watching(store, "/c/", start) as watching:
        await watching.until(lambda: len(watching.changes) >= 3000)
    assert len(watching.changes) == 3000
    for batch in watching.batches:
        counts = [
            sum(c.revision == revision for c in batch.changes) for revision in {c.revision for c in batch.changes}
        ]
        assert set(counts) <= {100}
        assert all(change.revision <= batch.revision for change in batch.changes)


async def test_a_large_absence_is_caught_up(store: Store) -> None:
    start = await revision_of(store)
    for number in range(4):
        await store.commit([Put(f"/big/{key}", bytes([number]) * 100_000) for key in range(8)])
    async with Watching(store, "/big/", start) as watching:
        await watching.until(lambda: len(watching.changes) >= 32)
    assert [change.entry.value[0] for change in watching.changes if change.entry] == [
        n for n in range(4) for _ in range(8)
    ]


async def test_a_quiet_watch_gives_signs_of_life(store: Store) -> None:
    start = await revision_of(store)
    async with Watching(store, "/quiet/", start) as watching:
        assert watching.batches[0].changes == ()
        assert await watching.until(lambda: len(watching.batches) >= 2) < 4
        assert watching.changes == []
        assert all(batch.revision >= start for batch in watching.batches)


async def test_compacted_history_is_said_to_be_gone(stores: Stores) -> None:
    store = stores.make()
    start = await revision_of(store)
    for number in range(20):
        await put(store, "/c/1", str(number).encode())
    await stores.compact()
    with pytest.raises(CompactedError):
        await watch_to_its_end(store, "/c/", start)
    listing = await store.list("/c/")
    async with Watching(store, "/c/", listing.revision) as again:
        await put(store, "/c/1", b"after")
        await again.until(lambda: bool(again.changes))


async def test_a_watch_from_a_future_that_will_not_come_is_told_so(store: Store) -> None:
    """A registry that was emptied or restored is behind what its watchers have seen; waiting would be silence."""
    with pytest.raises(CompactedError):
        await watch_to_its_end(store, "/f/", await revision_of(store) + 1000)


async def test_close_ends_watches_and_calls(store: Store) -> None:
    async with Watching(store, "/x/", await revision_of(store)) as watching:
        await store.close()
        await watching.until_done(timeout=3)
        assert watching.ended is None
    with pytest.raises(RegistryUnavailableError):
        await store.get("/x")
    await store.close()


# -------------------------------------------------------------------------------------------------------------- leases


async def test_a_key_goes_with_its_lease(stores: Stores) -> None:
    store = stores.make()
    start = await revision_of(store)
    lease = await store.grant(1)
    await store.commit([Put("/l/1", b"", lease), Put("/l/2", b"", lease), Put("/l/stays", b"")])
    assert await store.keep_alive(lease)
    # By another process, which finds out by itself.
    async with Watching(stores.make(), "/l/", start) as watching:
        # etcd raises a ttl to what an election takes.
        await watching.until(lambda: sum(change.entry is None for change in watching.changes) == 2, timeout=8)
    assert [entry.key for entry in (await store.list("/l/")).entries] == ["/l/stays"]
    assert not await store.keep_alive(lease)
    with pytest.raises(RegistryRefusedError):
        await store.commit([Put("/l/late", b"", lease)])


async def test_a_prolonged_lease_lasts(stores: Stores) -> None:
    store, kind = stores.make(), stores.kind
    lease = await store.grant(1)
    await store.commit([Put("/p", b"", lease)])
    for _ in range(3 if kind == "embedded" else 5):
        await asyncio.sleep(0.5)
        assert await store.keep_alive(lease)
    assert await store.get("/p") is not None
    await store.revoke(lease)
    await store.revoke(lease)
    assert await store.get("/p") is None
    assert not await store.keep_alive(lease)


async def test_a_put_without_the_lease_frees_the_key(store: Store) -> None:
    lease = await store.grant(60)
    await store.commit([Put("/free", b"", lease)])
    await store.commit([Put("/free", b"mine")])
    await store.revoke(lease)
    entry = await store.get("/free")
    assert entry is not None
    assert entry.value == b"mine"


async def test_a_lease_of_less_than_a_second_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="1 second"):
        await store.grant(0.5)
