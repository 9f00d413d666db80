"""Faults and orders from outside, on etcd and Docker: nothing is lost, and whoever comes back catches up."""

import asyncio
import json
import time

import httpx
import pytest

from tests.e2e.system import System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.ports import accepts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def start(system: System) -> System:
    """Both programs, and what was declared."""
    system.serve()
    system.control()
    system.apply()
    return system


def container(docker: DockerEngine, name: str) -> tuple[str, int]:
    """The tenant's container and the process id of its present start (0: it does not run)."""
    found = docker.inspect(f"gogeta-{name}")
    return str(found["Id"]), int(found["State"]["Pid"])


def test_an_operator_wakes_puts_to_sleep_stops_starts_and_removes(docker_system: System, docker: DockerEngine) -> None:
    system = docker_system
    system.declare("acme", idle="10m")
    start(system)

    woken = system.cli("wake", "acme")
    assert woken.returncode == 0, woken.stderr
    assert docker.state("gogeta-acme") == "running"
    assert system.curl("acme.localhost").status == 200

    assert system.cli("sleep", "acme").returncode == 0
    assert docker.state("gogeta-acme") == "exited"
    assert system.tenant("acme")["state"] == "passivated"
    assert system.curl("acme.localhost").status == 200, "a request wakes what an operator put to sleep"
    assert docker.state("gogeta-acme") == "running"

    assert system.cli("stop", "acme").returncode == 0
    assert docker.state("gogeta-acme") == "exited"
    refused = system.curl("acme.localhost")
    assert refused.status == 503, "a request does not wake what an operator stopped"
    assert refused.json["code"] == "stopped"
    assert refused.headers["content-type"] == "application/problem+json"
    woken = system.cli("wake", "acme")
    assert woken.returncode == 5, "a wake does not either"
    assert "gogeta start acme" in woken.stderr
    assert docker.state("gogeta-acme") == "exited"

    assert system.cli("start", "acme").returncode == 0
    assert docker.state("gogeta-acme") == "running"
    assert "acme" in system.cli("tenants").stdout
    assert [tenant["state"] for tenant in json.loads(system.cli("tenants", "-o", "json").stdout)["tenants"]] == [
        "started"
    ]

    again = system.cli("apply", "-f", system.write_tenants())
    assert again.stdout.split() == ["unchanged", "acme"]
    mistyped = system.cli("wake", "amce")
    assert mistyped.returncode == 4
    assert "'acme'" in mistyped.stderr

    assert system.cli("rm", "acme", "--yes").returncode == 0
    gone = system.curl("acme.localhost")
    assert gone.status == 404
    deadline = time.monotonic() + 15
    while docker.containers():
        assert time.monotonic() < deadline, docker.containers()
        time.sleep(0.1)
    assert docker.networks() == []


def test_unknown_hosts_and_garbage_are_refused(docker_system: System) -> None:
    system = docker_system
    system.serve()
    unknown = system.curl("nobody.localhost")
    assert (unknown.status, unknown.json["code"]) == (404, "unknown-host")
    page = system.curl("nobody.localhost", "/", "--header", "Accept: text/html", "--header", "Sec-Fetch-Mode: navigate")
    assert page.status == 404
    assert page.headers["content-type"].startswith("text/html")

    async def garbage() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        writer.write(b"\x16\x03\x01 not http at all\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return answer

    assert asyncio.run(garbage()).startswith(b"HTTP/1.1 400 ")


def test_a_backend_killed_behind_our_back_is_started_again(docker_system: System, docker: DockerEngine) -> None:
    system = docker_system
    system.declare("acme", idle="10m")
    start(system)
    before = system.curl("acme.localhost")
    assert before.status == 200
    record = system.tenant("acme")
    identity, process = container(docker, "acme")

    docker.request("POST", f"/containers/{identity}/kill")
    answer = system.curl("acme.localhost")
    assert answer.status in (200, 502, 503), answer
    deadline = time.monotonic() + 20
    while answer.status != 200:
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)
        answer = system.curl("acme.localhost")
    assert answer.headers["x-instance"] != before.headers["x-instance"]
    assert container(docker, "acme")[1] not in (0, process)
    after = system.until("acme", "started")
    assert after["observed"]["since"] > record["observed"]["since"]


def test_sigterm_lets_what_is_in_flight_finish(docker_system: System) -> None:
    system = docker_system
    system.declare("acme", idle="10m")
    start(system)
    assert system.curl("acme.localhost").status == 200

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        writer.write(b"GET /slow?seconds=2 HTTP/1.1\r\nHost: acme.localhost\r\nConnection: close\r\n\r\n")
        begun = await reader.readuntil(b"begin ")
        system.gogeta.terminate()
        await asyncio.sleep(0.5)
        assert not accepts(system.port)
        rest = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return begun + rest

    answer = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"begin " in answer
    assert b"end" in answer.rpartition(b"begin ")[2]
    assert system.gogeta.wait() == 0
    system.passivator.terminate()
    assert system.passivator.wait() == 0
    assert system.docker is not None
    assert system.docker.state("gogeta-acme") == "running", "containers outlive the programs"


async def test_passivator_killed_in_a_start_finishes_it_after_its_restart(
    docker_system: System, docker: DockerEngine
) -> None:
    system = docker_system
    system.declare("acme", idle="10m", delay=3.0)
    start(system)
    asking = asyncio.create_task(asyncio.to_thread(system.curl, "acme.localhost"))
    deadline = time.monotonic() + 20
    while "gogeta-acme" not in docker.containers() or docker.state("gogeta-acme") != "running":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    system.passivator.kill()
    started_before = container(docker, "acme")
    assert not asking.done()

    system.control()
    answer = await asking
    assert answer.status == 200, answer
    assert container(docker, "acme") == started_before, "the start under way was finished, not begun anew"
    assert docker.containers() == ["gogeta-acme"]
    assert system.tenant("acme")["desired"]["wakes"] == 1


async def test_known_routes_are_served_while_etcd_is_away_and_all_catch_up_after(
    docker_system: System, docker: DockerEngine, etcd: EtcdServer
) -> None:
    system = docker_system
    system.declare("awake", idle="4s")
    system.declare("asleep", idle="10m", wake="{timeout: 40s}")
    start(system)
    first = system.curl("awake.localhost")
    assert first.status == 200

    etcd.kill()
    away_since = time.monotonic()
    # A wake cannot be written now: it waits for the registry.
    waking = asyncio.create_task(asyncio.to_thread(system.curl, "asleep.localhost", timeout=45))
    while time.monotonic() < away_since + 7:
        answer = await asyncio.to_thread(system.curl, "awake.localhost")
        assert (answer.status, answer.headers["x-instance"]) == (200, first.headers["x-instance"])
        await asyncio.sleep(0.5)
    assert docker.state("gogeta-awake") == "running", "nothing is stopped while the registry is away"
    health = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{system.admin}/readyz", trust_env=False)
    assert health.status_code == 200, "a proxy that serves stays in service"
    assert not waking.done()

    etcd.start()
    answer = await waking
    assert answer.status == 200, answer
    record = await asyncio.to_thread(system.until, "awake", "passivated", within=40)
    assert record["desired"]["cause"] == "idle"
    assert docker.state("gogeta-awake") == "exited"
