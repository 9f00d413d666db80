"""Falling asleep with real programs: paused and awake again, never while in use, and what a stop waits for."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: acme.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HELLO = b"\x81\x85\x00\x00\x00\x00hello"


def start(system: System, *options: str) -> System:
    """Both programs, and what was declared."""
    system.serve()
    system.control(*options)
    system.apply()
    return system


def instance(system: System, name: str = "acme") -> str:
    """Which start of the tenant answers a request."""
    answer = system.curl(f"{name}.localhost")
    assert answer.status == 200, answer
    return answer.headers["x-instance"]


def until(reached: Callable[[], object], what: str, within: float = 20.0) -> None:
    """Wait for something that has to become true."""
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline, f"not in {within:g} s: {what}"
        time.sleep(0.1)


def websocket(system: System) -> socket.socket:
    """An open WebSocket to the tenant."""
    opened = socket.create_connection(("127.0.0.1", system.port), timeout=20)
    opened.sendall(UPGRADE)
    head = b""
    while b"\r\n\r\n" not in head:
        head += opened.recv(1000)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return opened


def state_of(pid: int) -> str:
    """The kernel's letter for a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_local_tenant_is_paused_wakes_as_the_same_and_is_stopped_later(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="14s", more="sleep: {pause_after: 2s}")
    start(system)
    first = instance(system)
    system.until("acme", "paused", within=20)
    pids = system.pids("acme")
    until(lambda: pids and all(state_of(pid) == "T" for pid in pids), "all of it stands still")
    assert instance(system) == first
    assert system.pids("acme") == pids
    record = system.tenant("acme")
    assert [phase["name"] for phase in record["observed"]["phases"]] == ["resumed"]
    system.until("acme", "paused", within=20)
    # Nobody comes: some time later nothing runs any more.
    until(lambda: not system.runs("acme"), "it is stopped", within=40)
    assert instance(system) != first


def test_a_paused_local_tenant_does_not_outlive_its_passivator(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="10m", more="sleep: {pause_after: 2s}")
    start(system)
    instance(system)
    system.until("acme", "paused", within=20)
    assert system.runs("acme")
    system.passivator.kill()
    until(lambda: not system.runs("acme"), "it has ended with passivator")


def test_a_container_is_paused_wakes_as_the_same_and_is_stopped_by_an_operator(
    docker_system: System, docker: DockerEngine
) -> None:
    system = docker_system
    system.declare("acme", idle="10m", more="sleep: {pause_after: 3s}")
    start(system)
    first = instance(system)
    until(lambda: docker.state("gogeta-acme") == "paused", "the container is paused", within=30)
    system.until("acme", "paused")
    for _ in range(3):
        assert instance(system) == first
        until(lambda: docker.state("gogeta-acme") == "paused", "the container is paused again", within=30)
    # Somebody else's hands, both ways.
    docker.request("POST", "/containers/gogeta-acme/unpause")
    until(lambda: docker.state("gogeta-acme") == "paused", "what was continued by hand is paused again", within=40)
    assert instance(system) == first
    docker.request("POST", "/containers/gogeta-acme/pause")
    assert instance(system) == first
    until(lambda: docker.state("gogeta-acme") == "paused", "the container is paused", within=30)
    system.until("acme", "paused")
    assert system.cli("sleep", "acme").returncode == 0
    assert docker.state("gogeta-acme") == "exited"
    assert instance(system) != first


def test_a_websocket_without_a_byte_keeps_its_tenant_awake(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="2s")
    start(system)
    with websocket(system) as ws:
        time.sleep(8)
        assert system.tenant("acme")["state"] == "started"
        ws.sendall(HELLO)
        assert b"hello" in ws.recv(1000)
    system.until("acme", "passivated", "stopped", within=20)


def test_a_quiet_websocket_is_no_use_any_more_and_wakes_the_tenant_with_its_next_byte(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="10m", more="sleep: {pause_after: 2s, quiet_tunnel: 3s}")
    start(system)
    with websocket(system) as ws:
        system.until("acme", "paused", within=40)
        ws.sendall(HELLO)
        assert b"hello" in ws.recv(1000)
        assert system.tenant("acme")["state"] == "started"


