"""Stories that the simulation found (``tests/simulation``), told in short on the stage."""

import asyncio
from dataclasses import replace

import pytest

from gogeta.domain.lifecycle import Observed
from gogeta.domain.state import Reason, ReasonCode
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.kit.clock import wall_ms
from tests.passivator.stage import Faults, Habit, SimulatedDriver, Stage

pytestmark = pytest.mark.virtual_time


class SlowRemoval(SimulatedDriver):
    """A driver whose engine takes its time to remove something."""

    async def remove(self, name: TenantName) -> None:
        await asyncio.sleep(2)
        await super().remove(name)


class SlowStage(Stage):
    """A stage whose runtime removes slowly and tells how many starts of one tenant are under way at once."""

    def make_driver(self, kind: str) -> SimulatedDriver:
        return SlowRemoval(self.runtime, self.store.faults, kind)


async def test_declared_and_woken_again_during_its_removal_nobody_is_sent_to_what_is_about_to_go() -> None:
    stage = SlowStage()
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    before = await stage.until("acme", Observed.STARTED)
    await stage.registry.remove("acme")
    await asyncio.sleep(1)
    await stage.declare("acme")
    await stage.wake("acme")
    # The old start is still there, and visitors are not told of it.
    assert stage.runtime.running("acme")
    assert (await stage.observed("acme")).state is Observed.STOPPING
    after = await stage.until("acme", Observed.STARTED)
    assert after.instance != before.instance
    assert after.instance == stage.runtime.look(TenantName("acme")).instance
    await stage.kill()


class Crowded(SimulatedDriver):
    """Counts starts of one tenant at the same time."""

    under_way = 0
    most = 0

    async def start(self, tenant: Tenant) -> object:  # type: ignore[override] # what it returns is the driver's own
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().start(tenant)
        finally:
            self.under_way -= 1

    async def remove(self, name: TenantName) -> None:
        await asyncio.sleep(2)
        await super().remove(name)


class CrowdedStage(Stage):
    def make_driver(self, kind: str) -> SimulatedDriver:
        self.crowded = Crowded(self.runtime, self.store.faults, kind)
        return self.crowded


async def test_a_tenant_declared_again_during_its_removal_is_started_by_one_worker() -> None:
    stage = CrowdedStage(max_starts=4)
    stage.runtime.habits["acme"] = Habit(start_seconds=1.0)
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.registry.remove("acme")
    await asyncio.sleep(1)
    await stage.declare("acme")
    await stage.wake("acme")
    for _ in range(20):
        # Every look at it may give it one more worker.
        await asyncio.sleep(0.2)
        stage.runtime.tell("acme")
    await stage.until("acme", Observed.STARTED)
    assert stage.crowded.most == 1
    await stage.kill()


async def test_a_slow_runtime_does_not_use_up_the_time_to_become_ready(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(start_seconds=9.0, ready_after=2.0)
    await stage.up()
    await stage.declare("acme", ready={"timeout": "5s"})
    await stage.wake("acme")
    observed = await stage.until("acme", Observed.STARTED, Observed.FAILED)
    assert observed.state is Observed.STARTED, observed.reason
    assert {phase.name: round(phase.ms / 1000) for phase in observed.phases} == {"queued": 0, "started": 9, "ready": 2}


async def test_a_tenant_that_is_not_ready_in_its_own_time_still_fails(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(start_seconds=3.0, ready_after=None)
    await stage.up(Faults())
    await stage.declare("acme", ready={"timeout": "5s"})
    await stage.wake("acme")
    observed = await stage.until("acme", Observed.FAILED)
    assert isinstance(observed.reason, Reason)
    assert observed.reason.code is ReasonCode.NOT_READY


async def test_a_retry_that_was_written_by_a_clock_that_had_jumped_is_made_in_its_own_time(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme")
    await stage.wake("acme")
    await stage.until("acme", Observed.STARTED)
    await stage.kill()
    stage.runtime.things.clear()
    record = await stage.record("acme")
    hours_ahead = Reason(ReasonCode.OUT_OF_MEMORY, "it was killed", retry_at=wall_ms() + 7_200_000, failures=1)
    failed = replace(record.observed, state=Observed.FAILED, reason=hours_ahead, endpoints=())
    assert await stage.registry.observe(TenantName("acme"), failed, record.observed_revision)
    await stage.up()
    # One failure means a wait of `retry_first` at the most, whatever the wall clock of that passivator was.
    await stage.until("acme", Observed.STARTED, within=stage.settings.retry_first + 6)
