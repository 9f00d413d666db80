"""What a proxy says in its member key: how far it has seen, and what is in flight all the same."""

from __future__ import annotations

import asyncio

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, Member
from gogeta.registry.registry import DesiredChange
from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, get, until

ASLEEP = DesiredState(state=Desired.PASSIVATED, cause=Cause.SLEEP)
STOPPED = DesiredState(state=Desired.STOPPED, cause=Cause.STOP)


def introduce(on: Stage) -> None:
    on.proxy.yielding.introduce(Member(kind="gogeta", id="1"))
    on.proxy.tasks.start(on.proxy.yielding.run(), "yielding")


def said(on: Stage) -> Member:
    return on.proxy.yielding.member


@pytest.mark.parametrize("desired", [ASLEEP, STOPPED])
async def test_what_is_in_flight_is_named_until_it_has_ended(desired: DesiredState) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        introduce(on)
        visitor.send(get())
        await app.heard(1)
        on.change(desired=desired)
        await until(lambda: said(on).seen == on.revision)
        assert said(on).draining == ("acme",)
        assert on.proxy.yielding.changed.is_set()
        assert on.registry.wakes == [], "an operator's word is not taken back by a request that was there before it"
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
        await until(lambda: said(on).draining == ())
        assert said(on).seen == on.revision


async def test_a_tenant_that_nothing_is_in_flight_to_is_just_seen() -> None:
    async with stage() as on:
        await on.serve()
        introduce(on)
        await on.ask(get())
        on.change(desired=ASLEEP)
        await until(lambda: said(on).seen == on.revision)
        assert said(on).draining == ()


async def test_held_requests_are_not_in_flight_to_the_tenant() -> None:
    async with stage() as on, on.visitor() as visitor:

        async def never(name: str, _: Cause) -> DesiredChange:
            await asyncio.Event().wait()
            raise AssertionError(name)

        on.registry.on_wake = never
        await on.serve()
        introduce(on)
        on.change(desired=ASLEEP)
        visitor.send(get())
        await until(lambda: on.proxy.tally.held)
        on.change(observed=on.observed(None, Observed.STOPPING), desired=ASLEEP)
        await until(lambda: said(on).seen == on.revision)
        assert said(on).draining == ()


async def test_what_is_taken_back_is_named_no_longer() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        introduce(on)
        visitor.send(get())
        await app.heard(1)
        on.change(desired=ASLEEP)
        await until(lambda: said(on).draining)
        on.change(desired=DesiredState(state=Desired.STARTED))
        await until(lambda: not said(on).draining)
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200


async def test_tenants_that_nothing_runs_of_cost_no_word() -> None:
    async with stage() as on:
        on.declare()
        introduce(on)
        await asyncio.sleep(0.1)
        on.change(desired=ASLEEP)
        await asyncio.sleep(0.1)
        assert not on.proxy.yielding.changed.is_set()


async def test_an_idle_sleep_is_taken_back_by_what_is_in_flight() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        introduce(on)
        visitor.send(get())
        await app.heard(1)
        on.change(desired=DesiredState(state=Desired.PASSIVATED, cause=Cause.IDLE))
        await until(lambda: on.registry.wakes == [("acme", Cause.IN_USE)])
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
