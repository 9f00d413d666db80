"""Calls that are counted, and how late a watch tells of what we wrote ourselves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.metered import MOST_AWAITED, MeteredStore, RegistryCollector
from gogeta.registry.mirror import Mirror
from gogeta.registry.store import Change, Guard, Listing, Put, RegistryRefusedError, RegistryUnavailableError

pytestmark = pytest.mark.virtual_time

Number = Callable[..., float]


class Heard:
    """A mirrored part that only counts."""

    def __init__(self) -> None:
        self.listings = 0
        self.changes = 0

    def reset(self, listing: Listing) -> None:
        self.listings += 1

    def changed(self, change: Change) -> None:
        self.changes += 1


class Stage:
    """A metered store, the one beneath it with its troubles, and a mirror of ``a/``."""

    def __init__(self) -> None:
        self.space = MemorySpace()
        self.beneath = MemoryStore(self.space)
        self.store = MeteredStore(self.beneath)
        self.heard = Heard()
        self.mirror = Mirror(self.store, "a/", self.heard)
        self.metrics = CollectorRegistry()
        self.metrics.register(RegistryCollector("gogeta", self.store))

    def number(self, name: str, **labels: str) -> float:
        value = self.metrics.get_sample_value(f"gogeta_registry_{name}", labels)
        assert value is not None, name
        return value


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    stage = Stage()
    task = asyncio.get_running_loop().create_task(stage.mirror.run())
    await stage.mirror.wait_synced()
    await asyncio.sleep(0.1)
    yield stage
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_calls_are_timed_and_those_that_fail_are_counted_by_what_they_did_and_how(on: Stage) -> None:
    on.beneath.delay = 2.0
    await on.store.get("b")
    assert on.number("call_seconds_count", operation="get") == 1
    assert on.number("call_seconds_sum", operation="get") == pytest.approx(2.0)
    on.beneath.delay = 0.0
    on.beneath.unavailable = True
    with pytest.raises(RegistryUnavailableError):
        await on.store.commit([Put("b", b"")])
    assert on.number("errors_total", operation="commit", kind="unavailable") == 1
    assert on.number("call_seconds_count", operation="commit") == 1
    on.beneath.unavailable = False
    with pytest.raises(RegistryRefusedError):
        await on.store.commit([Put("b", b"x" * 2_000_000)])
    assert on.number("errors_total", operation="commit", kind="refused") == 1
    assert on.number("errors_total", operation="get", kind="unavailable") == 0


async def test_a_guard_that_does_not_hold_is_no_failure(on: Stage) -> None:
    await on.store.commit([Put("b", b"1")])
    refused = await on.store.commit([Put("b", b"2")], [Guard("b", 0)])
    assert not refused.happened
    assert sum(on.store.calls.errors.values()) == 0


async def test_what_we_wrote_is_awaited_in_our_own_watch(on: Stage) -> None:
    assert on.number("watch_behind_seconds") == 0
    # The watch goes silent, and says nothing of that.
    on.beneath.silence_watches()
    await asyncio.sleep(0)
    await on.store.commit([Put("a/1", b"")])
    await asyncio.sleep(2)
    await on.store.commit([Put("a/2", b"")])
    await asyncio.sleep(1)
    assert on.number("watch_behind_seconds") == pytest.approx(3.0)
    assert on.number("watch_lag_seconds_count") == 0
    while on.heard.changes < 2:  # noqa: ASYNC110 - bounded by the test's own limit
        await asyncio.sleep(0.1)
    assert on.number("watch_behind_seconds") == 0
    assert on.number("watch_lag_seconds_count") == 2
    assert on.number("watch_lag_seconds_sum") > 5
    assert on.number("errors_total", operation="watch", kind="unavailable") == 1


async def test_a_watch_that_tells_at_once_has_no_lag(on: Stage) -> None:
    for number in range(5):
        await on.store.commit([Put(f"a/{number}", b"")])
        await asyncio.sleep(0.01)
    assert on.heard.changes == 5
    assert on.number("watch_lag_seconds_count") == 5
    assert on.number("watch_lag_seconds_sum") < 0.01


async def test_what_is_not_watched_is_not_awaited(on: Stage) -> None:
    on.beneath.silence_watches()
    await on.store.commit([Put("b/1", b"")])
    await MeteredStore(MemoryStore(on.space)).commit([Put("a/theirs", b"")])
    await asyncio.sleep(3)
    assert on.number("watch_behind_seconds") == 0


async def test_a_listing_after_a_broken_watch_tells_of_it_too(on: Stage) -> None:
    on.beneath.go_away()
    await asyncio.sleep(0.01)
    other = MemoryStore(on.space)
    on.beneath.unavailable = False
    await on.store.commit([Put("a/1", b"")])
    await other.commit([Put("a/2", b"")])
    on.space.compact()
    while on.heard.listings < 2:  # noqa: ASYNC110 - bounded by the test's own limit
        await asyncio.sleep(0.1)
    assert on.number("watch_behind_seconds") == 0
    assert on.number("errors_total", operation="watch", kind="compacted") == 1


async def test_what_is_awaited_is_bounded_and_ends_with_the_watch() -> None:
    on = Stage()
    task = asyncio.get_running_loop().create_task(on.mirror.run())
    await on.mirror.wait_synced()
    await asyncio.sleep(0.1)
    on.beneath.silence_watches()
    for number in range(MOST_AWAITED + 50):
        await on.store.commit([Put(f"a/{number}", b"")])
    while on.heard.changes < MOST_AWAITED + 50:  # noqa: ASYNC110 - bounded by the test's own limit
        await asyncio.sleep(0.1)
    assert on.number("watch_lag_seconds_count") == MOST_AWAITED
    on.beneath.silence_watches()
    await on.store.commit([Put("a/last", b"")])
    await asyncio.sleep(1)
    assert on.number("watch_behind_seconds") >= 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert on.number("watch_behind_seconds") == 0
