"""Faults on the way to real etcd servers: nothing acknowledged is lost, nothing is missed, silence is found out."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest

from gogeta.kit.setting_values import parse_registry
from gogeta.registry import etcd_watch
from gogeta.registry.mirror import Mirror
from gogeta.registry.opening import open_store
from gogeta.registry.store import (
    Change,
    Entry,
    Guard,
    Listing,
    Put,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
    Store,
)
from gogeta.settings import RegistrySettings
from tests.registry.relay import Relay
from tests.registry.watching import Watching, watch_to_its_end
from tests.rig.etcd import EtcdCluster, EtcdFactory, EtcdServer


class Connect(Protocol):
    """Opens a store by its URL; it is closed at the end."""

    def __call__(self, url: str, **settings: str | float) -> Store: ...


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens stores by URL, and closes them."""
    async with contextlib.AsyncExitStack() as cleanup:

        def open_one(url: str, **settings: str | float) -> Store:
            store = open_store(RegistrySettings(registry=parse_registry(url), **settings))  # type: ignore[arg-type]
            cleanup.push_async_callback(store.close)
            return store

        yield open_one


class Copy:
    """A mirror's sink: keys to values."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.told: list[Change] = []

    def reset(self, listing: Listing) -> None:
        self.entries = {entry.key: entry for entry in listing.entries}

    def changed(self, change: Change) -> None:
        self.told.append(change)
        if change.entry is None:
            self.entries.pop(change.key, None)
        else:
            self.entries[change.key] = change.entry


@contextlib.asynccontextmanager
async def mirrored(store: Store, prefix: str) -> AsyncIterator[tuple[Mirror, Copy]]:
    """A running mirror that has been whole once."""
    copy = Copy()
    mirror = Mirror(store, prefix, copy)
    running = asyncio.create_task(mirror.run())
    try:
        async with asyncio.timeout(15):
            await mirror.wait_synced()
        yield mirror, copy
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout: float = 15.0) -> float:
    """Wait for a condition; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not happen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


# ---------------------------------------------------------------------------------------------------------- one node


async def test_a_store_opens_while_etcd_is_down_and_works_when_it_is_up(etcd: EtcdServer, connect: Connect) -> None:
    await asyncio.to_thread(etcd.kill)
    store = connect(etcd.registry_url)
    writing = asyncio.create_task(store.commit([Put("/a", b"1")]))
    guarded = asyncio.create_task(store.commit([Put("/b", b"1")], [Guard("/b", 0)]))
    with pytest.raises(RegistryUnavailableError, match="does not answer"):
        await watch_to_its_end(store, "/", 1)
    await asyncio.to_thread(etcd.start)
    # Never sent while nobody listened: both may be tried again, the guarded one too.
    assert (await writing).happened
    assert (await guarded).happened


