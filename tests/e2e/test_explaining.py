"""`gogeta explain` and `passivator --dry-run` on real processes: what they say is what had happened."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import httpx
import pytest

from tests.e2e.system import System
from tests.rig.etcd import EtcdServer
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def system(etcd: EtcdServer, processes: ProcessRack, tmp_path: Any) -> System:  # noqa: ANN401 - pytest's
    """Tenants are local processes, the registry is etcd; no program of ours runs yet."""
    return System(processes, etcd.registry_url, tmp_path)


def explained(system: System, name: str) -> dict[str, Any]:
    """What `gogeta explain NAME -o json` says."""
    done = system.cli("explain", name, "-o", "json")
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def until(system: System, name: str, what: str, within: float = 40.0) -> dict[str, Any]:
    """The explanation as soon as this stands in it."""
    deadline = time.monotonic() + within
    while True:
        data = explained(system, name)
        if what in json.dumps(data):
            return data
        assert time.monotonic() < deadline, f"{what!r} is not in {json.dumps(data, indent=1)}"
        time.sleep(0.5)


def test_a_wake_by_a_request_is_explained_with_all_its_phases(system: System) -> None:
    system.declare("acme", idle="10m", delay=0.5)
    system.serve()
    system.control()
    system.apply()
    assert "nobody has asked for it since it was declared" in explained(system, "acme")["sentence"]
    answer = system.curl("acme.localhost", "/", "--header", "X-Request-Id: from-outside-1")
    assert answer.status == 200
    data = until(system, "acme", "first-byte")
    (wake,) = data["wakes"]
    assert (wake["wake"], wake["why"], wake["outcome"], wake["held"]) == (1, "request", "ready", 1)
    assert wake["by"].startswith("gogeta/")
    steps = {step["name"]: step["ms"] for step in wake["steps"]}
    seen = {step["name"]: step["ms"] for step in wake["seen_by_proxy"]}
    assert list(steps) == ["queued", "started", "ready"]
    assert list(seen) == ["asked", "known", "answered"]
    assert steps["started"] + steps["ready"] >= 500, "the application takes so long before it listens"
    # The proxy's steps are all of the visitor's time; passivator's lie within what the proxy waited for.
    assert sum(seen.values()) == pytest.approx(wake["first_byte_ms"], abs=0.01)
    assert wake["first_byte_ms"] <= answer.took * 1000 + 5
    assert wake["ready_ms"] <= wake["first_byte_ms"] + 50
    kinds = [event["kind"] for event in data["timeline"]["events"] if event["kind"] != "starting"]
    assert kinds == ["declared", "asked", "ready", "first-byte"]
    # The same from both admin listeners, and in words.
    for admin in (system.admin, system.passivator_admin):
        told = httpx.get(f"http://127.0.0.1:{admin}/api/v1/tenants/acme/explain", trust_env=False)
        assert told.status_code == 200
        assert told.json()["wakes"] == data["wakes"]
        events = httpx.get(f"http://127.0.0.1:{admin}/api/v1/tenants/acme/timeline", trust_env=False).json()["events"]
        assert events == data["timeline"]["events"]
        missing = httpx.get(f"http://127.0.0.1:{admin}/api/v1/tenants/acne/explain", trust_env=False)
        assert (missing.status_code, missing.json()["code"]) == (404, "no-such-tenant")
    assert "acme is awake because" in system.cli("explain", "acme").stdout


async def test_two_open_sockets_are_named_as_what_keeps_it_awake(system: System) -> None:
    system.declare("acme", idle="10s")
    await asyncio.to_thread(system.serve)
    await asyncio.to_thread(system.control)
    await asyncio.to_thread(system.apply)
    url = f"http://127.0.0.1:{system.port}/echo"
    async with (
        aiohttp.ClientSession(headers={"Host": "acme.localhost"}) as session,
        session.ws_connect(url) as one,
        session.ws_connect(url) as other,
    ):
        data = await asyncio.to_thread(until, system, "acme", "2 WebSockets at gogeta/")
        assert data["state"] == "awake"
        assert data["sentence"].startswith("awake because 2 WebSockets at gogeta/")
        assert "would sleep at " in data["sentence"]
        # The socket that woke it is in the story while it is open.
        assert (await asyncio.to_thread(until, system, "acme", "first-byte"))["wakes"][0]["outcome"] == "ready"
        for socket in (one, other):
            await socket.send_str("still here")
            assert (await socket.receive_str(timeout=10)).endswith("still here")
    data = await asyncio.to_thread(until, system, "acme", "because nobody used it for 10s", 60.0)
    assert data["state"] in ("asleep", "falling-asleep")


def test_it_works_while_everything_else_is_down(system: System) -> None:
    system.declare("acme", idle="10m")
    system.serve()
    system.control()
    system.apply()
    assert system.curl("acme.localhost").status == 200
    until(system, "acme", "first-byte")
    system.passivator.kill()
    system.gogeta.kill()
    # Each is missed when its own lease has ended.
    until(system, "acme", "no passivator for driver process is alive", 45.0)
    data = until(system, "acme", "no gogeta is alive: nobody passes its requests on", 45.0)
    assert data["wakes"][0]["outcome"] == "ready"
    # Who comes back goes on with the story; with several workers it is their supervisor that tells it.
    system.serve("--workers", "2")
    system.control()
    told = httpx.get(f"http://127.0.0.1:{system.admin}/api/v1/tenants/acme/explain", trust_env=False)
    assert told.json()["wakes"] == data["wakes"]
    assert system.cli("sleep", "acme").returncode == 0
    deadline = time.monotonic() + 40
    while (events := explained(system, "acme")["timeline"]["events"])[-1]["kind"] != "stopped":
        assert time.monotonic() < deadline, events
        time.sleep(0.5)
    assert [event["kind"] for event in events].count("first-byte") == 1


def test_a_dry_run_beside_a_live_passivator_stops_nothing_and_tells_of_a_wake(
    system: System, processes: ProcessRack
) -> None:
    system.declare("acme", idle="40s")
    system.serve()
    system.control()
    system.apply()
    assert system.curl("acme.localhost").status == 200
    instance = system.curl("acme.localhost").headers["x-instance"]
    dry = processes.start(
        "passivator", "--dry-run", "--idle-timeout", "4s", "-o", "json", "--registry", system.registry,
        cwd=system.folder,
    )  # fmt: skip
    dry.wait_for_line("would put it to sleep", timeout=30)
    assert system.runs("acme")
    again = system.curl("acme.localhost")
    assert (again.status, again.headers["x-instance"]) == (200, instance), "the same start of it answers"
    dry.wait_for_line("would have been woken again", timeout=30)
    dry.terminate()
    assert dry.wait() == 0
    report = json.loads(dry.stdout())
    assert report["would_have_slept"] >= 1
    assert report["would_have_been_woken_again"] >= 1
    assert [tenant["name"] for tenant in report["tenants"]] == ["acme"]
    assert system.tenant("acme")["desired"]["wakes"] == 1
    assert system.runs("acme")
    short = processes.run("passivator", "--dry-run", "--for", "500ms", "--registry", system.registry, cwd=system.folder)
    assert short.returncode == 0
    assert "nothing was stopped." in short.stdout
    assert "Tenants: 1. Would have been put to sleep: 0, 0 times in all." in short.stdout
    wrong = processes.run("passivator", "--for", "1s", cwd=system.folder)
    assert (wrong.returncode, "are for --dry-run" in wrong.stderr) == (2, True)


def test_a_dry_run_on_no_registry_makes_none(processes: ProcessRack, tmp_path: Any) -> None:  # noqa: ANN401 - pytest's
    ended = processes.run("passivator", "--dry-run", "--for", "1s", "--registry", "embedded:not-there.db", cwd=tmp_path)
    assert ended.returncode == 3
    assert "there is no registry file not-there.db" in ended.stderr
    assert list(tmp_path.iterdir()) == []
