"""Our own processes die, freeze, or do the same thing at once."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.faults.conftest import burst, curl, eventually_served, held, instances, seen, statuses
from tests.rig.etcd import EtcdServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

DEAF = (
    """{image: "bb:1", command: [sh, -c, "trap '' TERM; mkdir /tmp/www; echo deaf > /tmp/www/index.html; """
    """httpd -f -p 8000 -h /tmp/www & while :; do sleep 0.1; done"]}"""
)
"""A container that serves its name and does not listen to SIGTERM."""


async def test_two_proxies_that_wake_at_once_are_one_start(local: System) -> None:
    local.declare("acme", idle="10m", delay=0.5)
    other = local.beside()
    local.serve()
    other.serve()
    local.control()
    local.apply()
    answers = await burst([local, other], "acme", 40)
    assert statuses(answers) == {200: 40}
    assert len(instances(answers)) == 1
    record = await asyncio.to_thread(local.tenant, "acme")
    assert record["desired"]["wakes"] == 1


async def test_a_proxy_killed_while_it_holds_requests_takes_the_wake_not_with_it(
    local: System, etcd: EtcdServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    local.declare("acme", idle="10m", after=gate)
    other = local.beside()
    local.serve()
    other.serve()
    local.control()
    local.apply()
    waiting = [asyncio.create_task(curl(local, "acme")) for _ in range(5)]
    elsewhere = asyncio.create_task(curl(other, "acme"))
    await seen(etcd, "acme", "starting")
    await held(local, 5)
    await held(other, 1)
    local.gogeta.kill()
    broken = await asyncio.gather(*waiting)
    gate.touch()
    # Their proxy is gone: no answer at all, and so nothing that could be taken for one.
    assert {(answer.status, answer.exit != 0) for answer in broken} == {(0, True)}
    assert (await elsewhere).status == 200
    local.serve()
    again = await curl(local, "acme")
    assert (again.status, again.headers["x-instance"]) == (200, (await elsewhere).headers["x-instance"])
    assert (await asyncio.to_thread(local.tenant, "acme"))["desired"]["wakes"] == 1


async def test_a_passivator_frozen_during_a_start_goes_on_when_it_is_thawed(
    local: System, etcd: EtcdServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    local.declare("acme", idle="10m", after=gate)
    local.serve()
    local.control()
    local.apply()
    asking = asyncio.create_task(curl(local, "acme"))
    await seen(etcd, "acme", "starting")
    local.passivator.pause()
    gate.touch()
    await asyncio.sleep(4)
    assert not asking.done(), "nobody says that it is ready"
    local.passivator.resume()
    assert (await asking).status == 200


async def test_a_passivator_killed_in_a_stop_finishes_it_and_who_came_meanwhile_is_served(
    contained: System, etcd: EtcdServer
) -> None:
    contained.declare("deaf", idle="10m", docker=DEAF)
    contained.serve()
    contained.control()
    contained.apply()
    before = await curl(contained, "deaf")
    assert before.text.strip() == "deaf"
    sleeping = asyncio.create_task(asyncio.to_thread(contained.cli, "sleep", "deaf"))
    await seen(etcd, "deaf", "stopping")
    contained.passivator.kill()
    asking = asyncio.create_task(curl(contained, "deaf"))
    await asyncio.sleep(1)
    contained.control()
    assert (await asking).status == 200
    await sleeping
    assert (await asyncio.to_thread(contained.until, "deaf", "started"))["desired"]["cause"] in ("request", "in-use")


async def test_both_programs_killed_and_started_again_find_the_tenant_as_it_is(contained: System) -> None:
    contained.declare("acme", idle="10m")
    contained.serve()
    contained.control()
    contained.apply()
    first = await curl(contained, "acme")
    assert first.status == 200
    contained.gogeta.kill()
    contained.passivator.kill()
    contained.serve()
    contained.control()
    again = await eventually_served(contained, "acme")
    assert again.headers["x-instance"] == first.headers["x-instance"], "it was never stopped"


async def test_a_local_tenant_killed_while_it_serves_is_started_again(local: System) -> None:
    local.declare("acme", idle="10m")
    local.serve()
    local.control()
    local.apply()
    first = await curl(local, "acme")
    cut = asyncio.create_task(curl(local, "acme", "/slow?seconds=20"))
    await asyncio.sleep(0.5)
    for pid in local.pids("acme"):
        os.kill(pid, signal.SIGKILL)
    assert (await cut).exit != 0, "an answer that breaks off is visibly broken"
    again = await eventually_served(local, "acme")
    assert again.headers["x-instance"] != first.headers["x-instance"]
