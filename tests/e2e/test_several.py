"""Several passivators as real processes: killed, frozen and ended while they start and stop. What runs counts."""

import json
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from gogeta.registry import keys
from tests.e2e.system import System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.ports import free_port
from tests.rig.programs import Program

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
TTL = 3.0


class Pair:
    """Two passivators of one group, and who leads."""

    def __init__(self, system: System, etcd: EtcdServer) -> None:
        self.system, self.etcd = system, etcd
        self.programs: dict[str, Program] = {}
        """By their names in the registry."""
        self.admins: dict[str, int] = {}
        for _ in range(2):
            self.join()

    def join(self) -> Program:
        """Start another one."""
        admin = free_port()
        program = self.system.control("--lead-ttl", f"{TTL}s", "--admin", f"127.0.0.1:{admin}", wait=False)
        program.wait_for_port(admin)
        name = f"passivator/{socket.gethostname()}-{program.pid}"
        self.programs[name], self.admins[name] = program, admin
        until(lambda: self.leader() != "", "somebody leads")
        return program

    def leader(self) -> str:
        """Who leads now; nobody: empty."""
        values = self.etcd.items(keys.LEADERS).values()
        assert len(values) <= 1
        return next((json.loads(value)["by"] for value in values), "")

    def other(self, name: str) -> str:
        """The one that is not this one."""
        return next(one for one in self.programs if one != name)

    def until_led_by(self, name: str, within: float) -> float:
        """Wait until this one leads; the seconds it took."""
        began = time.monotonic()
        until(lambda: self.leader() == name, f"{name} leads", within=within)
        return time.monotonic() - began

    def metric(self, name: str, metric: str) -> float:
        """One number of one of them."""
        text = httpx.get(f"http://127.0.0.1:{self.admins[name]}/metrics", timeout=10).text
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{metric} "))


def until(true: Callable[[], object], what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def pair(docker_system: System, etcd: EtcdServer) -> Pair:
    """Two passivators on one engine and one etcd, and a proxy."""
    docker_system.declare("acme", idle="10m", delay=1.0)
    pair = Pair(docker_system, etcd)
    docker_system.serve()
    docker_system.apply()
    return pair


def events(docker: DockerEngine, kind: str, since: float) -> int:
    """How often the tenant's container went through something, by the engine's own word."""
    filters = json.dumps({"type": ["container"], "event": [kind], "container": ["gogeta-acme"]})
    with httpx.Client(transport=httpx.HTTPTransport(uds=docker.url.removeprefix("unix://"))) as client:
        told = client.get("http://docker/events", params={"since": since, "until": time.time(), "filters": filters})
    return len(told.text.splitlines())


@pytest.mark.parametrize("how", ["killed", "ended", "frozen"])
@pytest.mark.parametrize("while_it", ["starts", "stops"])
def test_another_one_finishes_what_the_leader_had_begun(
    pair: Pair, docker: DockerEngine, how: str, while_it: str
) -> None:
    system, leader = pair.system, pair.leader()
    other, program = pair.other(leader), pair.programs[leader]
    began = time.time()
    if while_it == "stops":
        assert system.curl("acme.localhost").status == 200
        assert system.cli("sleep", "acme", "--no-wait").returncode == 0
        until(lambda: system.tenant("acme")["observed"]["state"] in ("stopping", "stopped"), "it stops")
    else:
        assert system.cli("wake", "acme", "--no-wait").returncode == 0
        until(lambda: system.runs("acme"), "it starts")
    if how == "killed":
        program.kill()
        took = pair.until_led_by(other, TTL + 10)
    elif how == "ended":
        program.terminate()
        took = pair.until_led_by(other, TTL + 10)
    else:
        program.pause()
        took = pair.until_led_by(other, TTL + 10)
        time.sleep(2 * TTL)
    assert took < TTL + 8, "a busy machine is given some time"
    goal = "started" if while_it == "starts" else "stopped"
    until(lambda: system.tenant("acme")["observed"]["state"] == goal, f"it is {goal}")
    if while_it == "stops":
        assert not system.runs("acme")
        assert system.curl("acme.localhost").status == 200, "and it can be woken again"
    if how == "frozen":
        program.resume()
        until(lambda: pair.metric(leader, "passivator_leader") == 0, "the stale one follows")
    time.sleep(TTL)
    assert system.runs("acme")
    assert system.curl("acme.localhost").status == 200
    starts = 1 if while_it == "starts" else 2
    assert events(docker, "start", began) == starts
    assert events(docker, "die", began) == starts - 1
    assert pair.leader() == other
    assert pair.metric(other, "passivator_leader") == 1


def test_a_stale_leader_stops_nothing_that_was_woken_meanwhile(pair: Pair, docker: DockerEngine) -> None:
    system, leader = pair.system, pair.leader()
    other = pair.other(leader)
    assert system.curl("acme.localhost").status == 200
    began = time.time()
    pair.programs[leader].pause()
    # Decided while the leader is frozen: it will see both when it goes on, in this order.
    assert system.cli("sleep", "acme", "--no-wait").returncode == 0
    pair.until_led_by(other, TTL + 10)
    until(lambda: not system.runs("acme"), "the other one stops it")
    assert system.curl("acme.localhost").status == 200
    time.sleep(TTL)
    pair.programs[leader].resume()
    time.sleep(2 * TTL)
    assert system.runs("acme")
    assert events(docker, "die", began) == 1
    assert pair.leader() == other
    roles = {
        f"passivator/{member['id']}": member["role"]
        for member in map(json.loads, pair.etcd.items(keys.MEMBERS).values())
        if member["kind"] == "passivator"
    }
    assert roles == {leader: "follower", other: "leader"}


def test_two_on_one_file_compete_as_well(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="10m")
    system.serve()
    first = system.control("--lead-ttl", "3s")
    system.apply()
    assert system.curl("acme.localhost").status == 200
    second = system.control("--lead-ttl", "3s")
    second.wait_for_line("following")
    until(lambda: len(system.pids("acme")) == 1, "there is one of it")
    # Local processes end with their passivator: whoever takes over starts them anew, and at once on the same machine.
    first.kill()
    second.wait_for_line("leading process-")
    until(lambda: system.curl("acme.localhost").status == 200, "it answers again")
    until(lambda: len(system.pids("acme")) == 1, "there is one of it")
    # Frozen, it is succeeded; its processes run until it goes on and finds out.
    third = system.control("--lead-ttl", "3s")
    third.wait_for_line("following")
    second.pause()
    third.wait_for_line("leading process-", timeout=20)
    until(lambda: system.curl("acme.localhost").status == 200, "it answers again")
    second.resume()
    second.wait_for_line("following", timeout=20)
    until(lambda: len(system.pids("acme")) == 1, "there is one of it")
    assert system.curl("acme.localhost").status == 200
    third.terminate()
    assert third.wait(timeout=20) == 0
    second.wait_for_line("leading process-.*(?s:.*)leading process-", timeout=20)
    until(lambda: system.curl("acme.localhost").status == 200, "it answers again")
