"""Docker is frozen, killed, or does things behind our back; containers misbehave in every way that has a name."""

import asyncio
import time

import pytest

from tests.e2e.system import Answer, System
from tests.faults.conftest import burst, curl, eventually_served, seen, statuses
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def page(name: str, *, before: str = "", options: str = "") -> str:
    """A container that serves its name."""
    serve = f"{before} mkdir -p /tmp/www; echo {name} > /tmp/www/index.html; exec httpd -f -p 8000 -h /tmp/www"
    return f'{{image: "bb:1", command: [sh, -c, "{serve}"]{options}}}'


def started(system: System) -> System:
    """Both programs, and what was declared."""
    system.serve()
    system.control()
    system.apply()
    return system


async def test_docker_frozen_during_a_wake_and_a_sleep(
    contained: System, docker: DockerEngine, etcd: EtcdServer
) -> None:
    contained.declare("awake", idle="10m", docker=page("awake"))
    contained.declare("asleep", idle="10m", docker=page("asleep"), wake="{timeout: 60s}")
    started(contained)
    assert (await eventually_served(contained, "awake")).text.strip() == "awake"
    docker.pause()
    try:
        waiting = asyncio.create_task(curl(contained, "asleep", timeout=70))
        for _ in range(5):
            assert (await curl(contained, "awake")).text.strip() == "awake", "who runs is served without Docker"
            await asyncio.sleep(0.5)
        assert not waiting.done()
    finally:
        docker.resume()
    assert (await waiting).text.strip() == "asleep"


async def test_docker_killed_and_started_again(contained: System, docker: DockerEngine, etcd: EtcdServer) -> None:
    contained.declare("acme", idle="10m", docker=page("acme"))
    started(contained)
    assert (await eventually_served(contained, "acme")).status == 200
    await asyncio.to_thread(docker.kill)
    await asyncio.to_thread(docker.start)
    assert (await eventually_served(contained, "acme", within=90)).text.strip() == "acme"
    await asyncio.to_thread(docker.stop)
    waiting = asyncio.create_task(curl(contained, "acme", timeout=90))
    await asyncio.sleep(2)
    await asyncio.to_thread(docker.start)
    answer = await waiting
    if answer.status != 200:
        assert answer.status in (502, 503), answer
        answer = await eventually_served(contained, "acme", within=90)
    assert answer.text.strip() == "acme"


async def test_what_is_done_to_a_container_by_hand_is_seen_and_mended(
    contained: System, docker: DockerEngine, etcd: EtcdServer
) -> None:
    contained.declare("acme", idle="10m", docker=page("acme"))
    started(contained)
    await eventually_served(contained, "acme")

    await asyncio.to_thread(docker.request, "DELETE", "/containers/gogeta-acme?force=true")
    assert (await eventually_served_after_trouble(contained, "acme")).text.strip() == "acme"

    await asyncio.to_thread(docker.request, "POST", "/containers/gogeta-acme/pause")
    # Nobody can tell a paused application from a slow one but passivator, who resumes it.
    assert (await curl(contained, "acme")).text.strip() == "acme"

    await asyncio.to_thread(docker.request, "POST", "/containers/gogeta-acme/restart?t=1")
    assert (await eventually_served_after_trouble(contained, "acme")).text.strip() == "acme"

    await asyncio.to_thread(docker.request, "POST", "/containers/gogeta-acme/stop?t=1")
    assert (await eventually_served_after_trouble(contained, "acme")).text.strip() == "acme"


async def eventually_served_after_trouble(system: System, name: str) -> Answer:
    """As ``eventually_served``, where the first answers may say that the application has just gone."""
    give_up = time.monotonic() + 40
    while (answer := await curl(system, name)).status == 502:
        assert time.monotonic() < give_up, answer
        await asyncio.sleep(0.2)
    return await eventually_served(system, name)


async def test_two_containers_that_swap_their_addresses_answer_for_themselves(
    contained: System, docker: DockerEngine
) -> None:
    for name in ("one", "two"):
        contained.declare(name, idle="10m", docker=page(name, options=", network: shared"))
    docker.request("POST", "/networks/create", body={"Name": "shared"})
    started(contained)
    for name in ("one", "two"):
        assert (await eventually_served(contained, name)).text.strip() == name
    had: dict[str, set[str]] = {"one": set(), "two": set()}
    for turn in range(6):
        await asyncio.gather(*(asyncio.to_thread(contained.cli, "sleep", name) for name in had))
        # Whoever starts first gets the first free address.
        asked = []
        for name in sorted(had, reverse=turn % 2 == 0):
            asked += [(name, asyncio.create_task(curl(contained, name))) for _ in range(4)]
            await asyncio.sleep(0.3)
        for name, task in asked:
            answer = await task
            assert (answer.status, answer.text.strip()) == (200, name)
        for name, addresses in had.items():
            addresses.add(docker.address(f"gogeta-{name}"))
    assert had["one"] & had["two"], "no address has changed hands"


async def test_requests_at_any_moment_of_a_stop_that_takes_its_time_are_answered(
    contained: System, etcd: EtcdServer
) -> None:
    deaf = (
        page("deaf", before="trap '' TERM;")
        .replace("exec httpd", "httpd")
        .replace('/tmp/www"]', '/tmp/www & while :; do sleep 0.1; done"]')
    )
    contained.declare("deaf", idle="10m", docker=deaf)
    started(contained)
    await eventually_served(contained, "deaf")
    for offset in (0.0, 0.1, 0.3, 0.7, 1.5, 2.9, 3.05, 3.3):
        sleeping = asyncio.create_task(asyncio.to_thread(contained.cli, "sleep", "deaf"))
        await seen(etcd, "deaf", "stopping", "stopped")
        await asyncio.sleep(offset)
        answers = await burst([contained], "deaf", 3)
        assert statuses(answers) == {200: 3}, (offset, answers)
        await sleeping


FAILURES = {
    "image-missing": ('{image: "no-such-image:1"}', "{}"),
    "exited": ('{image: "bb:1", command: [sh, -c, "sleep 0.3; exit 3"]}', "{}"),
    "out-of-memory": ('{image: "py:1", memory: 8m, command: [python, -c, "b\'x\' * (1 << 28)"]}', "{}"),
    "not-ready": ('{image: "bb:1", command: [sleep, "1000"]}', "{timeout: 2s}"),
}


async def test_each_way_to_fail_has_its_name_and_tells_a_visitor_nothing_of_it(contained: System) -> None:
    for name, (docker, ready) in FAILURES.items():
        contained.declare(name, idle="10m", docker=docker, ready=ready, wake="{timeout: 30s}")
    started(contained)
    answers = await asyncio.gather(*(curl(contained, name) for name in FAILURES))
    for name, answer in zip(FAILURES, answers, strict=True):
        assert answer.status == 503, (name, answer)
        assert answer.json["code"] == "failed", (name, answer)
        assert "image" not in answer.text, "what is inside is nobody's business outside"
        assert int(answer.headers["retry-after"]) >= 1
        # It may be on its next try just now.
        give_up = time.monotonic() + 30
        while (reason := (await asyncio.to_thread(contained.tenant, name))["observed"]["reason"]) is None:
            assert time.monotonic() < give_up, name
        assert (reason["code"], bool(reason["message"])) == (name, True)