@pytest.mark.parametrize("fate", ["frozen", "killed"])
def test_what_a_lost_proxy_had_in_flight_is_not_put_to_sleep_at_once(
    etcd: EtcdServer, processes: ProcessRack, tmp_path: Path, fate: str
) -> None:
    # Not in a file: a frozen process may hold its lock.
    system = System(processes, etcd.registry_url, tmp_path)
    system.declare("acme", idle="2s")
    start(system, "--lost-proxy-grace", "18s")
    with websocket(system) as ws:
        time.sleep(1)
        lost = time.monotonic()
        if fate == "frozen":
            system.gogeta.pause()
        else:
            system.gogeta.kill()
        # Its lease ends within some ten seconds, and the grace begins then.
        while time.monotonic() < lost + 20:
            assert system.tenant("acme")["state"] == "started"
            time.sleep(1)
        if fate == "frozen":
            system.gogeta.resume()
            ws.sendall(HELLO)
            assert b"hello" in ws.recv(1000)
            time.sleep(5)
            assert system.tenant("acme")["state"] == "started", "it is back, and it still has it in flight"
    system.until("acme", "passivated", "stopped", within=40)


def test_a_stop_waits_for_what_is_in_flight(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="10m")
    start(system)
    instance(system)
    for command in ("sleep", "stop"):
        assert system.cli("start", "acme").returncode == 0
        with socket.create_connection(("127.0.0.1", system.port), timeout=20) as visitor:
            visitor.sendall(b"GET /slow?seconds=4 HTTP/1.1\r\nHost: acme.localhost\r\nConnection: close\r\n\r\n")
            got = visitor.recv(1000)
            done = system.cli(command, "acme")
            assert done.returncode == 0, done.stderr
            while piece := visitor.recv(1000):
                got += piece
        assert b"end" in got, f"{command} cut it off: {got!r}"
        assert not system.runs("acme")


def test_at_the_limit_a_stop_cuts_and_a_sleep_is_taken_back(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="10m")
    start(system, "--drain-limit", "3s")
    instance(system)
    with websocket(system) as ws:
        done = system.cli("sleep", "acme")
        assert done.returncode == 5, done
        assert "in-use" in done.stderr
        ws.sendall(HELLO)
        assert b"hello" in ws.recv(1000)
        asked = time.monotonic()
        assert system.cli("stop", "acme").returncode == 0
        assert time.monotonic() - asked > 2.5
        while ws.recv(1000):
            pass


def test_a_busy_tenant_stays_awake_until_it_says_otherwise(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="2s", more="busy: {path: /busy}")
    start(system)
    assert system.curl("acme.localhost", "/busy?set=200").status == 200
    time.sleep(8)
    assert system.tenant("acme")["state"] == "started"
    assert system.curl("acme.localhost", "/busy?set=204").status == 200
    system.until("acme", "passivated", "stopped", within=20)


def test_a_working_tenant_stays_awake(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="3s", more="busy: {cpu: 4%}")
    start(system)
    instance(system)
    # On a machine with much else to do it gets little: far more than one that does nothing all the same.
    assert system.curl("acme.localhost", "/work?seconds=14").status == 200
    working = time.monotonic()
    while time.monotonic() < working + 11:
        assert system.tenant("acme")["state"] == "started"
        time.sleep(1)
    system.until("acme", "passivated", "stopped", within=40)


def test_a_container_that_works_stays_awake_until_it_has_done(docker_system: System) -> None:
    system = docker_system
    system.declare("acme", idle="2s", more="busy: {cpu: 4%}")
    start(system)
    instance(system)
    assert system.curl("acme.localhost", "/work?seconds=12").status == 200
    kept = 'passivator_kept_awake_total{reason="cpu"}'
    until(lambda: system.metric(kept, system.passivator_admin) >= 1, "it is kept awake for its work", within=60)
    system.until("acme", "passivated", "stopped", within=60)
