"""Memory for those who wait, on virtual time: never more than the limit, and room made by those who are not in use."""

import asyncio

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import ReasonCode
from passivator.settings import AUTO
from tests.passivator.stage import Habit, Stage

pytestmark = pytest.mark.virtual_time
MIB = 1024 * 1024


def now() -> float:
    return asyncio.get_running_loop().time()


class Watched(Stage):
    """A stage that counts, whenever anything is started, what all that runs has declared."""

    def __init__(self, **settings: object) -> None:
        super().__init__(memory_limit=1000 * MIB, memory_default=250 * MIB, **settings)
        self.needs: dict[str, int] = {}
        self.most = 0
        run = self.runtime.run

        def counted(name: str) -> object:
            result = run(name)  # type: ignore[arg-type]
            self.most = max(
                self.most, sum(self.needs.get(one, 250) for one in self.runtime.things if self.runtime.running(one))
            )
            return result

        self.runtime.run = counted  # type: ignore[method-assign,assignment]

    async def need(self, name: str, mib: int | None = None, **more: object) -> None:
        """Declare a tenant that needs so much."""
        docker: dict[str, object] = {"image": "app:1"}
        if mib is not None:
            docker["memory"] = f"{mib}m"
            self.needs[name] = mib
        await self.declare(name, docker=docker, **more)

    async def started(self, *names: str) -> None:
        """Wake these, one after the other."""
        for name in names:
            await self.wake(name)
            await self.until(name, Observed.STARTED)


async def ended(stage: Stage) -> None:
    await stage.kill()


async def test_the_longest_idle_makes_room_and_nobody_else() -> None:
    stage = Watched()
    await stage.up()
    for name in ("a", "b", "c", "d", "new"):
        await stage.need(name)
    await stage.started("a", "b", "c", "d")
    await asyncio.sleep(400)
    await stage.use("a")
    await asyncio.sleep(400)
    asked = now()
    await stage.wake("new")
    waiting = await stage.until("new", Observed.STARTING)
    await stage.until("new", Observed.STARTED)
    assert now() - asked < 10
    assert waiting.phase.startswith("waiting for 250 MiB of memory, 250 MiB short")
    record = await stage.record("b")
    assert (record.desired.state, record.desired.cause) == (Desired.PASSIVATED, Cause.ROOM)
    assert [name for name in "abcd" if not stage.runtime.running(name)] == ["b"]
    assert stage.most == 1000
    assert stage.metric("passivator_passivations_total", cause="room") == 1
    assert stage.metric("passivator_memory_declared_bytes") == 1000 * MIB
    await ended(stage)


async def test_one_that_is_in_use_never_makes_room() -> None:
    stage = Watched()
    await stage.up()
    for name in ("a", "b", "c", "d"):
        await stage.need(name)
    await stage.need("new", idle_timeout="never")
    await stage.started("a", "b", "c", "d")
    await stage.wake("new")
    for _ in range(60):
        for name in "abcd":
            await stage.use(name, in_flight=1)
        await asyncio.sleep(20)
    assert all(stage.counted("stop", name) == 0 for name in "abcd")
    observed = await stage.until("new", Observed.FAILED, within=200)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.NO_ROOM
    assert observed.reason.retry_at is not None
    assert not observed.reason.given_up
    assert stage.metric("passivator_refused_starts_total", reason="no-room") >= 10
    # As soon as one of them is out of use for long enough, it goes.
    for _ in range(40):
        for name in "abc":
            await stage.use(name, in_flight=1)
        await asyncio.sleep(20)
    assert stage.runtime.running("new")
    assert not stage.runtime.running("d")
    await ended(stage)


async def test_use_that_comes_between_takes_it_back_and_another_one_goes() -> None:
    stage = Watched(settle=1.0)
    await stage.up()
    for name in ("a", "b", "c", "d", "new"):
        await stage.need(name)
    await stage.started("a", "b", "c", "d")
    await asyncio.sleep(1000)
    await stage.wake("new")
    while (await stage.record("a")).desired.state is Desired.STARTED:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.05)
    await stage.registry.change_desired("a", Cause.IN_USE)
    await stage.use("a")
    await stage.until("new", Observed.STARTED)
    assert stage.counted("stop", "a") == 0
    assert not stage.runtime.running("b")
    assert stage.runtime.running("c")
    await ended(stage)


async def test_no_ping_pong_between_more_than_fit() -> None:
    stage = Watched(room_min_awake=60.0, room_timeout=600.0)
    await stage.up()
    names = [f"t{number}" for number in range(5)]
    for name in names:
        await stage.need(name)
    began = now()
    while now() - began < 600:
        for name in names:
            await stage.wake(name)
        await asyncio.sleep(1)
    # Each change of places takes the minimal time awake.
    assert sum(stage.counted("stop", name) for name in names) <= 600 / 60 + 1
    assert stage.most <= 1000
    await ended(stage)


async def test_switched_off_it_waits_for_what_falls_asleep_by_itself() -> None:
    stage = Watched(make_room=False, room_timeout=3600.0)
    await stage.up()
    for name in ("a", "b", "c", "d"):
        await stage.need(name, idle_timeout="30m" if name == "a" else "never")
    await stage.need("new")
    await stage.started("a", "b", "c", "d")
    await asyncio.sleep(300)
    await stage.wake("new")
    await stage.until("new", Observed.STARTED, within=1600)
    assert (await stage.record("a")).desired.cause is Cause.IDLE
    await ended(stage)


