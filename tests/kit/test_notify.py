"""Both programs tell a service manager how they are: a real socket of a manager, and what arrives on it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogeta.kit.notify import watchdog_seconds
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, Program

# What a service manager does between fork and exec.
_BETWEEN = """
import os, sys
os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""
WATCHDOG = 400_000


class Manager:
    """Listens where ``NOTIFY_SOCKET`` points; a name that begins with @ is in the kernel's abstract namespace."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(1.0)

    def hear(self, word: str, *, within: float = 30.0) -> dict[str, str]:
        """The next message with this assignment in it; those before it are passed over."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                told = self._socket.recv(4096).decode()
            except TimeoutError:
                continue
            if word in told.split("\n"):
                return dict(line.split("=", 1) for line in told.split("\n"))
        raise AssertionError(f"{word} was not told within {within:g} s")

    def silent(self, word: str, seconds: float) -> bool:
        """Whether nothing with this assignment arrives for so long, after what is there already."""
        self._socket.setblocking(False)  # noqa: FBT003 - socket's signature
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            pass
        self._socket.settimeout(1.0)
        try:
            self.hear(word, within=seconds)
        except AssertionError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A service manager's ear."""
    kind = request.param
    made = Manager(str(tmp_path / "notify") if kind == "path" else f"@gogeta-test-{os.getpid()}-{free_port()}")
    yield made
    made.close()


def start(processes: ProcessRack, manager: Manager, *command: str | int | Path) -> Program:
    """As a service of that manager, with a watchdog."""
    program = Path(sys.executable).with_name(str(command[0]))
    return processes.python(
        *("-c", _BETWEEN, program, *command[1:]),
        env={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(WATCHDOG)},
    )


def serving(tmp_path: Path, *more: str | int) -> list[str | int | Path]:
    return [
        *("gogeta", "serve", "--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}"),
        *("--registry", f"embedded:{tmp_path}/gogeta.db", *more),
    ]


@pytest.mark.parametrize(("manager", "workers"), [("path", 1), ("abstract", 2)], indirect=["manager"])
def test_gogeta_tells_its_start_reload_and_end_and_lives_meanwhile(
    processes: ProcessRack, manager: Manager, tmp_path: Path, workers: int
) -> None:
    program = start(processes, manager, *serving(tmp_path, "--workers", workers))
    assert "STATUS" in manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    program.signal(signal.SIGHUP)
    told = manager.hear("RELOADING=1")
    assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.hear("READY=1")
    # The new version gives them, too, from the same process.
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    program.terminate()
    manager.hear("STOPPING=1")
    assert program.wait(timeout=30) == 0


def test_passivator_tells_its_start_and_end_and_lives_meanwhile(
    processes: ProcessRack, manager: Manager, tmp_path: Path
) -> None:
    program = start(
        processes,
        manager,
        *("passivator", "--admin", f"127.0.0.1:{free_port()}", "--registry", f"embedded:{tmp_path}/gogeta.db"),
        *("--driver", "process", "--state-dir", tmp_path / "state"),
    )
    assert "STATUS" in manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    program.pause()
    assert manager.silent("WATCHDOG=1", 3 * WATCHDOG / 1e6), "a process that stands still gives no sign of life"
    program.resume()
    manager.hear("WATCHDOG=1")
    program.terminate()
    manager.hear("STOPPING=1")
    assert program.wait(timeout=30) == 0


def test_passivator_takes_the_admin_listener_that_is_passed(processes: ProcessRack, tmp_path: Path) -> None:
    between = """
import os, sys
os.dup2(int(sys.argv[1]), 100); os.dup2(100, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="admin")
os.execv(sys.argv[2], sys.argv[2:])
"""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as held:
        port = held.getsockname()[1]
        command: list[str | Path | int] = [
            *(Path(sys.executable).with_name("passivator"), "--admin", f"127.0.0.1:{free_port()}"),
            *("--registry", f"embedded:{tmp_path}/gogeta.db", "--driver", "process", "--state-dir", tmp_path / "state"),
        ]

        def begin() -> Program:
            return processes.start(sys.executable, "-c", between, held.fileno(), *command, pass_fds=[held.fileno()])

        def health(asking: socket.socket) -> bytes:
            asking.settimeout(30)
            asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return asking.recv(4096)

        first = begin()
        with socket.create_connection(("127.0.0.1", port)) as asking:
            assert b" 200 " in health(asking)
        first.terminate()
        assert first.wait(timeout=30) == 0
        # Who comes between two starts waits, and is answered by the next one.
        with socket.create_connection(("127.0.0.1", port)) as asking:
            second = begin()
            assert b" 200 " in health(asking)
        second.terminate()
        assert second.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2000000"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000"}, 1.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1"}, 0.05),
    ],
)
def test_whose_the_watchdog_is_and_how_often(variables: dict[str, str], expected: float | None) -> None:
    assert watchdog_seconds(variables) == expected
