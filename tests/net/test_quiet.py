"""Tunnels in which nothing moves: in use for ever, unless the tenant says otherwise; and again with the next byte."""

from __future__ import annotations

import asyncio
from typing import Any

from gogeta.domain.lifecycle import Cause, Desired
from gogeta.domain.state import DesiredState
from gogeta.net.quiet import LOOK_EVERY
from tests.net.stage import Stage, Visitor, stage
from tests.net.talk import get, until
from tests.net.test_tunnels import ASKS, Socket

IDLE = DesiredState(state=Desired.PASSIVATED, cause=Cause.IDLE)


async def opened(on: Stage, visitor: Visitor, **declared: Any) -> None:  # noqa: ANN401 - parts of a declaration
    """A tunnel through which one message has gone either way."""
    await on.serve(Socket(), **declared)
    visitor.send(get("/", *ASKS))
    assert (await visitor.answer()).status == 101
    visitor.send(b"hello")
    assert await visitor.reader.readexactly(5) == b"hello"


def look(on: Stage) -> None:
    """What the sweep does every few seconds."""
    for _ in range(LOOK_EVERY):
        on.proxy.quiet.sweep()


async def test_an_open_tunnel_is_in_use_however_long_it_is_silent() -> None:
    async with stage() as on, on.visitor() as visitor:
        await opened(on, visitor)
        await asyncio.sleep(0.5)
        look(on)
        assert on.proxy.fleet.entries["acme"].in_use == 1
        assert len(on.proxy.quiet) == 0


async def test_a_quiet_tunnel_is_no_use_and_the_next_byte_is() -> None:
    async with stage() as on, on.visitor() as visitor:
        await opened(on, visitor, sleep={"quiet_tunnel": "400ms"})
        entry = on.proxy.fleet.entries["acme"]
        look(on)
        assert entry.in_use == 1
        await asyncio.sleep(0.5)
        look(on)
        assert (entry.in_flight, entry.in_use) == (1, 0)
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert on.registry.accesses[-1]["acme"].in_flight == 0
        on.change(desired=IDLE)
        assert on.registry.wakes == [], "it takes nothing back"
        visitor.send(b"again")
        # The application plays no part in it: it may be frozen.
        await until(lambda: on.registry.wakes)
        assert on.registry.wakes == [("acme", Cause.IN_USE)]
        assert entry.in_use == 1
    assert entry.quiet == 0


async def test_a_quiet_tunnel_that_ends_is_counted_out() -> None:
    async with stage() as on:
        async with on.visitor() as visitor:
            await opened(on, visitor, sleep={"quiet_tunnel": "200ms"})
            await asyncio.sleep(0.3)
            look(on)
            entry = on.proxy.fleet.entries["acme"]
            assert entry.in_use == 0
        await until(lambda: not entry.in_flight)
        assert (entry.quiet, entry.in_use, len(on.proxy.quiet)) == (0, 0, 0)


async def test_a_tenant_that_takes_its_word_back_is_believed() -> None:
    async with stage() as on, on.visitor() as visitor:
        await opened(on, visitor, sleep={"quiet_tunnel": "200ms"})
        await asyncio.sleep(0.3)
        look(on)
        assert on.proxy.fleet.entries["acme"].in_use == 0
        record = on.records["acme"]
        on.declare(endpoint=record.observed.endpoints[0])
        look(on)
        assert on.proxy.fleet.entries["acme"].in_use == 1