async def test_what_cannot_be_reached_is_given_up_after_the_window(
    etcd: EtcdServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gogeta.registry.etcd_transport.RETRY_WINDOW", 1.0)
    await asyncio.to_thread(etcd.kill)
    store = connect(etcd.registry_url, registry_timeout=1.0)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(RegistryUnavailableError) as caught:
        await store.commit([Put("/a", b"")], [Guard("/a", 0)])
    assert not caught.value.unknown
    assert time.monotonic() - began < 3
    assert etcd.endpoint in caught.value.message
    assert len([record for record in caplog.records if "trouble" in record.message]) == 1


async def test_kill_and_restart_loses_nothing(etcd: EtcdServer, connect: Connect) -> None:
    store = connect(etcd.registry_url)
    acknowledged: dict[str, bytes] = {}
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            key, value = f"/k/{number % 50}", str(number).encode()
            with contextlib.suppress(RegistryUnavailableError):
                await store.commit([Put(key, value)])
                acknowledged[key] = value
            number += 1

    async with mirrored(connect(etcd.registry_url), "/k/") as (mirror, copy):
        writing = asyncio.create_task(write())
        for _ in range(2):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(etcd.kill)
            await asyncio.to_thread(etcd.start)
        await asyncio.sleep(0.3)
        stop.set()
        await writing
        listing = await store.list("/k/")
        assert {entry.key: entry.value for entry in listing.entries} == acknowledged
        await until(lambda: copy.entries == {entry.key: entry for entry in listing.entries})
        assert mirror.resyncs == 1, "it went on from where it was"
        revisions = [change.revision for change in copy.told]
        assert revisions == sorted(set(revisions)), "no change twice"
        assert not mirror.stale


@pytest.mark.parametrize("how", ["frozen", "black hole"])
async def test_silence_is_found_out_within_seconds(etcd: EtcdServer, connect: Connect, how: str) -> None:
    async with Relay(etcd.port) as relay:
        store = connect(f"etcd://127.0.0.1:{relay.port}")
        async with Watching(store, "/s/", (await store.list("/s/")).revision) as watching:
            if how == "frozen":
                etcd.pause()
            else:
                relay.black_hole()
            try:
                took = await watching.until_done()
            finally:
                etcd.resume()
        assert isinstance(watching.ended, RegistryUnavailableError)
        assert took < etcd_watch.SILENCE + 1
        print(f"{how}: found out after {took:.2f} s")  # noqa: T201  # the figure is the point


async def test_a_guarded_commit_without_an_answer_is_unknown_and_is_not_sent_twice(
    etcd: EtcdServer, connect: Connect
) -> None:
    async with Relay(etcd.port) as relay:
        store = connect(f"etcd://127.0.0.1:{relay.port}", registry_timeout=1.0)
        assert await store.get("/u") is None
        relay.cut_when = lambda chunk: b"succeeded" in chunk
        with pytest.raises(RegistryUnavailableError) as caught:
            await store.commit([Put("/u", b"1")], [Guard("/u", 0)])
        assert caught.value.unknown
        entry = await store.get("/u")
        assert entry is not None, "it had happened"
        # An unguarded one is made again by the store.
        relay.cut_when = lambda chunk: b"succeeded" in chunk
        assert (await store.commit([Put("/u", b"2")])).happened


async def test_a_connection_cut_in_the_middle_of_catching_up_loses_nothing(etcd: EtcdServer, connect: Connect) -> None:
    store = connect(etcd.registry_url)
    start = (await store.list("/c/")).revision
    async with Relay(etcd.port) as relay:
        remote = connect(f"etcd://127.0.0.1:{relay.port}")
        for first in range(0, 1500, 100):
            await asyncio.gather(*(store.commit([Put(f"/c/{n}", b"x" * 100)]) for n in range(first, first + 100)))
        # A commit whose answer is late on a busy machine is repeated, and is a change of its own then.
        last = max(entry.revision for entry in (await store.list("/c/")).entries)
        passed = 0

        def after_a_while(chunk: bytes) -> bool:
            nonlocal passed
            passed += len(chunk)
            return passed > 200_000

        relay.cut_when = after_a_while
        changes: list[Change] = []
        after, cuts = start, 0
        async with asyncio.timeout(20):
            while after < last:
                try:
                    async with contextlib.aclosing(remote.watch("/c/", after)) as told:
                        async for batch in told:
                            changes.extend(batch.changes)
                            after = batch.revision
                            if after >= last:
                                break
                except RegistryUnavailableError:
                    cuts += 1
    assert cuts >= 1, "the test cut nothing"
    revisions = [change.revision for change in changes]
    assert revisions == sorted(set(revisions))
    assert {change.key for change in changes} == {f"/c/{number}" for number in range(1500)}


async def test_changes_and_a_compaction_while_away_end_in_the_right_copy(etcd: EtcdServer, connect: Connect) -> None:
    store = connect(etcd.registry_url)
    await store.commit([Put("/m/stays", b"1"), Put("/m/goes", b"1")])
    async with Relay(etcd.port) as relay:
        async with mirrored(connect(f"etcd://127.0.0.1:{relay.port}"), "/m/") as (mirror, copy):
            relay.black_hole()
            relay.cut()
            etcd.delete("/m/goes")
            await store.commit([Put("/m/new", b"2")])
            for number in range(20):
                await store.commit([Put("/m/stays", str(number).encode())])
            etcd.compact()
            await asyncio.sleep(0.1)
            relay.heal()
            took = await until(lambda: mirror.resyncs == 2)
            assert {key: entry.value for key, entry in copy.entries.items()} == {"/m/stays": b"19", "/m/new": b"2"}
            await store.commit([Put("/m/later", b"3")])
            await until(lambda: "/m/later" in copy.entries)
        print(f"right again after {took:.2f} s")  # noqa: T201


async def test_an_emptied_etcd_is_noticed(make_etcd: EtcdFactory, connect: Connect) -> None:
    """Same address, a shorter history: watching on from the old revision would be silence for ever."""
    server = await asyncio.to_thread(make_etcd)
    store = connect(server.registry_url)
    for number in range(20):
        await store.commit([Put(f"/e/{number}", b"")])
    async with mirrored(store, "/e/") as (mirror, copy):
        assert len(copy.entries) == 20
        await asyncio.to_thread(server.remove)
        server.folder.mkdir()
        await asyncio.to_thread(server.start)
        await until(lambda: mirror.resyncs == 2)
        assert copy.entries == {}


async def test_forced_resets_leave_nothing_behind(etcd: EtcdServer, connect: Connect) -> None:
    async with Relay(etcd.port) as relay:
        store = connect(f"etcd://127.0.0.1:{relay.port}")
        async with mirrored(store, "/f/") as (mirror, copy):
            for number in range(10):
                relay.cut()
                with contextlib.suppress(RegistryError):
                    await store.commit([Put("/f/n", str(number).encode())])
            await store.commit([Put("/f/n", b"last")])
            await until(lambda: "/f/n" in copy.entries and copy.entries["/f/n"].value == b"last")
            # The mirror's, its request's body, this one, and the relay's three for each of its connections.
            await until(lambda: len(asyncio.all_tasks()) <= 4 + 3 * 3)
            assert mirror.resyncs == 1


# ------------------------------------------------------------------------------------------------------- three nodes


async def test_killing_the_leader_twice_loses_nothing_acknowledged(etcd_cluster: EtcdCluster, connect: Connect) -> None:
    store = connect(etcd_cluster.registry_url)
    acknowledged: set[str] = set()
    longest = 0.0
    failures = 0
    stop = asyncio.Event()

    async def write(writer: int) -> None:
        nonlocal longest, failures
        number = 0
        while not stop.is_set():
            number += 1
            key, began = f"/k/{writer}-{number}", time.monotonic()
            try:
                assert (await store.commit([Put(key, b"x")])).happened
            except RegistryUnavailableError:
                failures += 1
            else:
                acknowledged.add(key)
            longest = max(longest, time.monotonic() - began)

    async with mirrored(connect(etcd_cluster.registry_url), "/k/") as (mirror, copy):
        writing = [asyncio.create_task(write(writer)) for writer in range(3)]
        for _ in range(2):
            await asyncio.sleep(0.4)
            leader = await asyncio.to_thread(etcd_cluster.leader)
            await asyncio.to_thread(leader.kill)
            before = len(acknowledged)
            await until(lambda: len(acknowledged) > before + 20)  # noqa: B023  # awaited at once
            await asyncio.to_thread(leader.start)
        stop.set()
        await asyncio.gather(*writing)
        listed = {entry.key for entry in (await store.list("/k/")).entries}
        assert acknowledged <= listed
        assert failures == 0
        await until(lambda: set(copy.entries) == listed)
        assert mirror.resyncs == 1
    print(f"acknowledged {len(acknowledged)}, longest {longest:.2f} s")  # noqa: T201


async def test_guarded_commits_count_right_over_a_leader_change(etcd_cluster: EtcdCluster, connect: Connect) -> None:
    """Each increment is guarded; one whose outcome is unknown is settled by reading. The sum must be exact."""
    store = connect(etcd_cluster.registry_url)
    done = 0
    await store.commit([Put("/n", json.dumps(["", 0]).encode())])
    killed: asyncio.Task[None] | None = None
    while done < 120:
        entry = await store.get("/n")
        assert entry is not None
        _, count = json.loads(entry.value)
        mark = f"{done}-{time.monotonic_ns()}"
        try:
            result = await store.commit(
                [Put("/n", json.dumps([mark, count + 1]).encode())], [Guard("/n", entry.revision)]
            )
            done += result.happened
        except RegistryUnavailableError as error:
            if not error.unknown:
                raise
            # etcd may still carry it out after an election; a read through the leader comes after that.
            after = await store.get("/n")
            assert after is not None
            done += json.loads(after.value)[0] == mark
        if done == 40 and killed is None:
            leader = await asyncio.to_thread(etcd_cluster.leader)
            killed = asyncio.create_task(asyncio.to_thread(leader.kill))
    last = await store.get("/n")
    assert last is not None
    assert json.loads(last.value)[1] == done
    assert killed is not None
    await killed


async def test_a_frozen_member_is_left_for_another(etcd_cluster: EtcdCluster, connect: Connect) -> None:
    store = connect(etcd_cluster.registry_url)
    async with mirrored(store, "/z/") as (mirror, copy):
        await store.commit([Put("/z/0", b"")])
        await until(lambda: "/z/0" in copy.entries)
        for number, member in enumerate(etcd_cluster.members):
            member.pause()
            try:
                await store.commit([Put(f"/z/frozen-{number}", b"")])
                took = await until(lambda: f"/z/frozen-{number}" in copy.entries)  # noqa: B023  # awaited at once
            finally:
                member.resume()
            print(f"member {number} frozen: change seen after {took:.2f} s")  # noqa: T201
        assert mirror.resyncs == 1


async def test_a_member_without_a_leader_ends_its_watch(etcd_cluster: EtcdCluster, connect: Connect) -> None:
    """Its connection is fine and it answers: only the header we send makes it say that it hears nothing."""
    lonely, *others = etcd_cluster.members
    store = connect(lonely.registry_url)
    async with Watching(store, "/l/", (await store.list("/l/")).revision) as watching:
        for other in others:
            other.pause()
        try:
            took = await watching.until_done(timeout=15)
        finally:
            for other in others:
                other.resume()
        assert isinstance(watching.ended, RegistryUnavailableError)
        assert "no leader" in watching.ended.message
    print(f"no leader: found out after {took:.2f} s")  # noqa: T201


# ---------------------------------------------------------------------------------------------------- who may what


async def test_a_lost_token_is_renewed(make_etcd: EtcdFactory, connect: Connect) -> None:
    users = {"root": "secret", "gogeta": "p:s@"}
    server = await asyncio.to_thread(lambda: make_etcd(users=users, extra_args=["--auth-token-ttl=2"]))
    server.grant("gogeta", "/g/")
    store = connect(server.registry_url.replace("://", "://gogeta:p%3As%40@"))
    async with mirrored(store, "/g/") as (mirror, copy):
        assert (await store.commit([Put("/g/1", b"")], [Guard("/g/1", 0)])).happened
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        # The restarted server knows no token.
        results = await asyncio.gather(
            *(store.commit([Put(f"/g/{n}", b"")], [Guard(f"/g/{n}", 0)]) for n in range(2, 9))
        )
        assert all(result.happened for result in results)
        await until(lambda: "/g/8" in copy.entries)
        assert mirror.resyncs == 1
        # By its age.
        await asyncio.sleep(3.1)
        assert await store.get("/g/8") is not None
        # By a change of what users may do.
        server.grant("gogeta", "/h/")
        assert (await store.commit([Put("/h/1", b"")], [Guard("/h/1", 0)])).happened


async def test_what_is_forbidden_is_refused_and_not_waited_for(
    make_etcd: EtcdFactory, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.to_thread(lambda: make_etcd(users={"root": "secret", "gogeta": "hidden-word"}))
    server.grant("gogeta", "/g/", "READ")
    store = connect(server.registry_url.replace("://", "://gogeta:hidden-word@"))
    seen = []
    for forbidden in [
        store.get("/other"),
        store.list("/"),
        store.commit([Put("/g/1", b"")]),
        store.commit([Put("/g/1", b"")], [Guard("/g/1", 0)]),
    ]:
        with pytest.raises(RegistryRefusedError, match="permission denied") as caught:
            await forbidden
        seen.append(caught.value)
        assert "docs/registry.md" in caught.value.hint
    with pytest.raises(RegistryRefusedError) as refused:
        await watch_to_its_end(store, "/other/", 1)
    assert await store.get("/g/1") is None
    wrong = connect(server.registry_url.replace("://", "://gogeta:wrong-word@"))
    with pytest.raises(RegistryRefusedError, match="authentication failed") as failed:
        await wrong.get("/g/1")
    nameless = connect(server.registry_url)
    with pytest.raises(RegistryRefusedError) as anonymous:
        await nameless.get("/g/1")
    text = caplog.text + repr(store) + repr(wrong)
    for error in [*seen, refused.value, failed.value, anonymous.value]:
        text += str(error) + error.hint
    assert "hidden-word" not in text
    assert "wrong-word" not in text


async def test_tls_with_our_own_authority(make_etcd: EtcdFactory, connect: Connect) -> None:
    server = await asyncio.to_thread(lambda: make_etcd(tls=True))
    store = connect(server.registry_url, registry_ca=str(server.ca_file))
    assert (await store.commit([Put("/t", b"1")])).happened
    async with Watching(store, "/t", (await store.list("/t")).revision) as watching:
        await store.commit([Put("/t", b"2")])
        await watching.until(lambda: bool(watching.changes))
    stranger = connect(server.registry_url)
    with pytest.raises(RegistryRefusedError, match="certificate") as caught:
        await stranger.get("/t")
    assert "registry_ca" in caught.value.hint
    with pytest.raises(RegistryRefusedError, match="certificate"):
        await watch_to_its_end(stranger, "/t", 1)


async def test_a_wrong_host_name_is_refused(make_etcd: EtcdFactory, connect: Connect) -> None:
    server = await asyncio.to_thread(lambda: make_etcd(tls=True))
    # It listens here too as far as the kernel is concerned, and its certificate does not say so.
    async with Relay(server.port) as relay:
        store = connect(f"etcds://127.0.0.1:{relay.port}", registry_ca=str(server.ca_file))
        assert await store.get("/t") is None
        other = connect(f"etcds://127.0.0.2:{relay.port}", registry_ca=str(server.ca_file))
        with pytest.raises(RegistryRefusedError, match=r"certificate is not valid for '127\.0\.0\.2'"):
            await other.get("/t")


async def test_mutual_tls(make_etcd: EtcdFactory, connect: Connect) -> None:
    server = await asyncio.to_thread(lambda: make_etcd(tls=True, client_auth=True))
    assert server.client_certificate
    certificate = {
        "registry_ca": str(server.ca_file),
        "registry_cert": str(server.client_certificate.cert_file),
        "registry_key": str(server.client_certificate.key_file),
    }
    store = connect(server.registry_url, **certificate)
    assert (await store.commit([Put("/t", b"1")])).happened
    async with Watching(store, "/t", (await store.list("/t")).revision) as watching:
        await store.commit([Put("/t", b"2")])
        await watching.until(lambda: bool(watching.changes))


async def test_a_full_etcd_says_what_to_do(make_etcd: EtcdFactory, connect: Connect) -> None:
    server = await asyncio.to_thread(lambda: make_etcd(extra_args=["--quota-backend-bytes=2000000"]))
    store = connect(server.registry_url)

    async def fill() -> None:
        for number in range(10):
            await store.commit([Put(f"/full/{number}", bytes(500_000))])

    with pytest.raises(RegistryRefusedError, match="space exceeded") as caught:
        await fill()
    assert "compact" in caught.value.hint
    assert await store.get("/full/0") is not None


async def test_something_else_on_the_port_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gogeta.registry.etcd_transport.RETRY_WINDOW", 0.5)

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = connect(f"etcd://127.0.0.1:{port}", registry_timeout=0.5)
        with pytest.raises(RegistryUnavailableError, match="does not speak like etcd"):
            await store.get("/")
        with pytest.raises(RegistryUnavailableError, match="does not speak like etcd"):
            await watch_to_its_end(store, "/", 1)
