"""SIGTERM: not ready at once, nobody new, what is under way finishes, what does not is cut."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.rig.ports import accepts
from tests.workers.load import Load
from tests.workers.served import Backend, Served, alive, status, until, visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

both = pytest.mark.parametrize("workers", [1, 2])


@both
async def test_what_is_in_flight_finishes(backend: tuple[Served, Backend], workers: int) -> None:
    served, application = backend
    await served.start(workers=workers)
    async with visitor(served.port) as slow, visitor(served.port) as idle, visitor(served.port) as tunnel:
        idle.send()
        await idle.answer()
        tunnel.send("/", "Connection: Upgrade", "Upgrade: echo")
        assert (await tunnel.answer())[0] == 101
        slow.send("/slow")
        await application.asked.wait()
        every = {served.process.pid} | served.workers()
        served.process.terminate()
        await until("nobody new", lambda: not accepts(served.port))
        code, text = await asyncio.to_thread(served.readiness)
        assert code == 503
        assert "shutting down" in text
        assert await idle.ended() == b"", "an idle connection is closed"
        tunnel.writer.write(b"still there?")
        assert await tunnel.reader.readexactly(12) == b"still there?"
        application.go.set()
        code, head, _ = await slow.answer()
        assert (code, "connection: close" in head) == (200, True)
        tunnel.writer.close()
    assert await status(served.process) == 0
    assert not any(alive(pid) for pid in every)


@both
async def test_what_does_not_finish_is_cut_at_the_deadline(backend: tuple[Served, Backend], workers: int) -> None:
    served, application = backend
    await served.start(workers=workers, drain_timeout="1s")
    async with visitor(served.port) as unanswered, visitor(served.port) as begun, visitor(served.port) as tunnel:
        tunnel.send("/", "Connection: Upgrade", "Upgrade: echo")
        await tunnel.answer()
        begun.send("/slow-body")
        await begun.reader.readuntil(b"slow")
        unanswered.send("/slow")
        await application.asked.wait()
        served.process.terminate()
        code, head, body = await unanswered.answer()
        assert (code, "connection: close" in head, b"draining" in body) == (503, True, True)
        for cut in (begun, tunnel):
            with pytest.raises(ConnectionResetError):
                await cut.ended()
    assert await status(served.process) == 1, "something was cut"


@both
async def test_under_load_nobody_is_broken_off(served: Served, workers: int) -> None:
    """Those who come later are refused; whoever was let in is answered."""
    await served.start(workers=workers)
    load = Load(served.port, pause=0.01)
    async with load.running(fresh=16, kept=16):
        await load.more(300)
        served.process.terminate()
        assert await status(served.process) == 0
    broken = {kind: count for kind, count in load.failures.items() if not kind.startswith("connect: ConnectionRefused")}
    assert broken == {}


@both
async def test_the_delay_lets_load_balancers_notice(served: Served, workers: int) -> None:
    await served.start(workers=workers, drain_delay="4s")
    async with visitor(served.port) as kept:
        kept.send()
        await kept.answer()
        served.process.terminate()
        await until("not ready", lambda: served.readiness()[0] == 503)
        async with visitor(served.port) as late:
            late.send()
            assert (await late.answer())[0] == 200
        kept.send()
        assert "connection: close" not in (await kept.answer())[1], "it serves as before"
        await until("nobody new", lambda: not accepts(served.port))
        assert await kept.ended() == b""
    assert await status(served.process) == 0


async def test_signals_to_all_processes_at_once_are_as_good_as_one(backend: tuple[Served, Backend]) -> None:
    """A service manager may signal every process of a service, and again; the supervisor asks its workers, too."""
    served, application = backend
    await served.start(workers=2)
    async with visitor(served.port) as slow:
        slow.send("/slow")
        await application.asked.wait()
        for pid in served.workers():
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGTERM)
        served.process.terminate()
        await until("nobody new", lambda: not accepts(served.port))
        application.go.set()
        assert (await slow.answer())[0] == 200
    assert await status(served.process) == 0


async def test_a_second_sigterm_ends_all_at_once(backend: tuple[Served, Backend]) -> None:
    served, application = backend
    await served.start(workers=2)
    async with visitor(served.port) as slow:
        slow.send("/slow")
        await application.asked.wait()
        every = served.workers()
        served.process.terminate()
        await until("nobody new", lambda: not accepts(served.port))
        served.process.terminate()
        assert await status(served.process) == -signal.SIGTERM
        await until("all gone", lambda: not any(alive(pid) for pid in every))
