"""The registry is away, slow, cut off from one side only, restarted, compacted, without a leader, or full."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.faults.conftest import curl, eventually_served, held, seen
from tests.registry.relay import Relay
from tests.rig.etcd import EtcdCluster, EtcdServer
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
async def relay(etcd: EtcdServer) -> AsyncIterator[Relay]:
    """A way to etcd that can be broken."""
    async with Relay(int(etcd.endpoint.rpartition(":")[2])) as running:
        yield running


def through(relay: Relay) -> str:
    """The registry by that way."""
    return f"etcd://127.0.0.1:{relay.port}"


async def test_a_proxy_cut_off_from_the_registry_serves_on_and_wakes_when_it_is_back(
    local: System, etcd: EtcdServer, relay: Relay
) -> None:
    local.declare("awake", idle="10m")
    local.declare("asleep", idle="10m", wake="{timeout: 60s}")
    local.declare("impatient", idle="10m", wake="{timeout: 2s}")
    local.apply()
    local.serve(registry=through(relay))
    local.control()
    first = await eventually_served(local, "awake")
    relay.black_hole()
    refused = await curl(local, "impatient")
    assert (refused.status, refused.json["code"]) == (503, "registry-unavailable"), refused
    assert int(refused.headers["retry-after"]) >= 1
    waiting = asyncio.create_task(curl(local, "asleep", timeout=70))
    for _ in range(8):
        answer = await curl(local, "awake")
        assert (answer.status, answer.headers["x-instance"]) == (200, first.headers["x-instance"])
        await asyncio.sleep(0.5)
    assert not waiting.done()
    relay.heal()
    assert (await waiting).status == 200
    assert not local.pids("impatient") or (await eventually_served(local, "impatient")).status == 200


async def test_a_passivator_cut_off_from_the_registry_stops_nothing_and_catches_up(
    local: System, etcd: EtcdServer, relay: Relay
) -> None:
    local.declare("idle", idle="3s")
    local.declare("asleep", idle="10m", wake="{timeout: 60s}")
    local.apply()
    local.serve()
    local.control(registry=through(relay))
    assert (await eventually_served(local, "idle")).status == 200
    relay.black_hole()
    waiting = asyncio.create_task(curl(local, "asleep", timeout=70))
    await asyncio.sleep(8)
    assert local.pids("idle"), "it sees no accesses, so it knows of no silence"
    assert not waiting.done(), "asked for, and nobody hears it"
    relay.heal()
    assert (await waiting).status == 200
    await seen(etcd, "idle", "stopped", within=60)


async def test_wakes_and_sleeps_go_on_through_a_slow_registry(local: System, etcd: EtcdServer, relay: Relay) -> None:
    local.declare("acme", idle="6s")
    local.apply()
    relay.delay = 0.3
    local.serve(registry=through(relay))
    local.control(registry=through(relay))
    first = await eventually_served(local, "acme")
    await seen(etcd, "acme", "stopped", within=60)
    assert (await eventually_served(local, "acme")).headers["x-instance"] != first.headers["x-instance"]


async def test_requests_held_over_a_restart_of_etcd_are_answered(
    local: System, etcd: EtcdServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    local.declare("acme", idle="10m", after=gate)
    local.serve()
    local.control()
    local.apply()
    waiting = [asyncio.create_task(curl(local, "acme")) for _ in range(5)]
    await seen(etcd, "acme", "starting")
    await held(local, 5)
    etcd.kill()
    gate.touch()
    await asyncio.sleep(2)
    etcd.start()
    answers = await asyncio.gather(*waiting)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-instance"] for answer in answers}) == 1


async def test_a_wake_after_a_compaction_that_both_slept_through(local: System, etcd: EtcdServer, relay: Relay) -> None:
    local.declare("acme", idle="10m")
    local.apply()
    local.serve(registry=through(relay))
    local.control(registry=through(relay))
    assert (await eventually_served(local, "acme")).status == 200
    relay.black_hole()
    relay.cut()
    for number in range(50):
        etcd.put("/gogeta/v1/elsewhere", str(number))
    local.declare("late", idle="10m")
    local.apply()
    etcd.compact()
    relay.heal()
    give_up = asyncio.get_running_loop().time() + 40
    while (answer := await curl(local, "late")).status == 404:
        assert asyncio.get_running_loop().time() < give_up, answer
        await asyncio.sleep(0.2)
    assert answer.status == 200
    assert (await curl(local, "acme")).status == 200


async def test_a_wake_while_etcd_loses_its_leader(
    etcd_cluster: EtcdCluster, processes: ProcessRack, tmp_path: Path
) -> None:
    system = System(processes, etcd_cluster.registry_url, tmp_path)
    system.declare("acme", idle="10m", delay=1.0)
    system.declare("other", idle="10m")
    system.apply()
    system.serve()
    system.control()
    waiting = asyncio.create_task(curl(system, "acme"))
    await asyncio.sleep(0.5)
    lost = await asyncio.to_thread(etcd_cluster.leader)
    lost.kill()
    try:
        assert (await waiting).status == 200
        assert (await curl(system, "other")).status == 200
    finally:
        lost.start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_full_disk_stops_no_tenant_and_is_said(
    processes: ProcessRack, tmp_path: Path, small_disk: Path
) -> None:
    system = System(processes, f"embedded:{small_disk}/gogeta.db", tmp_path)
    system.declare("awake", idle="10m")
    system.declare("asleep", idle="10m", wake="{timeout: 3s}")
    system.up()
    first = await eventually_served(system, "awake")
    rest = small_disk / "rest"
    with contextlib.suppress(OSError), rest.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    refused = await curl(system, "asleep")
    again = await curl(system, "awake")
    assert (again.status, again.headers["x-instance"]) == (200, first.headers["x-instance"])
    if refused.status != 200:
        # A wake needs a write; a page of the file may have been free for it.
        assert (refused.status, "retry-after" in refused.headers) == (503, True), refused
    rest.unlink()
    assert (await eventually_served(system, "asleep")).status == 200
