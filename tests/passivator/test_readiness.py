"""The readiness ladder against real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import Health, Runtime, Status
from passivator.readiness import NeverReady, NotYet, Outcome, Readiness, Ready
from tests.rig.ports import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def tenant(**ready: object) -> Tenant:
    return read_tenant(
        {"name": "acme", "hosts": ["*.acme.example", "acme.example"], "process": {"command": ["x"]}, "ready": ready},
        what="test",
    )


def running(*ports: int, health: Health = Health.NONE) -> Runtime:
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in ports)
    return Runtime(status=Status.RUNNING, instance="i1", endpoints=endpoints, health=health)


async def until_decided(readiness: Readiness, runtime: Runtime, changed: asyncio.Event | None = None) -> Outcome:
    while isinstance(outcome := await readiness.check(runtime, changed or asyncio.Event()), NotYet):
        pass
    return outcome


def check(tenant: Tenant) -> Readiness:
    return Readiness(tenant, "i1", asyncio.get_running_loop().time())


@asynccontextmanager
async def answering(answer: bytes, port: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            seen.append(b"")
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def test_a_port_that_accepts_is_ready() -> None:
    async with answering(b"") as (port, _):
        assert await check(tenant()).check(running(port), asyncio.Event()) == Ready((Endpoint("127.0.0.1", port),))


async def test_a_port_that_opens_later_is_found_within_a_moment() -> None:
    port = free_port()
    loop = asyncio.get_running_loop()
    deciding = loop.create_task(until_decided(check(tenant()), running(port)))
    await asyncio.sleep(0.3)
    async with answering(b"", port):
        opened = loop.time()
        assert isinstance(await deciding, Ready)
        assert loop.time() - opened < 0.4


async def test_a_port_that_never_opens_is_named_when_the_time_is_over() -> None:
    port = free_port()
    outcome = await until_decided(check(tenant(timeout="300ms")), running(port))
    assert isinstance(outcome, NeverReady)
    assert outcome.reason.code is ReasonCode.NOT_READY
    assert f"127.0.0.1:{port}" in outcome.reason.message
    assert "0.3 s" in outcome.reason.message


@pytest.mark.parametrize("status", [200, 204, 302, 404, 503])
async def test_a_path_has_to_answer_well(status: int) -> None:
    async with answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status) as (port, seen):
        # One that is well is so at its first answer; the others get time for one, also on a busy machine.
        timeout = "20s" if status < 400 else "1500ms"
        outcome = await until_decided(check(tenant(path="/healthz?a=b", timeout=timeout)), running(port))
        assert isinstance(outcome, Ready) == (status < 400)
        assert seen[0].startswith(b"GET /healthz?a=b HTTP/1.1\r\nHost: acme.example\r\n"), "its public name"
        if isinstance(outcome, NeverReady):
            assert f"answers {status}" in outcome.reason.message


@pytest.mark.parametrize("answer", [b"", b"\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n", b"x" * 10_000])
async def test_garbage_is_not_ready(answer: bytes) -> None:
    async with answering(answer) as (port, _):
        outcome = await until_decided(check(tenant(path="/", timeout="200ms")), running(port))
        assert isinstance(outcome, NeverReady)


async def test_the_runtimes_health_check_counts_where_there_is_one_and_no_path() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (port, _):
        readiness = check(tenant())
        assert await readiness.check(running(port, health=Health.STARTING), asyncio.Event()) == NotYet()
        assert isinstance(await readiness.check(running(port, health=Health.HEALTHY), asyncio.Event()), Ready)
        by_path = check(tenant(path="/"))
        assert isinstance(await by_path.check(running(port, health=Health.STARTING), asyncio.Event()), Ready)


async def test_an_unhealthy_one_ends_at_once() -> None:
    outcome = await check(tenant()).check(running(1, health=Health.UNHEALTHY), asyncio.Event())
    assert isinstance(outcome, NeverReady)
    assert outcome.reason.code is ReasonCode.UNHEALTHY


async def test_something_that_changes_interrupts_the_wait() -> None:
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, changed.set)
    began = loop.time()
    assert await check(tenant()).check(running(free_port()), changed) == NotYet()
    assert loop.time() - began < 0.5


async def test_only_the_endpoints_that_answer_are_told() -> None:
    async with answering(b"") as (port, _):
        assert await check(tenant()).check(running(free_port(), port), asyncio.Event()) == Ready(
            (Endpoint("127.0.0.1", port),)
        )


async def test_an_instance_without_an_address_is_waited_for() -> None:
    outcome = await until_decided(check(tenant(timeout="100ms")), running())
    assert isinstance(outcome, NeverReady)
    assert "no address" in outcome.reason.message
