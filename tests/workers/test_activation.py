"""Socket activation: sockets that a service manager holds, and two starts that share them."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.programs import ProcessRack, Program
from tests.workers.load import Load
from tests.workers.served import Served, status, until, visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

both = pytest.mark.parametrize("workers", [1, 2])

# What a service manager does between fork and exec: descriptors from 3 on, and the variables that tell of them.
_BETWEEN = """
import os, sys
names, one, two, *command = sys.argv[1:]
count = len(names.split(":"))
for number in range(count):
    os.dup2(int(two if number else one), 100 + number)
for number in range(count):
    os.dup2(100 + number, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""


class Manager:
    """Holds two listening sockets, and starts `gogeta serve` on them."""

    def __init__(self, served: Served, processes: ProcessRack) -> None:
        self.served = served
        self._processes = processes
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=1000) for _ in range(2)]
        served.port, served.admin_port = (each.getsockname()[1] for each in self.sockets)
        served.admin = f"http://127.0.0.1:{served.admin_port}"

    def start(self, names: str = "http:admin", **settings: object) -> Program:
        """One more start; the addresses in its settings are others, and do not count."""
        self.served.configure(**settings)
        numbers = [each.fileno() for each in self.sockets]
        gogeta = Path(sys.executable).with_name("gogeta")
        return self._processes.start(
            sys.executable,
            *("-c", _BETWEEN, names, *(str(number) for number in numbers), str(gogeta)),
            *("serve", "--config", str(self.served.config)),
            pass_fds=numbers,
        )


@pytest.fixture
def manager(served: Served, processes: ProcessRack) -> Iterator[Manager]:
    """A service manager."""
    made = Manager(served, processes)
    yield made
    for each in made.sockets:
        each.close()


@both
@pytest.mark.parametrize("names", ["http:admin", "admin:http", "gogeta.socket:gogeta.socket"])
async def test_each_socket_has_its_listener(manager: Manager, workers: int, names: str) -> None:
    if names.startswith("admin"):
        manager.sockets.reverse()
    manager.start(names, workers=workers)
    await manager.served.becomes_ready()
    async with visitor(manager.served.port) as one:
        one.send()
        assert (await one.answer())[0] == 200


@both
async def test_a_second_start_takes_over_while_the_first_drains(manager: Manager, workers: int) -> None:
    served = manager.served
    first = manager.start(workers=workers)
    await served.becomes_ready()
    load = Load(served.port, pause=0.01)
    async with load.running():
        await load.more(200)
        second = manager.start(workers=workers)
        await asyncio.to_thread(second.wait_for_line, "(routes|workers): well", timeout=30)
        await load.more(100)
        first.terminate()
        assert await status(first) == 0
        await served.becomes_ready()
        await load.more(200)
    assert load.failures == {}
    second.terminate()
    assert await status(second) == 0


@both
async def test_who_comes_between_two_starts_waits(manager: Manager, workers: int) -> None:
    first = manager.start(workers=workers)
    await manager.served.becomes_ready()
    first.terminate()
    assert await status(first) == 0
    async with visitor(manager.served.port) as waiting:
        waiting.send()
        manager.start(workers=workers)
        assert (await waiting.answer())[0] == 200


@both
async def test_a_handover_keeps_the_sockets(manager: Manager, workers: int) -> None:
    served = manager.served
    served.process = manager.start(workers=workers)
    await served.becomes_ready()
    load = Load(served.port)
    async with load.running():
        await served.reloaded()
        await load.more(200)
        await until("old ones gone", lambda: len(served.workers()) == workers)
    assert load.failures == {}


def test_a_socket_too_many_is_refused(manager: Manager) -> None:
    program = manager.start("http:other:third")
    assert program.wait() == 1
    assert "'third' is none of: http, https, admin" in program.stderr()
    assert "FileDescriptorName=" in program.stderr()


def test_a_socket_for_a_listener_that_is_not_there_is_refused(manager: Manager) -> None:
    program = manager.start("http:https:admin")
    assert program.wait() != 0
    assert "a socket named 'https'" in program.stderr()
    assert "--tls-listen" in program.stderr()
