"""Falling asleep as stories, on virtual time: who keeps a tenant awake, how deep it sleeps, what a stop waits for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import LastAccess, Member, TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.domain.wakefulness import Keeps
from gogeta.kit.tasks import Tasks
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.memory import MemoryStore
from gogeta.registry.registry import Registry
from gogeta.registry.store import Delete, Put
from passivator.core.veto import Said
from passivator.drivers.base import Status
from tests.passivator.stage import Habit, Stage

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


async def awake(stage: Stage, name: str = "acme", **declared: object) -> None:
    """A tenant that is up."""
    await stage.up()
    await stage.declare(name, **declared)
    await stage.wake(name)
    await stage.until(name, Observed.STARTED)


async def asleep(stage: Stage, name: str = "acme") -> TenantRecord:
    """Its record as soon as it should be asleep."""
    while True:
        record = await stage.record(name)
        if record.desired.state is not Desired.STARTED:
            return record
        await asyncio.sleep(0.01)


class FakeProxy:
    """A proxy as passivator sees it: its member key, and its accesses."""

    def __init__(self, stage: Stage, name: str = "p1") -> None:
        self.stage = stage
        self.id = name

    async def say(self, **parts: object) -> None:
        """Its member key, as it is now."""
        member = Member(kind="gogeta", id=self.id, **parts)  # type: ignore[arg-type] # parts of a member
        await self.stage.registry.store.commit([Put(keys.member_key("gogeta", self.id), encode(member))])

    async def vanish(self) -> None:
        """Its lease has ended, or it left in order: the key alone does not tell."""
        await self.stage.registry.store.commit([Delete(keys.member_key("gogeta", self.id))])

    async def use(self, name: str, in_flight: int = 0) -> None:
        access = LastAccess(at=0, by=f"gogeta/{self.id}", in_flight=in_flight)
        await self.stage.registry.record_accesses({name: access})


# ------------------------------------------------------------------------------------------------------------ pausing


async def test_an_idle_tenant_is_paused_first_and_stopped_later(stage: Stage) -> None:
    await awake(stage, idle_timeout="30m", sleep={"pause_after": "5m"})
    before = await stage.observed("acme")
    began = now()
    paused = await stage.until("acme", Observed.PAUSED, within=400)
    assert 299 <= now() - began < 302
    assert paused.endpoints == ()
    assert paused.instance == before.instance
    record = await stage.record("acme")
    assert (record.desired.state, record.desired.cause) == (Desired.PASSIVATED, Cause.IDLE)
    await asyncio.sleep(1)
    assert stage.runtime.look(TenantName("acme")).status is Status.PAUSED
    assert stage.counted("stop", "acme") == 0
    await stage.until("acme", Observed.STOPPED, within=1600)
    assert 1799 <= now() - began < 1803
    assert (stage.counted("pause", "acme"), stage.counted("stop", "acme")) == (1, 1)


async def test_a_wake_from_pause_is_quick_keeps_the_instance_and_shows_no_readiness_anew(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(ready_after=20)
    await awake(stage, sleep={"pause_after": "1m"})
    before = await stage.observed("acme")
    await stage.until("acme", Observed.PAUSED, within=100)
    await asyncio.sleep(10)
    # Its health would be red for a moment after it was thawed: nobody asks.
    stage.runtime.things[TenantName("acme")].habit.ready_after = None
    asked = now()
    wakes = await stage.wake("acme")
    after = await stage.until("acme", Observed.STARTED)
    assert now() - asked < 0.03
    assert (after.instance, after.endpoints, after.wakes) == (before.instance, before.endpoints, wakes)
    assert [phase.name for phase in after.phases] == ["resumed"]
    assert stage.runtime.order == ["acme"]
    assert stage.metric("passivator_resumes_total") == 1
    # And its timers begin anew.
    assert await stage.history("acme", 55) == [Observed.STARTED]
    await stage.until("acme", Observed.PAUSED, within=10)


async def test_a_paused_tenant_does_not_wait_behind_slow_starts() -> None:
    stage = Stage(max_starts=1)
    await awake(stage, sleep={"pause_after": "1m"})
    await stage.until("acme", Observed.PAUSED, within=100)
    stage.runtime.habits["slow"] = Habit(start_seconds=50)
    await stage.declare("slow")
    await stage.wake("slow")
    await asyncio.sleep(1)
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED, within=0.1)
    await stage.kill()


async def test_never_stopped_and_paused_all_the_same(stage: Stage) -> None:
    await awake(stage, idle_timeout="never", sleep={"pause_after": "1m"})
    await stage.until("acme", Observed.PAUSED, within=100)
    await asyncio.sleep(3600)
    assert stage.runtime.look(TenantName("acme")).status is Status.PAUSED


async def test_who_says_sleep_or_stop_means_that_nothing_runs(stage: Stage) -> None:
    await awake(stage, sleep={"pause_after": "1m"})
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.until("acme", Observed.PAUSED, within=100)
    await stage.registry.change_desired("acme", Cause.STOP)
    await stage.until("acme", Observed.STOPPED)
    await stage.registry.change_desired("acme", Cause.START)
    await stage.until("acme", Observed.STARTED)
    await stage.until("acme", Observed.PAUSED, within=100)
    # Asleep already, and yet not as deep as somebody wants it.
    await stage.registry.change_desired("acme", Cause.SLEEP, renew=True)
    await stage.until("acme", Observed.STOPPED)


async def test_what_cannot_be_paused_is_stopped_and_next_time_not_before_its_idle_timeout(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(pause_fails=True)
    await awake(stage, idle_timeout="10m", sleep={"pause_after": "1m"})
    await stage.until("acme", Observed.STOPPED, within=100)
    assert stage.metric("passivator_pauses_total", result="failed") == 1
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    ready = now()
    await stage.until("acme", Observed.STOPPED, within=700)
    assert now() - ready > 599


async def test_one_that_somebody_continues_by_hand_is_paused_again_and_one_paused_by_hand_goes_on(stage: Stage) -> None:
    await awake(stage, sleep={"pause_after": "1m"})
    thing = stage.runtime.things[TenantName("acme")]
    thing.runtime = replace(thing.runtime, status=Status.PAUSED)
    stage.runtime.tell("acme")
    await asyncio.sleep(2)
    assert stage.runtime.running("acme")
    await stage.until("acme", Observed.PAUSED, within=100)
    await asyncio.sleep(1)
    thing.runtime = replace(thing.runtime, status=Status.RUNNING)
    stage.runtime.tell("acme")
    await asyncio.sleep(2)
    assert stage.runtime.look(TenantName("acme")).status is Status.PAUSED


async def test_one_that_died_while_it_was_paused_is_stopped_and_started_anew(stage: Stage) -> None:
    await awake(stage, sleep={"pause_after": "1m"})
    before = await stage.until("acme", Observed.PAUSED, within=100)
    stage.runtime.end("acme")
    await stage.until("acme", Observed.STOPPED)
    await stage.wake("acme")
    after = await stage.until("acme", Observed.STARTED)
    assert after.instance != before.instance


async def test_another_start_that_is_paused_has_to_show_that_it_is_ready(stage: Stage) -> None:
    await awake(stage, sleep={"pause_after": "1m"})
    await stage.until("acme", Observed.PAUSED, within=100)
    await stage.kill()
    other = stage.runtime.run(TenantName("acme"))
    stage.runtime.things[TenantName("acme")].runtime = replace(other, status=Status.PAUSED)
    await stage.wake("acme")
    await stage.up()
    after = await stage.until("acme", Observed.STARTED)
    assert after.instance == other.instance
    assert [phase.name for phase in after.phases] != ["resumed"]


@pytest.mark.parametrize("after", [0.0, 0.1, 0.4, 0.49, 0.5, 0.51, 0.55, 0.7, 1.0])
async def test_a_request_at_any_moment_of_being_paused_is_served_in_the_end(stage: Stage, after: float) -> None:
    await awake(stage, sleep={"pause_after": "1m"})
    await asleep(stage)
    await asyncio.sleep(after)
    wakes = await stage.wake("acme")
    await asyncio.sleep(1)
    observed = await stage.until("acme", Observed.STARTED)
    assert stage.runtime.running("acme")
    assert observed.wakes == wakes
    assert stage.runtime.order == ["acme"]


async def test_a_paused_tenant_stays_paused_while_the_registry_is_away_and_over_a_restart(stage: Stage) -> None:
    await awake(stage, idle_timeout="10m", sleep={"pause_after": "1m"})
    await stage.until("acme", Observed.PAUSED, within=100)
    stage.store.go_away()
    await asyncio.sleep(3600)
    assert stage.runtime.look(TenantName("acme")).status is Status.PAUSED
    stage.store.come_back()
    await stage.kill()
    await stage.up()
    await asyncio.sleep(300)
    assert (await stage.observed("acme")).state is Observed.PAUSED
    await stage.until("acme", Observed.STOPPED, within=400)


# ------------------------------------------------------------------------------------------------------- lost proxies


async def test_what_a_lost_proxy_had_in_flight_stays_awake_for_a_bounded_time() -> None:
    stage = Stage(lost_proxy_grace=300.0)
    proxy = FakeProxy(stage)
    await proxy.say(seen=0)
    await awake(stage, idle_timeout="2s")
    await proxy.use("acme", in_flight=1)
    # Frozen: no word any more, and its lease ends ten seconds later.
    await asyncio.sleep(10)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    await proxy.vanish()
    lost = now()
    await asyncio.sleep(295)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    assert stage.metric("passivator_kept_awake_total", reason="lost-proxy") > 0
    assert stage.metric("passivator_lost_proxies") == 1
    assert [reason.keeps for reason in (await stage.registry.vetoes("acme")).reasons] == [Keeps.LOST_PROXY]
    await stage.until("acme", Observed.STOPPED, within=20)
    assert 300 <= now() - lost < 305
    assert (await stage.registry.vetoes("acme")).reasons == ()
    await stage.kill()


async def test_a_goodbye_and_a_return_end_that(stage: Stage) -> None:
    proxy = FakeProxy(stage)
    await proxy.say()
    await awake(stage, idle_timeout="2s")
    # A goodbye: it writes that nothing is in flight any more, and goes.
    await proxy.use("acme", in_flight=1)
    await proxy.use("acme", in_flight=0)
    await proxy.vanish()
    await stage.until("acme", Observed.STOPPED, within=5)
    # A return: it is listed again, writes for as long as it is in use, and then that it is not.
    await proxy.say()
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await proxy.use("acme", in_flight=1)
    await proxy.vanish()
    await asyncio.sleep(60)
    await proxy.say()
    for _ in range(10):
        await proxy.use("acme", in_flight=1)
        await asyncio.sleep(1)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    await proxy.use("acme", in_flight=0)
    await stage.until("acme", Observed.STOPPED, within=5)


async def test_another_proxy_that_writes_does_not_hide_what_a_lost_one_had_in_flight(stage: Stage) -> None:
    lost, other = FakeProxy(stage, "lost"), FakeProxy(stage, "other")
    await lost.say(seen=0)
    await other.say(seen=0)
    await awake(stage, idle_timeout="2s")
    await lost.use("acme", in_flight=2)
    await other.use("acme", in_flight=0)
    await lost.vanish()
    await asyncio.sleep(200)
    assert (await stage.record("acme")).desired.state is Desired.STARTED


async def test_after_a_restart_of_passivator_a_proxy_that_was_lost_before_counts_as_well(stage: Stage) -> None:
    await awake(stage, idle_timeout="2s")
    await FakeProxy(stage).use("acme", in_flight=1)
    await stage.kill()
    await asyncio.sleep(100)
    await stage.up()
    await asyncio.sleep(200)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    await stage.until("acme", Observed.STOPPED, within=150)


# ------------------------------------------------------------------------------------------------------------ draining


async def test_a_stop_waits_until_every_proxy_has_heard_of_it(stage: Stage) -> None:
    quick, slow = FakeProxy(stage, "quick"), FakeProxy(stage, "slow")
    for proxy in (quick, slow):
        await proxy.say(seen=0)
    await FakeProxy(stage, "old version").say()
    await awake(stage)
    change = await stage.registry.change_desired("acme", Cause.SLEEP)
    await quick.say(seen=change.revision)
    await asyncio.sleep(5)
    assert stage.counted("stop", "acme") == 0
    assert (await stage.observed("acme")).state is Observed.STARTED
    await slow.say(seen=change.revision + 10)
    await stage.until("acme", Observed.STOPPING, within=0.2)
    await stage.until("acme", Observed.STOPPED)
    assert stage.metric("passivator_drains_total", result="done") == 1


async def test_a_proxy_that_is_lost_is_waited_for_until_its_key_is_gone(stage: Stage) -> None:
    frozen = FakeProxy(stage)
    await frozen.say(seen=0)
    await awake(stage)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(8)
    assert stage.counted("stop", "acme") == 0
    await frozen.vanish()
    await stage.until("acme", Observed.STOPPED, within=2)


async def test_a_stop_waits_for_what_is_in_flight(stage: Stage) -> None:
    proxy = FakeProxy(stage)
    await proxy.say(seen=0)
    await awake(stage)
    change = await stage.registry.change_desired("acme", Cause.STOP)
    await proxy.say(seen=change.revision, draining=("acme", "another"))
    await asyncio.sleep(20)
    assert stage.runtime.running("acme")
    await proxy.say(seen=change.revision, draining=("another",))
    await stage.until("acme", Observed.STOPPED, within=1)


async def test_an_operators_stop_cuts_what_is_in_flight_at_the_limit_and_no_later() -> None:
    stage = Stage(drain_limit=12.0)
    proxy = FakeProxy(stage)
    await proxy.say(seen=0)
    await awake(stage)
    change = await stage.registry.change_desired("acme", Cause.STOP)
    asked = now()
    await proxy.say(seen=change.revision, draining=("acme",))
    await stage.until("acme", Observed.STOPPED)
    assert 12 <= now() - asked < 13.5
    assert stage.metric("passivator_drains_total", result="cut") == 1
    await stage.kill()


@pytest.mark.parametrize("cause", [Cause.SLEEP, Cause.IDLE])
async def test_a_sleep_is_taken_back_at_the_limit_when_it_is_still_in_use(stage: Stage, cause: Cause) -> None:
    proxy = FakeProxy(stage)
    await proxy.say(seen=0)
    await awake(stage, idle_timeout="1m")
    if cause is Cause.SLEEP:
        await stage.registry.change_desired("acme", Cause.SLEEP)
    record = await asleep(stage)
    assert record.desired.cause is cause
    await proxy.say(seen=record.desired_revision, draining=("acme",))
    await asyncio.sleep(29)
    assert (await stage.record("acme")).desired.state is Desired.PASSIVATED
    await asyncio.sleep(2)
    record = await stage.record("acme")
    assert (record.desired.state, record.desired.cause) == (Desired.STARTED, Cause.IN_USE)
    assert stage.counted("stop", "acme") == 0
    assert stage.metric("passivator_drains_total", result="taken-back") == 1


async def test_a_pause_waits_for_what_is_in_flight_too(stage: Stage) -> None:
    proxy = FakeProxy(stage)
    await proxy.say(seen=0)
    await awake(stage, sleep={"pause_after": "1m"})
    record = await asleep(stage)
    await proxy.say(seen=record.desired_revision, draining=("acme",))
    await asyncio.sleep(10)
    assert stage.counted("pause", "acme") == 0
    await proxy.say(seen=record.desired_revision)
    await stage.until("acme", Observed.PAUSED, within=1)


async def test_a_sleep_while_it_is_brought_back_from_a_pause_by_hand_waits_for_what_is_in_flight_there(
    stage: Stage,
) -> None:
    proxy = FakeProxy(stage)
    await proxy.say(seen=0)
    await awake(stage)
    thing = stage.runtime.things[TenantName("acme")]
    thing.habit.start_seconds = 3
    thing.runtime = replace(thing.runtime, status=Status.PAUSED)
    stage.runtime.tell("acme")
    await stage.until("acme", Observed.STARTING)
    change = await stage.registry.change_desired("acme", Cause.SLEEP)
    await proxy.say(seen=change.revision, draining=("acme",))
    await asyncio.sleep(15)
    assert stage.counted("stop", "acme") == 0
    await proxy.say(seen=change.revision)
    await stage.until("acme", Observed.STOPPED, within=5)


async def test_what_serves_nobody_is_stopped_without_waiting_for_proxies(stage: Stage) -> None:
    await FakeProxy(stage).say(seen=0)
    stage.runtime.habits["acme"] = Habit(ready_after=100)
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await asyncio.sleep(3)
    await stage.registry.change_desired("acme", Cause.STOP)
    await stage.until("acme", Observed.STOPPED, within=2)


# ------------------------------------------------------------------------------------------------------------ vetoes


class Answers:
    """What the tenant's busy path brings; ``asked`` counts."""

    def __init__(self, said: Said, words: str = "") -> None:
        self.said = said
        self.words = words
        self.asked = 0

    async def __call__(self, *_: object) -> tuple[Said, str]:
        self.asked += 1
        return self.said, self.words


