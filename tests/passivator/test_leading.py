"""Several passivators, on virtual time: one acts, another takes over, and a stale one does no harm."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import TenantName
from gogeta.registry import keys
from gogeta.registry.store import Delete
from tests.passivator.fellows import Fellow
from tests.passivator.stage import Habit, SimulatedRuntime, Stage

pytestmark = pytest.mark.virtual_time
TTL = 5.0
Join = Callable[..., Fellow]


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage whose leases are as short as they are in life."""
    stage = Stage(lead_ttl=TTL)
    yield stage
    await stage.kill()


@pytest.fixture
async def join(stage: Stage) -> AsyncIterator[Join]:
    """Starts another passivator on the stage."""
    fellows: list[Fellow] = []

    def start(name: str, **more: str) -> Fellow:
        fellows.append(fellow := Fellow(stage, name, **more))
        return fellow

    yield start
    for fellow in fellows:
        await fellow.kill()


async def two(join: Join) -> tuple[Fellow, Fellow]:
    """A leader and a follower."""
    first = join("first")
    await first.until_leads()
    second = join("second")
    await asyncio.sleep(1)
    return first, second


async def leaders(stage: Stage) -> list[str]:
    return [entry.value.decode() for entry in stage.space.list(keys.LEADERS).entries]


async def test_one_acts_and_the_other_only_looks(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    await stage.declare("acme", idle_timeout="10s")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.until("acme", Observed.STOPPED)
    assert (first.leads, second.leads) == (True, False)
    assert {call for call, _ in second.driver.made} == {"open", "machine"}
    members = {member.id: (member.role, member.group) for member in await stage.registry.members()}
    assert members == {"first": ("leader", "memory-stage"), "second": ("follower", "memory-stage")}
    assert len(await leaders(stage)) == 1


async def test_many_who_start_at_once_elect_one(stage: Stage, join: Join) -> None:
    fellows = [join(f"f{number}") for number in range(6)]
    await asyncio.sleep(3)
    assert sum(fellow.leads for fellow in fellows) == 1


@pytest.mark.parametrize("after", [0.0, 0.1, 0.4, 0.9, 2.0])
async def test_a_start_whose_leader_was_killed_is_finished_by_another_within_the_lease(
    stage: Stage, join: Join, after: float
) -> None:
    first, second = await two(join)
    await stage.declare("acme")
    await stage.wake("acme")
    await asyncio.sleep(after)
    await first.kill()
    killed = now()
    await second.until_leads()
    assert now() - killed <= TTL + 1
    observed = await stage.until("acme", Observed.STARTED)
    assert observed.instance == stage.runtime.look(TenantName("acme")).instance
    assert now() - killed <= TTL + 1 + 2
    assert len(stage.runtime.order) <= 1 + (after < 0.4), "one start, unless that died with its caller"


@pytest.mark.parametrize("after", [0.0, 0.4, 0.6, 0.8])
async def test_a_stop_whose_leader_was_killed_is_finished_by_another(stage: Stage, join: Join, after: float) -> None:
    stage.runtime.habits["acme"] = Habit(stop_seconds=3)
    first, second = await two(join)
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(after)
    await first.kill()
    await second.until_leads()
    await stage.until("acme", Observed.STOPPED)
    assert not stage.runtime.running("acme")
    assert len(stage.runtime.order) == 1


@pytest.mark.parametrize("going", ["up", "down"])
async def test_a_clean_end_hands_over_at_once(stage: Stage, join: Join, going: str) -> None:
    stage.runtime.habits["acme"] = Habit(start_seconds=1, stop_seconds=3)
    first, second = await two(join)
    await stage.declare("acme")
    await stage.wake("acme")
    if going == "down":
        await stage.until("acme", Observed.STARTED)
        await stage.registry.change_desired("acme", Cause.SLEEP)
        await stage.until("acme", Observed.STOPPING)
    await asyncio.sleep(0.2)
    ended = now()
    await first.end()
    await second.until_leads()
    assert now() - ended < 0.5, "nobody waits for the lease"
    await stage.until("acme", Observed.STARTED if going == "up" else Observed.STOPPED)
    assert stage.runtime.running("acme") is (going == "up")
    assert stage.runtime.most_starting <= 1 or going == "up"


async def test_a_frozen_leader_that_goes_on_follows_and_stops_nothing(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    # Decided: it is to sleep. Frozen: before the stop is announced. Woken meanwhile, by the other one's doing.
    first.store.freeze_before = keys.observed_key("acme")
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(1)
    assert not first.store.going.is_set()
    await second.until_leads()
    await stage.until("acme", Observed.STOPPED)
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(3 * TTL)
    first.thaw()
    await asyncio.sleep(30)
    assert first.calls("stop", "acme") == 0
    assert not first.leads
    assert second.leads
    assert (await stage.observed("acme")).state is Observed.STARTED
    assert stage.runtime.running("acme")


async def test_a_leader_frozen_between_the_registrys_word_and_the_stop_does_not_stop(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.change_desired("acme", Cause.SLEEP)
    # The answer that it leads has come; it is looked at three lease times later.
    first.store.freeze_at_reads_of = keys.leader_key("memory-stage")
    await asyncio.sleep(1)
    assert not first.store.going.is_set()
    await second.until_leads()
    await stage.until("acme", Observed.STOPPED)
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(3 * TTL)
    first.thaw()
    await asyncio.sleep(30)
    assert first.calls("stop", "acme") == 0
    assert stage.runtime.running("acme")


async def test_a_stale_leaders_word_that_a_tenant_is_idle_is_refused(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    await stage.declare("acme", idle_timeout="30s")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    # Nothing that it judged by changes while it is frozen: only that it does not lead any more refuses its commit.
    first.store.freeze_before = keys.desired_key("acme")
    while first.store.going.is_set():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.1)
    await second.until_leads()
    await asyncio.sleep(2)
    first.thaw()
    await asyncio.sleep(2)
    assert (await stage.record("acme")).desired.state is Desired.STARTED
    await stage.until("acme", Observed.STOPPED)
    assert (await stage.record("acme")).desired.by == "passivator/second"


async def test_two_that_both_believe_they_lead_write_and_stop_as_one(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    for name in ("a", "b", "c"):
        await stage.declare(name, idle_timeout="20s")
        await stage.wake(name)
        await stage.until(name, Observed.STARTED)
    # Its watches are silent and its lease is prolonged no more, but it has not noticed either yet.
    first.store.silence_watches()
    (entry,) = stage.space.list(keys.LEADERS).entries
    stage.space.commit([Delete(entry.key)], ())
    await second.until_leads()
    assert first.leads, "this is about two that lead by their own word"
    stops = first.calls("stop", "a")
    await stage.registry.change_desired("a", Cause.SLEEP)
    await stage.until("a", Observed.STOPPED)
    assert second.calls("stop", "a") == 1
    await asyncio.sleep(120)
    assert first.calls("stop", "a") == stops
    assert all(first.calls("stop", name) == 0 for name in "abc")
    assert sum(fellow.leads for fellow in (first, second)) == 1


async def test_a_leader_that_is_cut_off_starts_and_stops_nothing_and_comes_back_as_a_follower(
    stage: Stage, join: Join
) -> None:
    first, second = await two(join)
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    first.store.go_away()
    await second.until_leads()
    stage.runtime.end("acme")
    before = first.calls("start", "acme")
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(20)
    assert first.calls("start", "acme") == before
    first.store.come_back()
    await asyncio.sleep(20)
    assert not first.leads
    assert not first.task.done()
    await second.kill()
    await first.until_leads()


async def test_a_registry_that_was_away_for_all_finds_its_leader_again(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    for fellow in (first, second):
        fellow.store.go_away()
    await asyncio.sleep(60)
    for fellow in (first, second):
        fellow.store.come_back()
    await asyncio.sleep(30)
    assert sum(fellow.leads for fellow in (first, second)) == 1
    assert stage.runtime.order == ["acme"]
    assert stage.runtime.running("acme")
    assert (await stage.observed("acme")).state is Observed.STARTED


async def test_leaders_frozen_in_turn_again_and_again_serve_everything(stage: Stage, join: Join) -> None:
    first, second = await two(join)
    names = [f"t{number}" for number in range(6)]
    for name in names:
        await stage.declare(name, idle_timeout="15s")
    for turn in range(24):
        fellow = (first, second)[turn % 2]
        fellow.freeze()
        for name in names[turn % 3 :: 3]:
            await stage.wake(name)
        await asyncio.sleep(2 * TTL)
        fellow.thaw()
        await asyncio.sleep(4)
    for name in names:
        await stage.wake(name)
    for name in names:
        observed = await stage.until(name, Observed.STARTED)
        assert observed.instance == stage.runtime.look(TenantName(name)).instance
    assert stage.runtime.most_starting <= stage.settings.max_starts + 1


async def test_passivators_of_other_runtimes_lead_groups_of_their_own_and_steal_nothing(
    stage: Stage,
) -> None:
    other = Stage(lead_ttl=TTL)
    other.space, other.registry = stage.space, stage.registry
    here, there = Fellow(stage, "here", identity="one"), Fellow(other, "there", identity="two")
    await here.until_leads()
    await there.until_leads()
    assert len(await leaders(stage)) == 2
    for number in range(8):
        await stage.declare(f"t{number}", idle_timeout="10s")
        await stage.wake(f"t{number}")
    runtimes: list[SimulatedRuntime] = [stage.runtime, other.runtime]
    await asyncio.sleep(8)
    homes = {}
    for number in range(8):
        name = f"t{number}"
        await stage.until(name, Observed.STARTED)
        (homes[name],) = [place for place, runtime in enumerate(runtimes) if runtime.running(name)]
    await asyncio.sleep(60)
    # Woken again, each is where it was.
    for name, home in homes.items():
        await stage.until(name, Observed.STOPPED)
        await stage.wake(name)
        await stage.until(name, Observed.STARTED)
        assert runtimes[home].running(name)
        assert not runtimes[1 - home].running(name)
    # While the passivator of one is away, the other one leaves its tenants alone, and says so of those that are woken.
    await stage.declare("mine", group="memory-one", idle_timeout="never")
    await stage.wake("mine")
    await stage.until("mine", Observed.STARTED)
    assert stage.runtime.running("mine")
    await stage.registry.change_desired("mine", Cause.SLEEP)
    await stage.until("mine", Observed.STOPPED)
    await here.kill()
    await asyncio.sleep(20)
    await stage.wake("mine")
    observed = await stage.until("mine", Observed.FAILED)
    assert observed.reason is not None
    assert observed.reason.code is ReasonCode.NOBODY
    assert "memory-one" in observed.reason.message
    assert not other.runtime.running("mine")
    # A word of its operator moves it.
    await stage.declare("mine", group="memory-two", idle_timeout="never")
    await stage.until("mine", Observed.STARTED)
    assert other.runtime.running("mine")
    await there.kill()


async def test_a_tenant_that_its_operator_moves_is_ended_here_before_it_starts_there(stage: Stage) -> None:
    other = Stage(lead_ttl=TTL)
    other.space, other.registry = stage.space, stage.registry
    here, there = Fellow(stage, "here", identity="one"), Fellow(other, "there", identity="two")
    await here.until_leads()
    await there.until_leads()
    await stage.declare("acme", group="memory-one", idle_timeout="never")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    assert (stage.runtime.running("acme"), other.runtime.running("acme")) == (True, False)
    await stage.declare("acme", group="memory-two", idle_timeout="never")
    for _ in range(200):
        await asyncio.sleep(0.1)
        assert not (stage.runtime.running("acme") and other.runtime.running("acme"))
    assert (stage.runtime.running("acme"), other.runtime.running("acme")) == (False, True)
    assert (await stage.observed("acme")).group == "memory-two"
    await here.kill()
    await there.kill()


async def test_tenants_that_end_with_their_passivator_are_started_anew_on_another_host(
    stage: Stage,
) -> None:
    other = Stage(lead_ttl=TTL)
    other.space, other.registry = stage.space, stage.registry
    here = Fellow(stage, "here", identity="one", kind="process")
    await here.until_leads()
    there = Fellow(other, "there", identity="two", kind="process")
    await there.until_leads()
    data = {"docker": None, "process": {"command": ["app"]}, "idle_timeout": "never"}
    await stage.declare("acme", **data)
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    first, second = (here, there) if stage.runtime.running("acme") else (there, here)
    await first.kill()
    for runtime in (stage.runtime, other.runtime):
        if runtime.running("acme"):
            runtime.end("acme")
    await asyncio.sleep(TTL + 3)
    assert second.calls("start", "acme") == 1
    observed = await stage.until("acme", Observed.STARTED)
    assert observed.group == "process-two" if first is here else "process-one"
    await second.kill()


async def test_a_successor_on_the_same_machine_does_not_wait_for_a_dead_leaders_lease(stage: Stage) -> None:
    stage.settings = replace(stage.settings, lead_ttl=300.0)
    await stage.up()
    await stage.declare("acme")
    await asyncio.sleep(1)
    await stage.kill()
    await stage.up()
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED, within=5)