async def test_what_never_sleeps_makes_no_room_and_nobody_is_put_to_sleep_in_vain() -> None:
    stage = Watched()
    await stage.up()
    for name in ("a", "b", "c"):
        await stage.need(name, 300, idle_timeout="never")
    await stage.need("small", 100)
    await stage.need("new", 400)
    await stage.started("a", "b", "c", "small")
    await asyncio.sleep(1000)
    await stage.wake("new")
    observed = await stage.until("new", Observed.FAILED, within=100)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.NO_ROOM
    assert stage.runtime.running("small"), "it would not have been enough"
    await ended(stage)


async def test_what_can_never_fit_is_refused_at_once_by_name() -> None:
    stage = Watched()
    await stage.up()
    await stage.need("huge", 1001)
    await stage.wake("huge")
    observed = await stage.until("huge", Observed.FAILED, within=1)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.NO_ROOM
    assert "1001 MiB" in observed.reason.message
    assert stage.counted("start", "huge") == 0
    await ended(stage)


async def test_a_large_one_is_not_overtaken_for_ever_by_small_ones() -> None:
    stage = Watched(room_timeout=600.0)
    await stage.up()
    await stage.need("large", 900)
    small = [f"s{number}" for number in range(40)]
    for name in small:
        await stage.need(name, 100, idle_timeout="20s")
    for name in small[:10]:
        await stage.wake(name)
    await asyncio.sleep(5)
    await stage.wake("large")
    for name in small[10:]:
        await stage.wake(name)
        await asyncio.sleep(2)
    await stage.until("large", Observed.STARTED, within=120)
    assert stage.most <= 1000
    await ended(stage)


async def test_a_queue_that_is_full_refuses_by_name_and_everybody_is_served_in_the_end() -> None:
    stage = Stage(max_starts=1, max_queued=3)
    await stage.up()
    names = [f"t{number}" for number in range(12)]
    for name in names:
        await stage.declare(name, idle_timeout="never")
    await asyncio.gather(*(stage.wake(name) for name in names))
    await asyncio.sleep(1)
    reasons = [(await stage.observed(name)).reason for name in names]
    assert sum(reason is not None and reason.code is ReasonCode.QUEUE_FULL for reason in reasons) == 8
    for name in names:
        await stage.until(name, Observed.STARTED, within=120)
    assert stage.runtime.most_starting == 1
    await ended(stage)


async def test_a_restart_counts_what_runs_before_it_starts_more() -> None:
    stage = Watched()
    await stage.up()
    for name in ("a", "b", "c", "d", "new"):
        await stage.need(name, idle_timeout="never")
    await stage.started("a", "b", "c", "d")
    await stage.kill()
    await stage.wake("new")
    await stage.up()
    await asyncio.sleep(30)
    assert not stage.runtime.running("new")
    assert stage.most == 1000
    await ended(stage)


async def test_auto_is_what_the_machine_can_bear() -> None:
    stage = Stage(memory_limit=AUTO, memory_default=100, room_timeout=5.0)
    make = stage.make_driver

    def small(kind: str) -> object:
        driver = make(kind)
        driver.memory = 250
        return driver

    stage.make_driver = small  # type: ignore[method-assign,assignment]
    await stage.up()
    for name in ("a", "b", "c"):
        await stage.declare(name)
        await stage.wake(name)
    await asyncio.sleep(4)
    assert sum(stage.runtime.running(name) for name in "abc") == 2
    assert stage.metric("passivator_memory_limit_bytes") == 250
    await ended(stage)


async def test_a_crash_loop_stands_back_for_visitors() -> None:
    stage = Stage(max_starts=1, retry_first=0.05, retry_limit=0.1, max_failures=0)
    for number in range(3):
        stage.runtime.habits[f"loop{number}"] = Habit(start_seconds=2, fails=ReasonCode.EXITED)
    stage.runtime.habits["visited"] = Habit(start_seconds=0.1, ready_after=0.1)
    await stage.up()
    for name in ("loop0", "loop1", "loop2", "visited"):
        await stage.declare(name, idle_timeout="never")
    for name in ("loop0", "loop1", "loop2"):
        await stage.wake(name)
    await asyncio.sleep(60)
    asked = now()
    await stage.wake("visited")
    await stage.until("visited", Observed.STARTED)
    assert now() - asked < 3, "it waited for the one that was starting, and for no other"
    loops = stage.counted("start", "loop0")
    await asyncio.sleep(60)
    assert stage.counted("start", "loop0") > loops, "they are tried all the same"
    await ended(stage)


async def test_what_is_paused_gives_its_memory_to_those_who_wait() -> None:
    stage = Watched()
    await stage.up()
    for name in "abcd":
        await stage.need(name, sleep={"pause_after": "1m"})
    await stage.need("new")
    await stage.started(*"abcd")
    for name in "abcd":
        await stage.until(name, Observed.PAUSED, within=120)
    await stage.wake("new")
    await stage.until("new", Observed.STARTED, within=20)
    assert stage.most <= 1000
    await ended(stage)