@contextmanager
def answering(said: Said, words: str = "") -> Iterator[Answers]:
    answers = Answers(said, words)
    with patch("passivator.asking.busy_path", answers):
        yield answers


async def test_a_busy_tenant_is_asked_only_when_it_would_sleep_and_stays_awake_as_long_as_it_says_so() -> None:
    stage = Stage()
    with answering(Said.BUSY, "importing") as answers:
        await awake(stage, idle_timeout="60s", busy={"path": "/busy"})
        await asyncio.sleep(58)
        assert answers.asked == 0
        await asyncio.sleep(540)
        assert 30 <= answers.asked <= 40
        assert (await stage.record("acme")).desired.state is Desired.STARTED
        (reason,) = (await stage.registry.vetoes("acme")).reasons
        assert reason.keeps is Keeps.BUSY
        assert "importing" in reason.detail
        assert stage.metric("passivator_kept_awake_total", reason="busy") == answers.asked
        answers.said = Said.FREE
        await stage.until("acme", Observed.STOPPED, within=20)
        assert (await stage.registry.vetoes("acme")).reasons == ()
    await stage.kill()


async def test_a_veto_has_a_ceiling_counted_from_the_last_use() -> None:
    stage = Stage()
    with answering(Said.BUSY):
        await awake(stage, idle_timeout="60s", busy={"path": "/busy", "at_most": "10m"})
        await asyncio.sleep(500)
        await stage.use("acme")
        used = now()
        await stage.until("acme", Observed.STOPPED, within=700)
        assert 600 <= now() - used < 603
        assert stage.metric("passivator_vetoes_overruled_total", why="at-most") == 1
    await stage.kill()


