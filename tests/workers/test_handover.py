"""SIGHUP: the version that is installed now takes over, and no visitor notices."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.rig.ports import accepts, free_port
from tests.rig.programs import ProcessRack
from tests.workers.load import Load
from tests.workers.served import Backend, Served, alive, status, until, visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

both = pytest.mark.parametrize("workers", [1, 2])


@both
async def test_no_connection_is_refused_and_no_exchange_is_broken(served: Served, workers: int) -> None:
    await served.start(workers=workers)
    load = Load(served.port)
    async with load.running():
        await load.more(200)
        for times in (1, 2):
            before = served.workers()
            await served.reloaded(times)
            await load.more(300)
            await until("the old ones gone", partial(served.none_of, before))
            assert len(served.workers()) == workers
        await load.more(200)
    assert load.failures == {}
    assert load.closes > 0, "kept connections moved to the new version"
    answered = 'gogeta_requests_total{code="2xx"}'
    await until("all counted, over all generations", lambda: served.metric(answered) == load.done)
    assert served.process.running, "the process is the same to whoever started it"
    served.process.terminate()
    assert await status(served.process) == 0


@both
async def test_what_is_in_flight_finishes_with_the_old_version(backend: tuple[Served, Backend], workers: int) -> None:
    served, application = backend
    await served.start(workers=workers)
    async with visitor(served.port) as slow, visitor(served.port) as begun, visitor(served.port) as idle:
        idle.send()
        assert "connection: close" not in (await idle.answer())[1]
        slow.send("/slow")
        begun.send("/slow-body")
        assert await begun.reader.readuntil(b"slow") != b""
        await served.reloaded()
        assert served.ready(), "a handover is no reason to send visitors elsewhere"
        await until("in flight counted", lambda: served.metric("gogeta_in_flight") == 2)
        application.go.set()
        code, head, _ = await slow.answer()
        assert (code, "connection: close" in head) == (200, True)
        assert await begun.ended() == b"done", "its head was sent before, so it says nothing of the end"
        idle.send()
        code, head, _ = await idle.answer()
        assert (code, "connection: close" in head) == (200, True), "an idle connection has one more request"
        assert await idle.ended() == b""


@both
async def test_settings_are_read_anew(served: Served, workers: int) -> None:
    await served.start(workers=workers)
    served.configure(workers=3, max_header_bytes=1024)
    await served.reloaded()
    await until("three workers", lambda: served.metric("gogeta_workers") == 3)
    for _ in range(6):
        async with visitor(served.port) as one:
            one.send("/", f"X-Long: {'x' * 2000}")
            assert (await one.answer())[0] == 431
    served.configure(workers=1)
    await served.reloaded(2)
    load = Load(served.port)
    async with load.running():
        await load.more(300)
    assert load.failures == {}, "one worker accepts from all three sockets"


@both
async def test_new_addresses_are_taken_and_old_ones_given_up(served: Served, workers: int) -> None:
    await served.start(workers=workers)
    old_port, old_admin = served.port, served.admin_port
    served.port, served.admin_port = free_port(), free_port()
    served.admin = f"http://127.0.0.1:{served.admin_port}"
    served.configure(listen=f"127.0.0.1:{served.port}", admin=f"127.0.0.1:{served.admin_port}")
    await served.reloaded()
    await served.becomes_ready()
    async with visitor(served.port) as one:
        one.send()
        assert (await one.answer())[0] == 200
    await until("old addresses free", lambda: not accepts(old_port) and not accepts(old_admin))


@pytest.mark.parametrize(
    ("workers", "result", "broken"),
    [
        (1, "refused", {"drain_timeout": "soon"}),
        (2, "refused", {"listen": "192.0.2.1:80"}),
        (2, "failed", {"registry": "embedded:/nowhere/at/all/gogeta.db"}),
        (1, "late", {"registry": "etcd://127.0.0.1:1"}),
    ],
    ids=["bad setting", "bad address", "cannot start", "never ready"],
)
async def test_the_old_version_stays_where_the_new_one_cannot_serve(
    served: Served, workers: int, result: str, broken: dict[str, object]
) -> None:
    await served.start(workers=workers, handover_timeout="10s")
    good = dict(served.settings)
    before = served.workers()
    load = Load(served.port)
    async with load.running():
        await load.more(100)
        served.configure(**broken)
        served.reload()
        await until("told", lambda: served.handovers(result) == 1)
        await load.more(100)
        assert "the new version does not take over" in served.process.stderr()
        assert served.workers() == before
        assert served.ready()
        served.settings = good
        served.configure()
        await served.reloaded()
        await load.more(100)
    assert load.failures == {}


@both
async def test_a_second_sighup_while_one_is_under_way_is_another_one_after_it(served: Served, workers: int) -> None:
    await served.start(workers=workers)
    served.reload()
    served.process.wait_for_line("SIGHUP: starting the version")
    served.reload()
    await until("both done", lambda: served.handovers() == 2)
    await until("old ones gone", lambda: len(served.workers()) == workers)
    assert served.ready()


@both
@pytest.mark.parametrize("moment", ["SIGHUP: starting the version", "version .* serves with"])
async def test_sigterm_during_a_handover_ends_both_versions(served: Served, workers: int, moment: str) -> None:
    await served.start(workers=workers)
    async with visitor(served.port) as idle:
        idle.send()
        assert (await idle.answer())[0] == 200
        served.reload()
        served.process.wait_for_line(moment)
        every = {served.process.pid} | served.workers()
        served.process.terminate()
        assert await status(served.process) == 0
        assert not any(alive(pid) for pid in every)
        assert await idle.ended() == b""


@both
async def test_a_successor_that_dies_is_replaced(served: Served, workers: int) -> None:
    await served.start(workers=workers)
    before = served.workers()
    await served.reloaded()
    await until("old ones gone", lambda: not before & served.workers())
    for pid in served.workers():
        os.kill(pid, signal.SIGKILL)
    await until("replaced", lambda: served.metric("gogeta_worker_restarts_total") == workers)
    await served.becomes_ready()
    async with visitor(served.port) as one:
        one.send()
        assert (await one.answer())[0] == 200


async def test_the_old_worker_alone_looks_after_its_successor_while_it_drains(backend: tuple[Served, Backend]) -> None:
    served, application = backend
    await served.start(workers=1)
    async with visitor(served.port) as slow:
        slow.send("/slow")
        await application.asked.wait()
        await served.reloaded()
        (successor,) = served.workers()
        os.kill(successor, signal.SIGKILL)
        await until("replaced", lambda: served.metric("gogeta_worker_restarts_total") == 1 and served.ready())
        served.reload()
        async with visitor(served.port) as other:
            other.send()
            assert (await other.answer())[0] == 200
        application.go.set()
        assert (await slow.answer())[0] == 200
    await until("the second handover", lambda: served.handovers() == 2)
    # For a moment nobody answers: the supervisor becomes the new version.
    await until("counted on by the supervisor that it became", partial(served.has_restarted, 1))


async def test_no_process_can_be_started(served: Served, tmp_path: Path, processes: ProcessRack) -> None:
    """The interpreter is away, as in the middle of an upgrade gone wrong."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    served.configure(workers=1)
    served.process = processes.start(
        python,
        *("-m", "gogeta", "serve", "--config", served.config),
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    await served.becomes_ready()
    python.unlink()
    served.reload()
    await until("told", lambda: served.handovers("failed") == 1)
    assert served.ready()
    python.symlink_to(sys.executable)
    await served.reloaded()


@both
async def test_the_service_manager_is_told(served: Served, workers: int) -> None:
    address = f"\0gogeta-test-{os.getpid()}-{workers}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)

        async def told() -> list[str]:
            return (await asyncio.to_thread(manager.recv, 4096)).decode().splitlines()

        served.launch(workers=workers, env={"NOTIFY_SOCKET": f"@{address[1:]}"})
        assert (await told())[0] == "READY=1"
        served.reload()
        reloading = await told()
        assert reloading[0] == "RELOADING=1"
        assert reloading[1].startswith("MONOTONIC_USEC=")
        assert (await told())[0] == "READY=1"
        await until("handed over", lambda: served.handovers() == 1)
        served.process.terminate()
        while (last := await told())[0] == "READY=1":
            continue
        assert last[0] == "STOPPING=1"
        assert await status(served.process) == 0


async def test_a_terminal_that_is_closed_ends_it(served: Served) -> None:
    """That is SIGHUP, too; nobody wants a program that goes on without its terminal."""
    served.configure(workers=2)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "gogeta", "serve", "--config", str(served.config)])  # noqa: S606 - the child
    try:
        loop = asyncio.get_running_loop()
        loop.add_reader(terminal, os.read, terminal, 65536)
        await served.becomes_ready()
        os.kill(pid, signal.SIGHUP)
        await until("a handover: the terminal is still there", lambda: served.handovers() == 1)
        loop.remove_reader(terminal)
        os.close(terminal)
        await until("ended", lambda: os.waitpid(pid, os.WNOHANG) != (0, 0))
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
