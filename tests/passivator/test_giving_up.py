"""A crash loop is stopped: given up by passivator, tried once when a visitor asks, or an operator."""

import asyncio
from dataclasses import replace

import pytest

from gogeta.domain.lifecycle import Cause, Meeting, Observed
from gogeta.domain.state import ObservedState, Reason, ReasonCode
from tests.passivator.stage import Habit, Stage

pytestmark = pytest.mark.virtual_time


async def given_up(stage: Stage, habit: Habit) -> ObservedState:
    """A tenant that was tried often enough."""
    stage.runtime.habits["acme"] = habit
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await asyncio.sleep(2000)
    observed = await stage.observed("acme")
    assert observed.state is Observed.FAILED
    assert reason(observed).given_up
    return observed


def reason(observed: ObservedState) -> Reason:
    assert observed.reason is not None
    return observed.reason


async def test_after_so_many_failures_in_a_row_nothing_is_tried_any_more_and_the_record_says_so(stage: Stage) -> None:
    observed = await given_up(stage, Habit(fails=ReasonCode.IMAGE_MISSING))
    assert stage.counted("start", "acme") == stage.settings.max_failures
    assert reason(observed).code is ReasonCode.IMAGE_MISSING
    assert reason(observed).failures == stage.settings.max_failures
    assert reason(observed).retry_at is None
    assert reason(observed).message.startswith("given up after 8 failures in a row: image-missing")
    await asyncio.sleep(2 * 3600)
    assert stage.counted("start", "acme") == stage.settings.max_failures
    assert stage.metric("passivator_given_up_total", reason="image-missing") == 1


async def test_a_loop_of_good_starts_and_quick_deaths_is_stopped_too(stage: Stage) -> None:
    observed = await given_up(stage, Habit(ready_after=0.5, dies_after=2.0))
    assert stage.counted("start", "acme") == stage.settings.max_failures
    assert reason(observed).code is ReasonCode.EXITED


async def test_a_tenant_that_crashes_now_and_then_is_never_given_up(stage: Stage) -> None:
    stage.runtime.habits["acme"] = Habit(dies_after=100.0)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await asyncio.sleep(3600)
    assert stage.counted("start", "acme") >= 30


async def test_visitors_get_one_try_whoever_asks_and_no_other_before_the_longest_wait(stage: Stage) -> None:
    await given_up(stage, Habit(fails=ReasonCode.EXITED))
    record = await stage.record("acme")
    assert record.meeting is Meeting.WAKE
    tried = stage.counted("start", "acme")
    asked = await asyncio.gather(*(stage.registry.ask_again(record) for _ in range(50)))
    assert sum(change is not None for change in asked) == 1
    await asyncio.sleep(5)
    assert stage.counted("start", "acme") == tried + 1
    # It failed: visitors are told so, and none of them causes anything for a while.
    record = await stage.record("acme")
    assert record.meeting is Meeting.FAILED
    assert reason(record.observed).given_up
    await asyncio.sleep(stage.settings.retry_limit - 10)
    assert (await stage.record("acme")).meeting is Meeting.FAILED
    await asyncio.sleep(10)
    assert (await stage.record("acme")).meeting is Meeting.WAKE
    await asyncio.sleep(3600)
    assert stage.counted("start", "acme") == tried + 1, "nobody has asked"


async def test_while_the_try_is_under_way_visitors_wait_for_it(stage: Stage) -> None:
    await given_up(stage, Habit(fails=ReasonCode.EXITED))
    stage.runtime.habits["acme"] = Habit(start_seconds=5)
    await stage.registry.ask_again(await stage.record("acme"))
    assert (await stage.record("acme")).meeting is Meeting.WAIT
    await asyncio.sleep(1)
    assert (await stage.record("acme")).meeting is Meeting.WAIT
    await stage.until("acme", Observed.STARTED)
    assert (await stage.record("acme")).meeting is Meeting.FORWARD


async def test_a_try_that_succeeds_and_lasts_ends_it(stage: Stage) -> None:
    await given_up(stage, Habit(fails=ReasonCode.EXITED))
    stage.runtime.habits["acme"] = Habit()
    await stage.registry.ask_again(await stage.record("acme"))
    await stage.until("acme", Observed.STARTED)
    await asyncio.sleep(100)
    stage.runtime.end("acme")
    await asyncio.sleep(1)
    await stage.until("acme", Observed.STARTED)
    stage.runtime.end("acme")
    await asyncio.sleep(0.1)
    failed = await stage.until("acme", Observed.FAILED, Observed.STARTED)
    assert failed.reason is None or not failed.reason.given_up


async def test_an_operator_need_not_wait_and_gets_one_try(stage: Stage) -> None:
    await given_up(stage, Habit(fails=ReasonCode.EXITED))
    tried = stage.counted("start", "acme")
    await stage.registry.change_desired("acme", Cause.WAKE, renew=True)
    await asyncio.sleep(1000)
    assert stage.counted("start", "acme") == tried + 1
    stage.runtime.habits["acme"] = Habit()
    await stage.registry.change_desired("acme", Cause.START, renew=True)
    await stage.until("acme", Observed.STARTED, within=5)


async def test_a_restart_of_passivator_tries_nothing_by_itself_and_forgets_nothing(stage: Stage) -> None:
    await given_up(stage, Habit(fails=ReasonCode.EXITED))
    tried = stage.counted("start", "acme")
    await stage.kill()
    await stage.up()
    await asyncio.sleep(3600)
    assert stage.counted("start", "acme") == tried
    assert (await stage.record("acme")).meeting is Meeting.WAKE
    # Asked for while it was away: heard of when it is back.
    await stage.kill()
    await stage.registry.ask_again(await stage.record("acme"))
    await stage.up()
    await asyncio.sleep(60)
    assert stage.counted("start", "acme") == tried + 1
    assert reason(await stage.observed("acme")).given_up


async def test_asleep_and_woken_again_it_is_still_given_up_and_tried_once(stage: Stage) -> None:
    await given_up(stage, Habit(fails=ReasonCode.EXITED))
    tried = stage.counted("start", "acme")
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await stage.wake("acme")
    await asyncio.sleep(100)
    assert stage.counted("start", "acme") == tried + 1
    await stage.registry.change_desired("acme", Cause.SLEEP)
    await stage.until("acme", Observed.STOPPED)
    await stage.wake("acme")
    await asyncio.sleep(60)
    assert stage.counted("start", "acme") == tried + 1, "not so soon after the last one"
    assert (await stage.record("acme")).meeting is Meeting.FAILED


async def test_never_given_up_when_that_is_what_is_set(stage: Stage) -> None:
    stage.settings = replace(stage.settings, max_failures=0)
    stage.runtime.habits["acme"] = Habit(fails=ReasonCode.EXITED)
    await stage.up()
    await stage.declare("acme", idle_timeout="never")
    await stage.wake("acme")
    await asyncio.sleep(3600)
    assert stage.counted("start", "acme") >= 12
    assert reason(await stage.observed("acme")).retry_at is not None
