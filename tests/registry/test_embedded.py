"""The embedded store as a file among processes: crashes, locks, damage, clocks."""

import asyncio
import contextlib
import os
import random
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gogeta.registry import embedded, embedded_file
from gogeta.registry.embedded import EmbeddedStore
from gogeta.registry.embedded_file import EmbeddedFile
from gogeta.registry.store import (
    Guard,
    Put,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
)
from tests.registry.watching import Watching
from tests.rig.programs import ProcessRack, Program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "registry.db")


@pytest.fixture
async def store(path: str) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(path, timeout=0.5)
    yield store
    await store.close()


def start_writer(processes: ProcessRack, path: str, name: str) -> Program:
    return processes.python("-m", "tests.registry.embedded_writer", path, name, cwd=ROOT)


def acknowledged(writer: Program) -> int:
    """The last whole number it printed."""
    lines = writer.stdout().rpartition("\n")[0].split()
    return int(lines[-1]) if lines else 0


# ----------------------------------------------------------------------------------------------------------- processes


async def test_killed_writers_lose_nothing_acknowledged(processes: ProcessRack, path: str) -> None:
    names = ["a", "b"]
    store = EmbeddedStore(path, timeout=10)
    start = (await store.list("/own/")).revision
    async with Watching(store, "/own/", start) as watching:
        for _ in range(4):
            writers = {name: start_writer(processes, path, name) for name in names}
            for writer in writers.values():
                await asyncio.to_thread(writer.wait_for_line, r"\d+\n")
            await asyncio.sleep(random.uniform(0.05, 0.2))
            for writer in writers.values():
                writer.kill()
            own = {}
            for name, writer in writers.items():
                entry = await store.get(f"/own/{name}")
                assert entry is not None
                own[name] = int(entry.value)
                # The last commit may have happened without its writer having lived to say so.
                assert own[name] - acknowledged(writer) in (0, 1)
            shared = await store.get("/shared")
            assert shared is not None
            assert int(shared.value) == sum(own.values())
        await watching.until(lambda: len(watching.changes) >= sum(own.values()))
    for name in names:
        told = [int(c.entry.value) for c in watching.changes if c.entry and c.key == f"/own/{name}"]
        assert told == list(range(1, len(told) + 1)), "every change of the other processes, once and in order"
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_commits_of_another_process_are_seen_at_once(path: str, store: EmbeddedStore) -> None:
    other = EmbeddedStore(path)
    latencies: list[float] = []
    async with Watching(store, "/l/", 1) as watching:
        for number in range(40):
            await other.commit([Put("/l/1", str(number).encode())])
            began = time.monotonic()
            await watching.until(lambda: len(watching.changes) > number)  # noqa: B023  # awaited at once
            latencies.append(time.monotonic() - began)
            await asyncio.sleep(random.uniform(0, 0.02))
    latencies.sort()
    print(f"seen after {latencies[20] * 1000:.1f} ms (median), {latencies[-1] * 1000:.1f} ms (longest)")  # noqa: T201
    assert latencies[20] < 0.2
    await other.close()


async def test_many_processes_may_open_it_at_the_same_time(path: str) -> None:
    files = await asyncio.gather(*(asyncio.to_thread(EmbeddedFile, path) for _ in range(8)))
    assert {file.position().revision for file in files} == {1}
    for file in files:
        file.close()


# ----------------------------------------------------------------------------------------------------- the loop is free


async def test_another_writer_is_waited_for_and_then_given_up_without_blocking_the_loop(
    path: str, store: EmbeddedStore
) -> None:
    await store.commit([Put("/a", b"1")])
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryUnavailableError, match="locked") as caught:
            await store.commit([Put("/a", b"2")], [Guard("/a", 2)])
        assert not caught.value.unknown
        assert ticks > 20
        entry = await store.get("/a")
        assert entry is not None, "readers do not wait for writers"
        waiting = asyncio.create_task(store.commit([Put("/a", b"3")]))
        await asyncio.sleep(0.1)
        holder.execute("COMMIT")
        assert (await waiting).happened
    ticking.cancel()


async def test_a_disk_that_hangs_is_given_up(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedFile, "get", lambda _self, _key: time.sleep(1.5))
    hanging = asyncio.create_task(store.get("/a"))
    await asyncio.sleep(0)
    with pytest.raises(RegistryUnavailableError) as caught:
        await store.commit([Put("/a", b"")], [Guard("/a", 0)])
    assert not caught.value.unknown, "it was taken from the queue before it began"
    with pytest.raises(RegistryUnavailableError, match="did not answer"):
        await hanging


