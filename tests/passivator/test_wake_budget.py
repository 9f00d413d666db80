"""The wakes that a budget is decided with outlive what passivator does to a tenant."""

from __future__ import annotations

import asyncio

import pytest

from gogeta.domain.errors import WakeBudgetError
from gogeta.domain.lifecycle import Cause, Observed
from tests.passivator.stage import Stage

pytestmark = pytest.mark.virtual_time


async def test_falling_asleep_by_itself_forgets_no_wakes(stage: Stage) -> None:
    await stage.up()
    await stage.declare("acme", idle_timeout="10s")
    for number in range(2):
        await stage.registry.change_desired("acme", Cause.REQUEST, per_hour=2)
        await stage.until("acme", Observed.STARTED)
        assert sum(count for _, count in (await stage.record("acme")).desired.recent_wakes) == number + 1
        await stage.until("acme", Observed.STOPPED, within=60)
    with pytest.raises(WakeBudgetError):
        await stage.registry.change_desired("acme", Cause.REQUEST, per_hour=2)
    await asyncio.sleep(60)
    assert (await stage.observed("acme")).state is Observed.STOPPED
