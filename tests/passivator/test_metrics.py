"""passivator's metrics tell what happened, on virtual time: sleeps, savings, waits, and failures of what is outside."""

import asyncio

import pytest

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import ReasonCode
from tests.passivator.fellows import Fellow
from tests.passivator.stage import Habit, Stage

pytestmark = pytest.mark.virtual_time
MIB = 1024 * 1024


async def awake(stage: Stage, name: str = "acme", **declared: object) -> None:
    """A tenant that is up."""
    await stage.declare(name, **declared)
    await stage.wake(name)
    await stage.until(name, Observed.STARTED)


@pytest.fixture
async def up(stage: Stage) -> Stage:
    """A passivator that leads."""
    await stage.up()
    await asyncio.sleep(1)
    return stage


async def test_a_sleep_is_counted_once_by_its_cause_also_where_a_pause_goes_before_the_stop(up: Stage) -> None:
    await awake(up, idle_timeout="30m", sleep={"pause_after": "5m"})
    await up.until("acme", Observed.PAUSED, within=400)
    await asyncio.sleep(1)
    assert up.metric("passivator_passivations_total", cause="idle") == 1
    await up.until("acme", Observed.STOPPED, within=1600)
    await asyncio.sleep(1)
    assert up.metric("passivator_passivations_total", cause="idle") == 1
    await up.wake("acme")
    await up.until("acme", Observed.STARTED)
    await up.registry.change_desired("acme", Cause.SLEEP)
    await up.until("acme", Observed.STOPPED, Observed.PAUSED)
    await asyncio.sleep(1)
    assert up.metric("passivator_passivations_total", cause="sleep") == 1
    assert up.metric("passivator_passivations_total", cause="idle") == 1


async def test_time_asleep_and_memory_released_follow_the_tenants(up: Stage) -> None:
    await awake(up, docker={"image": "app:1", "memory": "100m"}, idle_timeout="10m")
    await up.declare("never", docker={"image": "app:1", "memory": "20m"})
    await asyncio.sleep(100)
    assert up.metric("passivator_memory_released_bytes") == 20 * MIB
    assert up.metric("passivator_asleep_seconds_total", state="stopped") == pytest.approx(100, abs=1)
    await up.until("acme", Observed.STOPPED, within=700)
    before = up.metric("passivator_asleep_seconds_total", state="stopped")
    bytes_before = up.metric("passivator_memory_released_byte_seconds_total")
    await asyncio.sleep(50)
    assert up.metric("passivator_memory_released_bytes") == 120 * MIB
    assert up.metric("passivator_asleep_seconds_total", state="stopped") - before == pytest.approx(100, abs=1)
    released = up.metric("passivator_memory_released_byte_seconds_total") - bytes_before
    assert released == pytest.approx(50 * 120 * MIB, rel=0.01)
    await up.registry.change_desired("never", Cause.STOP)
    await asyncio.sleep(1)
    assert up.metric("passivator_memory_released_bytes") == 100 * MIB, "what an operator stopped is not asleep"


async def test_a_tenant_without_a_memory_limit_counts_as_the_setting_says() -> None:
    stage = Stage(memory_default=7 * MIB)
    await stage.up()
    await stage.declare("acme")
    await asyncio.sleep(1)
    assert stage.metric("passivator_memory_released_bytes") == 7 * MIB
    await stage.kill()


async def test_only_who_leads_counts_what_sleeps() -> None:
    stage = Stage(lead_ttl=5.0)
    first, second = Fellow(stage, "first"), Fellow(stage, "second")
    try:
        await first.until_leads()
        await stage.declare("acme")
        await asyncio.sleep(10)

        def seconds(fellow: Fellow) -> float:
            return fellow.metrics.get_sample_value("passivator_asleep_seconds_total", {"state": "stopped"}) or 0.0

        assert seconds(first) == pytest.approx(10, abs=1)
        assert seconds(second) == 0
        await first.kill()
        await second.until_leads()
        await asyncio.sleep(20)
        assert seconds(second) == pytest.approx(20, abs=1)
    finally:
        await first.kill()
        await second.kill()


async def test_how_long_the_first_in_the_queue_has_waited() -> None:
    stage = Stage(max_starts=1)
    await stage.up()
    stage.runtime.habits["slow"] = Habit(start_seconds=100)
    for name in ("slow", "next"):
        await stage.declare(name)
        await stage.wake(name)
        await asyncio.sleep(10)
    assert stage.metric("passivator_starts_queued") == 1
    assert stage.metric("passivator_starts_oldest_wait_seconds") == pytest.approx(10, abs=1)
    await stage.until("next", Observed.STARTED, within=200)
    assert stage.metric("passivator_starts_oldest_wait_seconds") == 0
    await stage.kill()


async def test_a_runtime_that_is_away_shows_and_so_do_its_calls(up: Stage) -> None:
    await awake(up)
    assert up.metric("passivator_runtime_unavailable_seconds") == 0
    assert up.metric("passivator_runtime_call_seconds_count", operation="start") == 1
    assert up.metric("passivator_runtime_call_seconds_sum", operation="start") == pytest.approx(0.3)
    up.runtime.down = True
    await asyncio.sleep(100)
    assert up.metric("passivator_runtime_unavailable_seconds") > 60
    assert up.metric("passivator_runtime_errors_total", operation="list", kind="unavailable") > 3
    up.runtime.down = False
    await asyncio.sleep(10)
    assert up.metric("passivator_runtime_unavailable_seconds") == 0


async def test_a_registry_that_is_away_shows_and_so_do_its_calls(up: Stage) -> None:
    await awake(up)
    assert up.metric("passivator_registry_stale_seconds") == 0
    up.store.go_away()
    await asyncio.sleep(50)
    assert up.metric("passivator_registry_stale_seconds") == pytest.approx(50, abs=2)
    assert up.metric("passivator_registry_errors_total", operation="watch", kind="unavailable") > 3
    up.store.come_back()
    await asyncio.sleep(10)
    assert up.metric("passivator_registry_stale_seconds") == 0


async def test_what_passivator_writes_comes_back_in_its_watch_and_the_lag_is_measured(up: Stage) -> None:
    await awake(up)
    await asyncio.sleep(1)
    assert up.metric("passivator_registry_watch_lag_seconds_count") > 0
    assert up.metric("passivator_registry_watch_behind_seconds") == 0
    assert up.metric("passivator_registry_watch_lag_seconds_sum") < 1
    up.store.silence_watches()
    await up.wake("acme")
    await up.registry.change_desired("acme", Cause.SLEEP)
    await asyncio.sleep(60)
    assert up.metric("passivator_registry_watch_behind_seconds") == 0, "the watch was made anew"


async def test_a_start_that_fails_is_no_failure_of_the_runtime(up: Stage) -> None:
    up.runtime.habits["acme"] = Habit(fails=ReasonCode.IMAGE_MISSING)
    await up.declare("acme")
    await up.wake("acme")
    await up.until("acme", Observed.FAILED)
    await asyncio.sleep(1)
    assert up.metric("passivator_starts_total", result="failed", reason="image-missing") >= 1
    errors = [
        sample.value
        for family in up.metrics.collect()
        for sample in family.samples
        if sample.name == "passivator_runtime_errors_total"
    ]
    assert errors, "they are shown before there are any"
    assert sum(errors) == 0
