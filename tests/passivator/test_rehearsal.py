"""The dry run: the policy's verdicts on live tenants, the uses that would have woken them, and not one write."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.registry import keys
from gogeta.registry.memory import MemoryStore
from gogeta.registry.readonly import ReadOnlyStore
from gogeta.registry.store import Committed, Delete, Guard, Put, Refused, RegistryRefusedError, RegistryUnavailableError
from passivator.core.rehearsal import Books
from passivator.rehearsal import Rehearsal, as_text
from tests.passivator.stage import Stage


class Untouchable(MemoryStore):
    """What lies below a dry run's store: nothing may ever get through to it."""

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        raise AssertionError(f"written: {operations}")

    async def grant(self, ttl: float) -> int:
        raise AssertionError("a lease was taken")


class Looking:
    """A dry run beside a stage; its result is there when the block has ended."""

    def __init__(self) -> None:
        self.report: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a member of the report
        return self.report[name]

    def of(self, tenant: str) -> dict[str, Any]:
        return next(each for each in self.report["tenants"] if each["name"] == tenant)


@asynccontextmanager
async def looking(stage: Stage, idle_timeout: float | None = None) -> AsyncIterator[Looking]:
    store, result, stop = ReadOnlyStore(Untouchable(stage.space)), Looking(), asyncio.Event()
    rehearsal = Rehearsal(store, idle_timeout=idle_timeout)
    running = asyncio.create_task(rehearsal.run(stop))
    await asyncio.sleep(1)
    yield result
    stop.set()
    result.report = rehearsal.report(await running)
    await store.close()


async def up(stage: Stage, name: str, **more: object) -> None:
    await stage.declare(name, **more)
    await stage.wake(name)
    await stage.until(name, Observed.STARTED)


@pytest.mark.virtual_time
async def test_what_would_have_slept_and_what_would_have_been_woken_again(stage: Stage) -> None:
    await stage.up()
    await up(stage, "acme", idle_timeout="1h", docker={"image": "x", "memory": "256m"})
    await up(stage, "quiet", idle_timeout="1h")
    await up(stage, "busy", idle_timeout="1h")
    await up(stage, "awake", idle_timeout="never")
    calls = list(stage.runtime.calls)
    async with looking(stage, idle_timeout=900) as result:
        for _ in range(20):
            await stage.use("busy", in_flight=1)
            await asyncio.sleep(60)
        await stage.use("acme")
        await asyncio.sleep(600)
    for name in ("acme", "quiet", "busy", "awake"):
        assert stage.runtime.running(name)
    assert [call for call in stage.runtime.calls[len(calls) :] if call[0] in ("start", "stop", "remove")] == []
    assert (result["would_have_slept"], result["would_have_been_woken_again"]) == (2, 1)
    assert result["would_be_asleep_now"] == 1
    acme = result.of("acme")
    assert (acme["would_have_slept"], acme["would_have_been_woken_again"]) == (1, 1)
    assert acme["shortest_sleep_seconds"] == pytest.approx(300, abs=3)
    assert acme["memory_bytes"] == 256 << 20
    assert result["memory_byte_seconds"] == pytest.approx((256 << 20) * acme["asleep_seconds"], rel=0.01)
    assert result.of("quiet")["would_be_asleep_now"]
    assert {each["name"] for each in result["tenants"]} == {"acme", "quiet"}
    text = as_text(result.report)
    assert "nothing was stopped" in text
    assert "Would have been put to sleep: 2, 2 times in all. Would then have been woken again: once." in text


@pytest.mark.virtual_time
async def test_with_the_same_policy_it_says_what_the_live_passivator_does(stage: Stage) -> None:
    await stage.up()
    await up(stage, "acme", idle_timeout="1m")
    async with looking(stage) as result:
        await stage.until("acme", Observed.STOPPED, within=120)
        await asyncio.sleep(5)
        await stage.wake("acme")
        await stage.until("acme", Observed.STARTED)
        await asyncio.sleep(5)
    acme = result.of("acme")
    assert (acme["would_have_slept"], acme["would_have_been_woken_again"]) == (1, 1)
    assert not acme["would_be_asleep_now"]


@pytest.mark.virtual_time
async def test_a_registry_that_is_away_is_no_silence(stage: Stage) -> None:
    await stage.up()
    await up(stage, "acme", idle_timeout="10m")
    # Nobody else decides anything meanwhile.
    await stage.kill()
    store = MemoryStore(stage.space)
    rehearsal, stop = Rehearsal(ReadOnlyStore(store)), asyncio.Event()
    running = asyncio.create_task(rehearsal.run(stop))
    await asyncio.sleep(60)
    store.unavailable = True
    await asyncio.sleep(3600)
    store.unavailable = False
    # Back again, proxies write what they held back: that takes them a moment.
    await asyncio.sleep(30)
    await stage.use("acme")
    await asyncio.sleep(300)
    stop.set()
    assert (await running).sleeps == 0


@pytest.mark.virtual_time
async def test_what_an_operator_stops_or_removes_is_no_sleep_of_the_policy(stage: Stage) -> None:
    await stage.up()
    await up(stage, "acme", idle_timeout="10m")
    await up(stage, "beta", idle_timeout="10m")
    async with looking(stage, idle_timeout=120) as result:
        await asyncio.sleep(150)
        await stage.registry.change_desired("acme", Cause.STOP)
        await stage.registry.remove("beta")
        await asyncio.sleep(100)
    assert result["would_have_slept"] == 2
    assert result["would_be_asleep_now"] == result["would_have_been_woken_again"] == 0


@pytest.mark.virtual_time
async def test_a_registry_that_was_never_there_is_no_empty_report(stage: Stage) -> None:
    store = MemoryStore(stage.space)
    store.unavailable = True
    with pytest.raises(RegistryUnavailableError):
        await Rehearsal(ReadOnlyStore(store)).run(asyncio.Event(), 30)


async def test_a_store_for_those_who_only_look_refuses_every_write() -> None:
    stage = Stage()
    store = ReadOnlyStore(MemoryStore(stage.space))
    before = stage.space.revision
    for write in (
        store.commit([Put("a", b"b")]),
        store.commit([Delete("a")], [Guard("a", 0)]),
        store.grant(5),
        store.keep_alive(1),
        store.revoke(1),
    ):
        with pytest.raises(RegistryRefusedError, match="only looks"):
            await write
    assert stage.space.revision == before
    assert await store.get(keys.GENERATION) is None
    assert (await store.list(keys.STATE)).entries == ()
    await store.close()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["sleep", "use", "gone"]), st.sampled_from("abc"), st.floats(0, 100))))
def test_the_books_agree_with_themselves(steps: list[tuple[str, str, float]]) -> None:
    books, now = Books(), 0.0
    asleep: set[str] = set()
    for what, name, later in steps:
        now += later
        if what == "sleep":
            assert books.would_sleep(name, now, 0, memory=1) is (name not in asleep)
            asleep.add(name)
        elif what == "use":
            assert (books.used(name, now, 0) is not None) is (name in asleep)
            asleep.discard(name)
        else:
            books.gone(name, now)
            asleep.discard(name)
    summary = books.summary(now)
    assert summary.asleep_now == len(asleep) == summary.memory_now
    assert summary.rewakes <= summary.sleeps
    assert sum(account.asleep(now) for account in summary.accounts) == pytest.approx(summary.memory_seconds)
    assert all(account.asleep(now) <= now for account in summary.accounts)
