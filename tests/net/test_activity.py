"""Last accesses: written soon, then rarely, for as long as something is in use; never lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gogeta.domain.lifecycle import Cause, Desired
from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, get, until


def written(on: Stage) -> list[int]:
    """Requests in flight at each write so far."""
    return [batch["acme"].in_flight for batch in on.registry.accesses]


async def flush(on: Stage, *, later: float = 0.0, everything: bool = False) -> None:
    """What the background task does, ``later`` seconds from now."""
    await on.proxy.activity.flush(on.proxy.loop_time() + later, everything=everything)


async def test_the_first_use_is_written_within_half_a_second() -> None:
    async with stage() as on:
        await on.serve()
        on.proxy.tasks.start(on.proxy.activity.run(), "activity")
        loop = asyncio.get_running_loop()
        await on.ask(get())
        asked = loop.time()
        await until(lambda: written(on))
        assert loop.time() - asked < 0.5
        assert on.registry.accesses[0]["acme"].by == "test"


async def test_later_uses_are_written_once_per_interval() -> None:
    async with stage(access_interval=10.0) as on:
        await on.serve()
        for _ in range(5):
            await on.ask(get())
            await flush(on)
        assert len(written(on)) == 1
        await flush(on, later=9.9)
        assert len(written(on)) == 1
        await flush(on, later=10.1)
        assert len(written(on)) == 2
        await flush(on, later=30.0)
        assert len(written(on)) == 2


async def test_the_interval_is_a_tenth_of_the_idle_timeout() -> None:
    async with stage(access_interval=10.0) as on:
        await on.serve(idle_timeout=20)
        for later in (0.0, 1.9, 2.1):
            await on.ask(get())
            await flush(on, later=later)
        assert len(written(on)) == 2


async def test_what_stays_in_use_is_written_again_without_another_request() -> None:
    async with stage(access_interval=10.0) as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        for later in (0.0, 5.0, 11.0, 22.0):
            await flush(on, later=later)
        assert written(on) == [1, 1, 1]
        app.writers[-1].write(OK)
        await visitor.answer()
        await flush(on, later=33.0)
        await flush(on, later=44.0)
        assert written(on) == [1, 1, 1, 0]


async def test_nothing_is_forgotten_while_the_registry_is_away() -> None:
    async with stage() as on:
        await on.serve()
        on.registry.away = True
        await on.ask(get())
        await flush(on)
        await flush(on, later=100.0)
        assert on.proxy.tally.access_failures == 2
        on.registry.away = False
        await flush(on, later=200.0)
        assert len(written(on)) == 1


async def test_the_last_flush_loses_nothing_even_beside_a_failing_one() -> None:
    async with stage() as on:
        await on.serve()
        await on.ask(get())
        begun, fail = asyncio.Event(), asyncio.Event()
        record = on.registry.record_accesses

        async def hanging(accesses: object) -> None:
            begun.set()
            await fail.wait()
            on.registry.away = True
            try:
                await record(accesses)  # type: ignore[arg-type] # passed through
            finally:
                on.registry.away = False
                on.registry.record_accesses = record  # type: ignore[method-assign] # as it was

        on.registry.record_accesses = hanging  # type: ignore[method-assign] # fails late
        first = asyncio.create_task(flush(on))
        await begun.wait()
        last = asyncio.create_task(flush(on, everything=True))
        await asyncio.sleep(0)
        fail.set()
        await asyncio.gather(first, last)
        assert len(written(on)) == 1


async def test_a_use_just_after_a_write_is_in_the_last_flush() -> None:
    async with stage() as on:
        await on.serve()
        await on.ask(get())
        await flush(on)
        await on.ask(get())
        await flush(on, everything=True)
        assert len(written(on)) == 2


async def test_routed_and_removed_tenants_are_not_written() -> None:
    async with stage() as on:
        app = App()
        await on.serve(app)
        await on.ask(get())
        on.become("acme", None)
        await flush(on, everything=True)
        assert on.registry.accesses == []


async def test_what_is_in_flight_keeps_awake_a_tenant_that_is_removed_and_declared_again() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        await flush(on)
        record = on.records["acme"]
        on.become("acme", None)
        await flush(on)
        on.become("acme", record)
        assert len(written(on)) == 1
        await flush(on, everything=True)
        assert written(on) == [1, 1]
        asleep = replace(record.desired, state=Desired.PASSIVATED, cause=Cause.IDLE)
        on.change(desired=asleep)
        await until(lambda: len(on.registry.wakes) == 1)
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
        await until(lambda: on.proxy.fleet.entries["acme"].in_flight == 0)


async def test_a_tenant_declared_again_when_nothing_is_in_flight_any_more_begins_anew() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        record, before = on.records["acme"], on.proxy.fleet.entries["acme"]
        on.become("acme", None)
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
        on.become("acme", record)
        assert on.proxy.fleet.entries["acme"] is not before
        assert on.proxy.fleet.entries["acme"].in_flight == 0
