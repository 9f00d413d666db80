"""Tenants by labels, on virtual time: they come, change and leave with containers, and nothing else takes them away."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.tenant import TenantName
from gogeta.registry import keys
from gogeta.registry.discovering import discoveries
from gogeta.registry.explaining import explained
from gogeta.registry.store import Put
from passivator.drivers.base import RuntimeUnavailableError
from passivator.drivers.labelled import Labelled
from tests.passivator.fellows import Fellow
from tests.passivator.stage import Faults, Stage

pytestmark = pytest.mark.virtual_time
GROUP = "memory-stage"
SETTLE = 10.0
NOT_IN_FORCE = "the labels of container {} are not in force: {}"


class Engine:
    """Containers with labels, in an engine that may be away."""

    def __init__(self) -> None:
        self.containers: dict[str, Labelled] = {}
        self.away = False
        self.silent = False
        """No event is told."""
        self.looks = 0
        self._changed = asyncio.Event()
        self._made = 0

    def put(self, name: str, *, running: bool = False, **labels: str) -> None:
        """Make it, or make it anew."""
        self._made += 1
        given = {f"gogeta.{key.replace('_', '-')}": value for key, value in labels.items()}
        labels = {"gogeta.enable": "true", "gogeta.host": f"{name}.test", **given}
        self.containers[name] = Labelled(
            id=f"{name}{self._made}", name=name, labels=labels, created=self._made, running=running
        )
        self.tell()

    def remove(self, name: str) -> None:
        del self.containers[name]
        self.tell()

    def tell(self) -> None:
        if not self.silent:
            self._changed.set()

    async def list(self) -> tuple[Labelled, ...]:
        self.looks += 1
        if self.away:
            raise RuntimeUnavailableError("the engine is away")
        return tuple(self.containers.values())

    async def changes(self) -> AsyncGenerator[None, None]:
        if self.away:
            raise RuntimeUnavailableError("the engine is away")
        yield
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield

    async def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
async def engine() -> Engine:
    """An engine without containers."""
    return Engine()


@pytest.fixture
async def stage(engine: Engine) -> AsyncIterator[Stage]:
    """A stage whose passivator discovers."""
    stage = Stage(discover_settle=SETTLE)
    stage.labels = engine
    yield stage
    await stage.kill()


async def names(stage: Stage) -> list[str]:
    return sorted((await stage.registry.load()).by_name)


async def refusals(stage: Stage) -> list[str]:
    return [str(refusal) for each in await discoveries(stage.registry.store) for refusal in each.refusals]


async def test_a_container_that_does_not_run_becomes_a_tenant_that_is_asleep(stage: Stage, engine: Engine) -> None:
    await stage.up()
    await asyncio.sleep(1)
    engine.put("web", port="81", idle_timeout="1m")
    await asyncio.sleep(1)
    record = await stage.record("web")
    assert (record.tenant.port, record.tenant.discovered, record.tenant.group) == (81, True, GROUP)
    assert record.desired.state is Desired.PASSIVATED
    await stage.wake("web")
    await stage.until("web", Observed.STARTED)
    await stage.until("web", Observed.STOPPED, within=90)
    assert stage.metric("passivator_discovered_total", change="declared") == 1


async def test_a_container_that_runs_is_up_and_sleeps_after_its_idle_timeout(stage: Stage, engine: Engine) -> None:
    engine.put("web", running=True, idle_timeout="30s")
    await stage.up()
    await asyncio.sleep(1)
    await stage.until("web", Observed.STARTED)
    record = await stage.record("web")
    assert (record.desired.cause, record.desired.by) == (Cause.START, "passivator/test")
    await stage.until("web", Observed.STOPPED, within=60)


async def test_it_follows_the_labels_of_a_container_that_was_made_anew(stage: Stage, engine: Engine) -> None:
    engine.put("web")
    await stage.up()
    await asyncio.sleep(1)
    created = (await stage.record("web")).created
    engine.remove("web")
    await asyncio.sleep(SETTLE / 2)
    engine.put("web", host="new.test")
    await asyncio.sleep(1)
    record = await stage.record("web")
    assert record.tenant.hosts == ("new.test",)
    assert record.created == created
    assert stage.metric("passivator_discovered_total", change="changed") == 1


async def test_it_leaves_when_its_container_has_been_gone_for_a_while(stage: Stage, engine: Engine) -> None:
    engine.put("web", running=True)
    engine.put("stays")
    await stage.up()
    await asyncio.sleep(1)
    await stage.until("web", Observed.STARTED)
    engine.remove("web")
    await asyncio.sleep(SETTLE - 1)
    assert await names(stage) == ["stays", "web"]
    await asyncio.sleep(3)
    assert await names(stage) == ["stays"]
    assert not (await stage.registry.load()).leftovers
    assert stage.metric("passivator_discovered_total", change="withdrawn") == 1


async def test_what_events_missed_is_found_by_looking(stage: Stage, engine: Engine) -> None:
    await stage.up()
    await asyncio.sleep(1)
    engine.silent = True
    engine.put("web")
    await asyncio.sleep(stage.settings.resync + 1)
    assert await names(stage) == ["web"]


async def test_many_events_are_few_looks(stage: Stage, engine: Engine) -> None:
    await stage.up()
    await asyncio.sleep(1)
    before = engine.looks
    for number in range(100):
        engine.put(f"web{number}")
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    assert len(await names(stage)) == 100
    assert engine.looks - before <= 6


async def test_while_the_engine_is_away_nothing_is_withdrawn(stage: Stage, engine: Engine) -> None:
    engine.put("web")
    engine.put("going")
    await stage.up()
    await asyncio.sleep(1)
    engine.remove("going")
    await asyncio.sleep(2)
    engine.away = True
    await asyncio.sleep(10 * SETTLE)
    assert await names(stage) == ["going", "web"]
    engine.away = False
    await asyncio.sleep(15)
    assert await names(stage) == ["web"]


async def test_while_the_registry_is_away_nothing_is_withdrawn_and_then_it_catches_up(
    stage: Stage, engine: Engine
) -> None:
    engine.put("web")
    await stage.up()
    await asyncio.sleep(1)
    stage.store.unavailable = True
    engine.remove("web")
    engine.put("other")
    await asyncio.sleep(3 * SETTLE)
    assert await names(stage) == ["web"]
    stage.store.unavailable = False
    await asyncio.sleep(2 * SETTLE)
    assert await names(stage) == ["other"]


async def test_a_registry_that_was_emptied_is_filled_again(stage: Stage, engine: Engine) -> None:
    engine.put("web")
    await stage.up()
    await asyncio.sleep(1)
    await stage.registry.remove("web")
    await asyncio.sleep(stage.settings.resync + 1)
    assert await names(stage) == ["web"]


async def test_wrong_labels_change_nothing_and_are_shown(
    stage: Stage, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    engine.put("web")
    engine.put("bad", port="http")
    await stage.up()
    await asyncio.sleep(1)
    engine.put("web", idle_timeout="soon")
    await asyncio.sleep(3 * SETTLE + 2 * stage.settings.resync)
    assert await names(stage) == ["web"]
    assert (await stage.record("web")).tenant.idle_timeout == 1800.0
    duration = "expected a duration such as 500ms, 30s, 30m or 1h30m, not 'soon'"
    told = [
        NOT_IN_FORCE.format("bad", "gogeta.port: expected a whole number, not 'http'"),
        NOT_IN_FORCE.format("web", f"gogeta.idle-timeout: {duration}"),
    ]
    assert await refusals(stage) == told
    assert [record.message for record in caplog.records if "not in force" in record.message] == told
    assert stage.metric("passivator_refused_labels", why="invalid") == 2
    assert told[1] in (await explained(stage.registry, "web"))["warnings"]
    engine.put("web", idle_timeout="5m")
    engine.put("bad", port="80")
    await asyncio.sleep(1)
    assert await names(stage) == ["bad", "web"]
    assert not await refusals(stage)
    assert stage.space.list(keys.DISCOVERY).entries == ()
    assert stage.metric("passivator_refused_labels", why="invalid") == 0


async def test_of_two_claims_to_a_host_the_older_stays_and_the_other_comes_after_it(
    stage: Stage, engine: Engine
) -> None:
    engine.put("older", host="a.test")
    engine.put("newer", host="a.test")
    await stage.up()
    await asyncio.sleep(1)
    assert await names(stage) == ["older"]
    engine.put("older", host="a.test")  # made anew, so the younger one now
    await asyncio.sleep(1)
    assert await names(stage) == ["older"]
    message = NOT_IN_FORCE.format("newer", "host a.test is tenant older's (container older), which keeps it")
    assert await refusals(stage) == [message]
    assert message in (await explained(stage.registry, "older"))["warnings"]
    assert stage.metric("passivator_refused_labels", why="conflict") == 1
    engine.remove("older")
    await asyncio.sleep(SETTLE + 3)
    assert await names(stage) == ["newer"]
    assert not await refusals(stage)


async def test_a_declaration_by_hand_wins_whoever_was_first(stage: Stage, engine: Engine) -> None:
    await stage.declare("first", hosts=["first.test"])
    engine.put("first")
    engine.put("web")
    engine.put("other", host="theirs.test")
    await stage.up()
    await asyncio.sleep(1)
    assert not (await stage.record("first")).tenant.discovered
    assert await names(stage) == ["first", "other", "web"]
    # Now by hand: the name of one, and the host of another.
    await stage.declare("web", hosts=["web.test"])
    await stage.declare("byhand", hosts=["theirs.test"])
    await asyncio.sleep(2 * SETTLE + stage.settings.resync)
    assert await names(stage) == ["byhand", "first", "web"]
    assert not (await stage.record("web")).tenant.discovered
    by_hand = "tenant {0} is declared by hand, and that counts; `gogeta rm {0}` ends it"
    assert await refusals(stage) == [
        NOT_IN_FORCE.format("first", by_hand.format("first")),
        NOT_IN_FORCE.format("web", by_hand.format("web")),
        NOT_IN_FORCE.format("other", "host theirs.test is tenant byhand's (declared by hand), which keeps it"),
    ]
    await stage.registry.remove("byhand")
    await asyncio.sleep(stage.settings.resync + 1)
    assert await names(stage) == ["first", "other", "web"]


async def test_what_somebody_starts_by_hand_while_it_is_asleep_is_up_until_it_is_idle(
    stage: Stage, engine: Engine
) -> None:
    engine.put("web", idle_timeout="20s")
    await stage.up()
    await asyncio.sleep(1)
    stage.runtime.run(TenantName("web"))
    engine.put("web", running=True, idle_timeout="20s")
    await stage.until("web", Observed.STARTED)
    assert (await stage.record("web")).desired.cause is Cause.START
    await stage.until("web", Observed.STOPPED, within=40)
    assert not stage.runtime.running("web")


async def test_an_operators_stop_counts_more_than_a_start_by_hand(stage: Stage, engine: Engine) -> None:
    engine.put("web")
    await stage.up()
    await asyncio.sleep(1)
    await stage.registry.change_desired("web", Cause.STOP)
    await asyncio.sleep(1)
    stage.runtime.run(TenantName("web"))
    engine.put("web", running=True)
    await asyncio.sleep(3)
    assert not stage.runtime.running("web")
    assert (await stage.record("web")).desired.state is Desired.STOPPED


async def test_only_who_leads_writes_and_who_leads_next_goes_on(stage: Stage, engine: Engine) -> None:
    engine.put("web")
    engine.put("bad", port="x")
    first = Fellow(stage, "first")
    await first.until_leads()
    second = Fellow(stage, "second")
    await asyncio.sleep(1)
    try:
        assert (await discoveries(stage.registry.store))[0].by.endswith("first")
        engine.put("more")
        await asyncio.sleep(1)
        assert await names(stage) == ["more", "web"]
        assert first.metrics.get_sample_value("passivator_discovered_total", {"change": "declared"}) == 2
        assert not second.metrics.get_sample_value("passivator_discovered_total", {"change": "declared"})
        await first.kill()
        await second.until_leads(within=2 * stage.settings.lead_ttl)
        await asyncio.sleep(1)
        assert (await discoveries(stage.registry.store))[0].by.endswith("second")
        engine.remove("more")
        await asyncio.sleep(SETTLE + 2)
        assert await names(stage) == ["web"]
    finally:
        await first.kill()
        await second.kill()


async def test_what_is_shown_goes_with_who_shows_it(stage: Stage, engine: Engine) -> None:
    engine.put("bad", port="x")
    await stage.up()
    await asyncio.sleep(1)
    assert await refusals(stage)
    await stage.kill()
    await asyncio.sleep(stage.settings.lead_ttl + 1)
    assert stage.space.list(keys.DISCOVERY).entries == ()


@pytest.mark.parametrize("point", range(8))
async def test_a_passivator_that_dies_anywhere_is_followed_by_one_that_finishes(
    stage: Stage, engine: Engine, point: int
) -> None:
    engine.put("web", running=True)
    engine.put("bad", port="x")
    await stage.up(Faults(at=point))
    await asyncio.sleep(2)
    await stage.kill()
    engine.put("late")
    await stage.up()
    await asyncio.sleep(1)
    await stage.until("web", Observed.STARTED)
    await asyncio.sleep(1)
    assert await names(stage) == ["late", "web"]
    assert len(await refusals(stage)) == 1


async def test_a_declaration_that_cannot_be_read_is_left_alone(stage: Stage, engine: Engine) -> None:
    await stage.registry.store.commit([Put(keys.tenant_key("web"), b"{")])
    engine.put("web")
    await stage.up()
    await asyncio.sleep(1)
    entry = await stage.registry.store.get(keys.tenant_key("web"))
    assert entry is not None
    assert entry.value == b"{"
    assert "its declaration cannot be read" in (await refusals(stage))[0]