async def test_more_calls_than_can_wait_are_refused(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_MAX_WAITING", 5)
    monkeypatch.setattr(EmbeddedFile, "get", lambda _self, _key: time.sleep(0.05))
    results = await asyncio.gather(*(store.get("/a") for _ in range(20)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, RegistryUnavailableError)]
    assert 10 <= len(refused) < 20
    assert "wait" in refused[0].message


# -------------------------------------------------------------------------------------------------------------- bounds


async def test_history_and_file_are_bounded(path: str) -> None:
    store = EmbeddedStore(path, history=200)
    for number in range(120):
        await store.commit([Put(f"/h/{key}", str(number).encode() * 50) for key in range(20)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM log").fetchone()
        state = connection.execute("SELECT log_rows, compacted, revision FROM state").fetchone()
    assert 200 <= rows <= 220
    assert state == (rows, 111, 121)
    async with Watching(store, "/h/", 112) as watching:
        await watching.until(lambda: len(watching.changes) == 180)
    assert len((await store.list("/h/")).entries) == 20
    await store.close()


async def test_history_is_bounded_in_bytes_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_file, "_HISTORY_BYTES", 1_000_000)
    store = EmbeddedStore(path)
    for _ in range(40):
        await store.commit([Put("/h/1", bytes(100_000))])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("SELECT sum(length(value)) FROM log").fetchone()
    assert 0 < size <= 1_100_000
    await store.close()


# -------------------------------------------------------------------------------------------------------- bad files


def test_a_new_file_is_its_owners_alone(path: str) -> None:
    previous = os.umask(0)
    try:
        file = EmbeddedFile(path)
        file.grant(5)
        for name in (path, f"{path}-wal", f"{path}-shm"):
            assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
        file.close()
    finally:
        os.umask(previous)


def test_an_empty_file_is_filled(path: str) -> None:
    Path(path).touch()
    EmbeddedFile(path).close()
    EmbeddedFile(path).close()


def test_what_is_no_database_is_refused_and_left_alone(path: str) -> None:
    text = b"these are my notes\n" * 100
    Path(path).write_bytes(text)
    with pytest.raises(RegistryRefusedError, match="not a database") as caught:
        EmbeddedFile(path)
    assert "embedded:PATH" in caught.value.hint
    assert Path(path).read_bytes() == text


def test_another_programs_database_is_refused_and_left_alone(path: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    before = Path(path).read_bytes()
    with pytest.raises(RegistryRefusedError, match="another program"):
        EmbeddedFile(path)
    assert Path(path).read_bytes() == before


def test_a_newer_schema_is_refused(path: str) -> None:
    EmbeddedFile(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(RegistryRefusedError, match="schema version 99"):
        EmbeddedFile(path)


async def test_a_damaged_file_is_named(path: str, store: EmbeddedStore) -> None:
    for number in range(50):
        await store.commit([Put(f"/d/{number:03}", bytes(4000))])
    await store.close()
    with Path(path).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(Path(path).stat().st_size - 4096))
    with pytest.raises(RegistryRefusedError, match="cannot be") as caught:  # noqa: PT012  # either of them may find it
        damaged = EmbeddedFile(path)
        try:
            damaged.list("/")
        finally:
            damaged.close()
    assert path in caught.value.message
    assert "restore" in caught.value.hint


@pytest.mark.parametrize(
    ("pragma", "hint"), [("PRAGMA query_only = ON", "let this user write"), ("PRAGMA max_page_count = 1", "make room")]
)
async def test_a_readonly_file_and_a_full_disk_are_told_apart(store: EmbeddedStore, pragma: str, hint: str) -> None:
    await store.commit([Put("/a", b"1")])
    store._file._connection.execute(pragma)  # noqa: SLF001  # real errors of SQLite, without a real full disk
    with pytest.raises(RegistryRefusedError) as caught:
        await store.commit([Put("/large", bytes(100_000))])
    assert hint in caught.value.hint
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"1"


async def test_a_removed_file_is_not_written_to(path: str, store: EmbeddedStore) -> None:
    await store.commit([Put("/a", b"1")])
    watching = Watching(store, "/", 1)
    async with watching:
        Path(path).rename(f"{path}.away")
        await watching.until_done(timeout=3)
        assert isinstance(watching.ended, RegistryUnavailableError)
        with pytest.raises(RegistryUnavailableError, match="removed or replaced"):
            await store.commit([Put("/a", b"2")])
        Path(f"{path}.away").rename(path)
        assert (await store.commit([Put("/a", b"2")])).happened


@pytest.mark.parametrize("name", ["missing/registry.db", "."])
def test_an_impossible_path_is_said_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="cannot be opened") as caught:
        EmbeddedFile(str(tmp_path / name))
    assert caught.value.hint


# -------------------------------------------------------------------------------------------------------------- clocks


async def test_a_step_of_the_wall_clock_ends_no_lease(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = await store.grant(30)
    await store.commit([Put("/a", b"", lease)])
    for step in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda step=step: 1e9 + step)
        monkeypatch.setattr(time, "time_ns", lambda step=step: int((1e9 + step) * 1e9))
        assert await store.get("/a") is not None
        assert await store.keep_alive(lease)


async def test_no_lease_survives_a_boot(store: EmbeddedStore, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = await store.grant(30)
    await store.commit([Put("/a", b"", lease), Put("/b", b"")])
    monkeypatch.setattr(embedded_file, "boot_id", lambda: "the next boot")
    after = EmbeddedStore(path)
    assert [entry.key for entry in (await after.list("/")).entries] == ["/b"]
    await after.close()


async def test_a_boot_without_an_id_is_told_by_the_clock(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = await store.grant(30)
    await store.commit([Put("/a", b"", lease)])
    monkeypatch.setattr(embedded_file, "machine_seconds", lambda: 5.0)
    assert await store.get("/a") is None
    assert not await store.keep_alive(lease)


# ---------------------------------------------------------------------------------------------------------- for people


async def test_the_view_is_readable(path: str, store: EmbeddedStore) -> None:
    await store.commit([Put("/a", b'{"version":1}')])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key, value FROM readable").fetchall() == [("/a", '{"version":1}')]