async def test_one_that_cannot_be_asked_is_asked_again_a_few_times_and_then_sleeps() -> None:
    stage = Stage()
    with answering(Said.NOTHING, "connection refused") as answers:
        await awake(stage, idle_timeout="60s", busy={"path": "/busy"})
        ready = now()
        await stage.until("acme", Observed.STOPPED, within=80)
        assert answers.asked == 3
        assert 64 <= now() - ready < 67
        assert stage.metric("passivator_vetoes_overruled_total", why="no-answer") == 1
    await stage.kill()


async def test_processor_time_above_its_threshold_keeps_it_awake(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(cpu=0.35)
    await awake(stage, idle_timeout="60s", busy={"cpu": "20%"})
    await asyncio.sleep(600)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    (reason,) = (await stage.registry.vetoes("acme")).reasons
    assert (reason.keeps, "35%" in reason.detail) == (Keeps.CPU, True)
    stage.runtime.habits["acme"].cpu = 0.05
    await stage.until("acme", Observed.STOPPED, within=30)


async def test_a_busy_tenant_is_not_paused_either() -> None:
    stage = Stage()
    with answering(Said.BUSY):
        await awake(stage, idle_timeout="60m", sleep={"pause_after": "1m"}, busy={"path": "/busy"})
        await asyncio.sleep(1800)
        assert stage.counted("pause", "acme") == 0
    await stage.kill()


async def test_use_while_it_is_asked_counts() -> None:
    stage = Stage()
    with answering(Said.FREE) as answers:
        await awake(stage, idle_timeout="60s", busy={"path": "/busy"})
        ask = answers.__call__

        async def slowly(*_: object) -> tuple[Said, str]:
            await stage.use("acme")
            await asyncio.sleep(0.5)
            return await ask()

        with patch("passivator.asking.busy_path", slowly):
            await asyncio.sleep(70)
        assert (await stage.record("acme")).desired.state is Desired.STARTED
    await stage.kill()


# ------------------------------------------------------------------------------------------------------------ hours


@contextmanager
def wall_clock(text: str) -> Iterator[None]:
    """The wall clock shows this now, and goes on with the loop's time."""
    first, began = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp(), now()
    with patch("passivator.slumber.wall_ms", lambda: round((first + now() - began) * 1000)):
        yield


OFFICE = {"hours": ["fri 16:50-17:30", "fri 18:00-18:20"], "zone": "Europe/Paris"}


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def test_in_its_hours_it_stays_awake_and_after_them_it_sleeps_at_once(stage: Stage) -> None:
    # A Friday in winter: 16:00 UTC is 17:00 in Paris.
    with wall_clock("2026-01-16 16:00"):
        await awake(stage, idle_timeout="10m", awake=OFFICE)
        begun = now()
        await asyncio.sleep(1790)
        assert (await stage.record("acme")).desired.state is Desired.STARTED
        (reason,) = (await stage.registry.vetoes("acme")).reasons
        assert (reason.keeps, reason.until) == (Keeps.HOURS, moment("2026-01-16 16:30"))
        await stage.until("acme", Observed.STOPPED, within=120)
        assert 1795 <= now() - begun < 1805
        # The next ones do not wake it by themselves.
        await asyncio.sleep(2400)
        assert stage.counted("start", "acme") == 1


async def test_hours_with_wake_start_it_and_an_operators_sleep_in_them_stands(stage: Stage) -> None:
    with wall_clock("2026-01-16 16:00"):
        await stage.up()
        await stage.declare("acme", idle_timeout="10m", awake={**OFFICE, "wake": True})
        await stage.until("acme", Observed.STARTED, within=5)
        record = await stage.record("acme")
        assert record.desired.cause is Cause.HOURS
        await stage.until("acme", Observed.STOPPED, within=1900)
        slept = now()
        await stage.until("acme", Observed.STARTED, within=2000)
        assert now() - slept == pytest.approx(1800, abs=10)
        assert stage.metric("passivator_scheduled_wakes_total") == 2
        with patch("gogeta.registry.registry.wall_ms", lambda: moment("2026-01-16 17:01")):
            await stage.registry.change_desired("acme", Cause.SLEEP)
        await stage.until("acme", Observed.STOPPED, within=5)
        await asyncio.sleep(1000)
        assert (await stage.observed("acme")).state is Observed.STOPPED


async def test_hours_never_start_what_an_operator_stopped(stage: Stage) -> None:
    with wall_clock("2026-01-16 15:40"):
        await stage.up()
        await stage.declare("acme", awake={**OFFICE, "wake": True})
        await stage.registry.change_desired("acme", Cause.STOP)
        await asyncio.sleep(2000)
        assert stage.counted("start", "acme") == 0


# --------------------------------------------------------------------------------------------------------- destroying


async def left_of(stage: Stage, name: str) -> list[str]:
    return [entry.key for entry in stage.space.list("/gogeta/v1/").entries if entry.key.endswith(f"/{name}")]


async def test_a_throw_away_tenant_is_removed_with_all_that_ran_for_it(stage: Stage) -> None:
    await awake(stage, idle_timeout="10m", sleep={"destroy_after": "1h"})
    await stage.use("acme")
    used = now()
    await stage.until("acme", Observed.STOPPED, within=700)
    await asyncio.sleep(3600 - 700)
    assert await left_of(stage, "acme")
    assert now() - used < 3600
    await asyncio.sleep(200)
    assert await left_of(stage, "acme") == []
    assert not stage.runtime.things
    assert stage.metric("passivator_destroyed_total") == 1


async def test_use_at_the_last_moment_saves_it(stage: Stage) -> None:
    await awake(stage, idle_timeout="10m", sleep={"destroy_after": "1h"})
    await stage.until("acme", Observed.STOPPED, within=700)
    while now() % 1 > 0.1:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.05)
    stage.store.delay = 2.0
    destroy = Registry.destroy

    async def overtaken(registry: Registry, *judged: object) -> bool:
        await stage.wake("acme")
        return await destroy(registry, *judged)  # type: ignore[arg-type] # passed through

    with patch.object(Registry, "destroy", overtaken):
        await asyncio.sleep(3600)
    stage.store.delay = 0.0
    await stage.until("acme", Observed.STARTED)
    assert stage.metric("passivator_destroyed_total") == 0


async def test_one_that_was_never_used_and_one_that_an_operator_stopped(stage: Stage) -> None:
    await stage.up()
    for name in ("unused", "stopped"):
        await stage.declare(name, idle_timeout="10m", sleep={"destroy_after": "1h"})
    await stage.registry.change_desired("stopped", Cause.STOP)
    await asyncio.sleep(3500)
    assert await left_of(stage, "unused")
    await asyncio.sleep(200)
    assert await left_of(stage, "unused") == []
    await asyncio.sleep(3600)
    assert await left_of(stage, "stopped")


# ------------------------------------------------------------------------------------------------------------ members


async def test_a_member_whose_news_come_without_end_keeps_its_lease() -> None:
    stage = Stage()

    class News:
        member = Member(kind="gogeta", id="busy", seen=0)
        changed = asyncio.Event()

    async with Tasks("test") as tasks:
        registry = Registry(MemoryStore(stage.space), "gogeta/busy")
        tasks.start(registry.announce(lambda: News.member, ttl=10, changed=News.changed), "announce")
        for number in range(1, 600):
            News.member = replace(News.member, seen=number)
            News.changed.set()
            await asyncio.sleep(0.1)
            assert (await stage.registry.members())[0].seen == number
    assert await stage.registry.members() == ()
