"""What the Docker driver promises beyond the contract, on a real engine."""

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from passivator.drivers import docker_container, docker_engine
from passivator.drivers.base import Health, Runtime, RuntimeEvent, RuntimeUnavailableError, StartFailedError, Status
from passivator.drivers.docker import DockerDriver
from tests.drivers.worlds import fetch, until
from tests.rig.docker import DockerEngine
from tests.rig.ports import free_port

pytestmark = pytest.mark.docker

RESIST = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]


def tenant(name: str = "acme", *, grace: float = 3.0, port: int | None = None, **docker: Any) -> Tenant:  # noqa: ANN401
    """A tenant that serves its name, unless declared otherwise."""
    page = f"mkdir /tmp/www; echo {name} > /tmp/www/index.html; exec httpd -f -p {port or 80} -h /tmp/www"
    declared: dict[str, Any] = {"image": "bb:1", "command": ["sh", "-c", page]}
    if "container" in docker or "label" in docker:
        declared = {}
    declared.update(docker)
    return read_tenant(
        {"name": name, "hosts": [f"{name}.test"], "port": port, "stop_grace": grace, "docker": declared}, what="test"
    )


async def exited(driver: DockerDriver, who: Tenant) -> Runtime:
    async def ended() -> bool:
        return (await driver.inspect(who)).status is Status.EXITED

    await until(ended)
    return await driver.inspect(who)


@pytest.fixture
async def published(docker: DockerEngine) -> AsyncIterator[DockerDriver]:
    """A driver that reaches containers by published ports."""
    driver = DockerDriver(docker.url, reach="published")
    yield driver
    await driver.close()


async def test_a_container_is_made_with_the_safe_defaults(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    await docker_driver.start(tenant(grace=2.5))
    made = docker.inspect("gogeta-acme")
    host = made["HostConfig"]
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["PidsLimit"] == 256
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    assert host["NetworkMode"] == "gogeta-acme"
    assert not host["PortBindings"]
    assert host["Privileged"] is False
    assert host["PidMode"] == ""
    assert host["IpcMode"] == "private"
    assert made["Config"]["StopTimeout"] == 3
    assert made["Config"]["Labels"]["gogeta.tenant"] == "acme"
    assert made["Config"]["Labels"]["gogeta.spec"]
    assert docker.networks() == ["gogeta-acme"]
    status = docker.request("GET", "/containers/gogeta-acme/top")
    assert "init" in json.dumps(status)


async def test_what_is_declared_is_in_force(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    who = tenant(
        entrypoint=["sh", "-c"],
        command=["id -u; echo $COLOUR; touch /file; grep CapEff /proc/self/status; sleep 60"],
        env={"COLOUR": "blue"},
        memory="64m",
        cpus=0.5,
        pids=33,
        user="65534",
        read_only=True,
        labels={"team": "red", "gogeta.tenant": "other"},
        volumes=["data:/data:ro"],
    )
    await docker_driver.start(who)
    made = docker.inspect("gogeta-acme")
    host = made["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (64 << 20, 64 << 20)
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 33
    assert host["ReadonlyRootfs"] is True
    assert host["Binds"] == ["data:/data:ro"]
    assert made["Config"]["Labels"]["team"] == "red"
    assert made["Config"]["Labels"]["gogeta.tenant"] == "acme"

    async def reported() -> bool:
        # The two outputs come in any order.
        written = await docker_driver.logs(who)
        return "CapEff" in written and "Read-only" in written

    await until(reported)
    lines = (await docker_driver.logs(who)).splitlines()
    assert {"65534", "blue", "CapEff:\t0000000000000000"} < set(lines)
    assert any("Read-only" in line for line in lines)


async def test_the_kernel_kills_who_takes_too_much_memory(docker_driver: DockerDriver) -> None:
    # tail keeps a line without an end in memory.
    who = tenant(command=["sh", "-c", "sleep 0.3; tail /dev/zero"], memory="8m", init=False)
    await docker_driver.start(who)
    runtime = await exited(docker_driver, who)
    assert runtime.out_of_memory
    assert runtime.exit_code == 137
    assert runtime.failure is not None
    assert runtime.failure.code is ReasonCode.OUT_OF_MEMORY


async def test_the_number_of_processes_is_limited(docker_driver: DockerDriver) -> None:
    who = tenant(command=["sh", "-c", "for i in $(seq 20); do sleep 60 & done; wait"], pids=8)
    try:
        await docker_driver.start(who)
    except StartFailedError as failure:
        # The shell may have ended before the start was looked at.
        assert "can't fork" in str(failure)  # noqa: PT017 - one of two ways to be told
        return

    async def refused() -> bool:
        return "can't fork" in await docker_driver.logs(who)

    await until(refused)


REFUSED: list[tuple[dict[str, Any], ReasonCode]] = [
    ({"image": "no-such-image:1"}, ReasonCode.IMAGE_MISSING),
    ({"command": ["/no/such/program"], "init": False}, ReasonCode.COMMAND_FAILED),
    ({"command": ["/etc/passwd"], "init": False}, ReasonCode.COMMAND_FAILED),
    ({"volumes": ["data:not/absolute"]}, ReasonCode.BAD_SPEC),
    ({"cap_add": ["NO_SUCH"]}, ReasonCode.BAD_SPEC),
    ({"memory": "1k"}, ReasonCode.BAD_SPEC),
    ({"user": "nobody-here"}, ReasonCode.BAD_SPEC),
    ({"network": "host"}, ReasonCode.BAD_SPEC),
    ({"network": "none"}, ReasonCode.BAD_SPEC),
    ({"network": "no-such-network"}, ReasonCode.BAD_SPEC),
    ({"container": "no-such-container"}, ReasonCode.CONTAINER_MISSING),
    ({"label": "no-such=label"}, ReasonCode.CONTAINER_MISSING),
]


async def test_why_a_start_failed(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    for docker_part, code in REFUSED:  # one test: to clean the engine after each would take longer than all of them
        who = tenant(**docker_part)
        with pytest.raises(StartFailedError) as failed:
            await docker_driver.start(who)
        assert failed.value.code is code, docker_part
        assert failed.value.message
        assert (await docker_driver.inspect(who)).failure is None
        await docker_driver.remove(who.name)
    assert docker.containers() == docker.networks() == []


async def test_a_failed_start_is_mended_by_a_better_declaration(docker_driver: DockerDriver) -> None:
    with pytest.raises(StartFailedError):
        await docker_driver.start(tenant(command=["/no/such/program"], init=False))
    assert await fetch((await docker_driver.start(tenant())).endpoints[0]) == "acme"


async def test_a_new_grace_makes_no_new_container(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    await docker_driver.start(tenant(grace=3))
    made = docker.inspect("gogeta-acme")["Id"]
    await docker_driver.stop(tenant(grace=1))
    await docker_driver.start(tenant(grace=1))
    assert docker.inspect("gogeta-acme")["Id"] == made


async def test_a_container_of_the_same_name_that_is_not_ours_is_left_alone(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    docker.run("bb:1", "sleep", "60", name="gogeta-acme")
    with pytest.raises(StartFailedError) as failed:
        await docker_driver.start(tenant())
    assert failed.value.code is ReasonCode.BAD_SPEC
    assert (await docker_driver.inspect(tenant())).status is Status.ABSENT
    assert (await docker_driver.stop(tenant())).status is Status.ABSENT
    await docker_driver.remove(tenant().name)
    assert docker.state("gogeta-acme") == "running"


@pytest.mark.parametrize("way", [{"container": "theirs"}, {"label": "role=web"}])
async def test_an_existing_container_is_adopted(
    docker: DockerEngine, docker_driver: DockerDriver, way: dict[str, Any]
) -> None:
    options = {"Labels": {"role": "web"}, "HostConfig": {"Init": True}}
    docker.create("bb:1", "httpd", "-f", "-p", "80", "-h", "/www", name="theirs", options=options)
    who = tenant(**way)
    assert (await docker_driver.inspect(who)).status is Status.EXITED
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        started = await docker_driver.start(who)
        assert (await asyncio.wait_for(anext(events), 5)).name == "acme"
    assert "busybox" in await fetch(started.endpoints[0])
    assert (await docker_driver.stop(who)).status is Status.EXITED
    assert (await docker_driver.start(who)).instance != started.instance
    await docker_driver.remove(who.name)
    assert docker.state("theirs") == "running"


async def test_a_label_that_fits_two_containers_adopts_none(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    for name in ("one", "two"):
        docker.create("bb:1", "sleep", "60", name=name, options={"Labels": {"role": "web"}})
    with pytest.raises(StartFailedError, match="2 containers"):
        await docker_driver.start(tenant(label="role=web"))


async def test_a_port_that_somebody_has_is_said_to_be_taken(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    port = free_port()
    bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    options = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": bindings}}
    docker.create("bb:1", "httpd", "-f", "-p", "80", name="theirs", options=options)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartFailedError) as failed:
        await docker_driver.start(tenant(container="theirs"))
    assert failed.value.code is ReasonCode.PORT_TAKEN


async def test_published_ports_are_on_loopback_and_read_anew(docker: DockerEngine, published: DockerDriver) -> None:
    ports = set()
    for _ in range(2):
        started = await published.start(tenant())
        (endpoint,) = started.endpoints
        assert endpoint.host == "127.0.0.1"
        assert await fetch(endpoint) == "acme"
        bound = docker.inspect("gogeta-acme")["NetworkSettings"]["Ports"]["80/tcp"]
        assert [binding["HostIp"] for binding in bound] == ["127.0.0.1"]
        ports.add(endpoint.port)
        assert (await published.stop(tenant())).endpoints == ()
    assert len(ports) == 2
    assert (await published.list())[tenant().name].status is Status.EXITED


async def test_the_declared_port_is_the_one_inside(docker_driver: DockerDriver) -> None:
    started = await docker_driver.start(tenant(port=8081))
    assert started.endpoints[0].port == 8081
    assert await fetch(started.endpoints[0]) == "acme"
    assert (await docker_driver.list())[tenant().name].endpoints == started.endpoints


async def test_two_that_swap_their_addresses_keep_their_names(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    docker.request("POST", "/networks/create", body={"Name": "shared"})
    one, two = tenant("one", network="shared"), tenant("two", network="shared")
    before = [(await docker_driver.start(who)).endpoints for who in (one, two)]
    for who in (one, two):
        await docker_driver.stop(who)
    after = [(await docker_driver.start(who)).endpoints for who in (two, one)][::-1]
    assert after == before[::-1]  # what makes this dangerous
    assert [await fetch(endpoint) for (endpoint,) in after] == ["one", "two"]
    assert [(await docker_driver.inspect(who)).endpoints for who in (one, two)] == after


async def test_tenants_are_in_networks_of_their_own(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    await asyncio.gather(*(docker_driver.start(tenant(name)) for name in ("one", "two")))
    assert docker.networks() == ["gogeta-one", "gogeta-two"]
    await docker_driver.remove(tenant("one").name)
    assert docker.networks() == ["gogeta-two"]


async def test_a_network_that_is_gone_is_made_again(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    await docker_driver.start(tenant())
    made = docker.inspect("gogeta-acme")["Id"]
    await docker_driver.stop(tenant())
    docker.request("DELETE", "/networks/gogeta-acme")
    assert await fetch((await docker_driver.start(tenant())).endpoints[0]) == "acme"
    assert docker.inspect("gogeta-acme")["Id"] == made


def take_all_addresses(docker: DockerEngine) -> None:
    """All that the engine has left for networks: its pool is the upper half of its range."""
    free = [list(docker.network.subnets(prefixlen_diff=1))[1]]
    for name in docker.networks():
        (pool,) = docker.request("GET", f"/networks/{name}")["IPAM"]["Config"]
        used = ipaddress.IPv4Network(pool["Subnet"])
        free = [rest for one in free for rest in (one.address_exclude(used) if used.subnet_of(one) else [one])]
    for number, subnet in enumerate(free):
        body = {"Name": f"taken{number}", "IPAM": {"Config": [{"Subnet": str(subnet)}]}}
        docker.request("POST", "/networks/create", body=body)


async def test_networks_of_sleepers_are_given_back_when_addresses_run_out(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    sleeper, awake = tenant("sleeper"), tenant("awake")
    for who in (sleeper, awake):
        await docker_driver.start(who)
    await docker_driver.stop(sleeper)
    take_all_addresses(docker)
    newcomer = tenant("newcomer")
    assert await fetch((await docker_driver.start(newcomer)).endpoints[0]) == "newcomer"
    assert "gogeta-sleeper" not in docker.networks()
    assert "gogeta-awake" in docker.networks()
    with pytest.raises(StartFailedError) as failed:
        await docker_driver.start(sleeper)
    assert "default-address-pools" in failed.value.hint
    await docker_driver.stop(awake)
    assert await fetch((await docker_driver.start(sleeper)).endpoints[0]) == "sleeper"


@pytest.mark.parametrize("who_stops", ["somebody", "another driver"])
async def test_a_start_while_anybody_stops_it_really_starts(
    docker: DockerEngine, docker_driver: DockerDriver, who_stops: str
) -> None:
    who = tenant(command=RESIST, grace=1)
    first = await docker_driver.start(who)
    other = DockerDriver(docker.url)

    async def stopping() -> None:
        if who_stops == "somebody":
            await asyncio.to_thread(docker.stop_container, "gogeta-acme", grace=1)
        else:
            await other.stop(who)

    stop = asyncio.create_task(stopping())
    await asyncio.sleep(0.3)
    second = await docker_driver.start(who)
    assert second.instance != first.instance
    await stop
    await asyncio.sleep(0.3)
    assert (await docker_driver.inspect(who)).instance == second.instance
    assert (await docker_driver.inspect(who)).status is Status.RUNNING
    await other.close()


async def test_a_stop_by_hand_is_seen_by_who_follows_events(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    who = tenant(command=RESIST, grace=1)
    await docker_driver.start(who)
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        stop = asyncio.create_task(asyncio.to_thread(docker.stop_container, "gogeta-acme", grace=1))
        assert (await asyncio.wait_for(anext(events), 5)).name == "acme"
        assert (await docker_driver.inspect(who)).status is Status.STOPPING
        assert (await docker_driver.list())[who.name].status is Status.STOPPING
        await stop
        async with asyncio.timeout(5):
            while (await docker_driver.inspect(who)).status is Status.STOPPING:
                await anext(events)
    assert (await docker_driver.inspect(who)).status is Status.EXITED


async def test_a_signal_that_is_no_stop_does_not_keep_a_start_for_ever(
    docker: DockerEngine, docker_driver: DockerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("passivator.drivers.docker_container._USUAL_GRACE", 0.5)
    monkeypatch.setattr("passivator.drivers.docker_container._DYING", 0.2)
    who = tenant(command=RESIST, grace=1)
    first = await docker_driver.start(who)
    docker.request("POST", "/containers/gogeta-acme/kill", params={"signal": "SIGTERM"})
    async with asyncio.timeout(5):
        again = await docker_driver.start(who)
    assert again.instance == first.instance
    assert again.status is Status.RUNNING


async def test_what_others_stopped_is_left_alone_for_a_moment_and_what_we_stopped_is_not(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    docker.create("bb:1", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done", name="theirs")
    who, loop = tenant(container="theirs"), asyncio.get_running_loop()
    await docker_driver.start(who)
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        stopping = asyncio.create_task(docker_driver.stop(who))
        # Our own stop is told as well, and may be told late.
        while (await anext(events)).name is None or docker.state("theirs") != "exited":
            pass
        await stopping
        began = loop.time()
        await docker_driver.start(who)
        assert loop.time() - began < docker_container.HANDS_OFF / 2
        await asyncio.sleep(docker_container._LATE)  # noqa: SLF001
        stop = asyncio.create_task(asyncio.to_thread(docker.stop_container, "theirs"))
        async with asyncio.timeout(10):
            while docker.state("theirs") != "exited":
                await anext(events)
        await stop
        began = loop.time()
        assert (await docker_driver.start(who)).status is Status.RUNNING
        assert loop.time() - began > docker_container.HANDS_OFF / 2


async def test_a_health_check_is_told(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    second = 1_000_000_000
    check = {"Test": ["CMD", "test", "-e", "/tmp/ok"], "Interval": second, "Timeout": second, "Retries": 1}
    script = "touch /tmp/ok; sleep 2; rm /tmp/ok; sleep 60"
    docker.create("bb:1", "sh", "-c", script, name="theirs", options={"Healthcheck": check})
    who = tenant(container="theirs")
    seen = [(await docker_driver.start(who)).health]
    async with aclosing(docker_driver.events()) as events, asyncio.timeout(15):
        while seen[-1] is not Health.UNHEALTHY:
            await anext(events)
            if (health := (await docker_driver.inspect(who)).health) is not seen[-1]:
                seen.append(health)
    assert seen == [Health.STARTING, Health.HEALTHY, Health.UNHEALTHY]
    failure = (await docker_driver.inspect(who)).failure
    assert failure is not None
    assert failure.code is ReasonCode.UNHEALTHY


async def test_calls_to_a_frozen_engine_end_in_their_time(
    docker: DockerEngine, docker_driver: DockerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_QUICK", "_WORK", "_KILL", "_SILENCE"):
        monkeypatch.setattr(docker_engine, limit, 0.5)
    who = tenant(grace=1)
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        docker.pause()
        calls = (
            docker_driver.list(),
            docker_driver.inspect(who),
            docker_driver.start(who),
            docker_driver.remove(who.name),
        )
        async with asyncio.timeout(5):
            for result in await asyncio.gather(*calls, docker_driver.open(), return_exceptions=True):
                assert isinstance(result, RuntimeUnavailableError)
            with pytest.raises(RuntimeUnavailableError):
                await anext(events)
    docker.resume()
    await docker_driver.open()


async def to_the_end(events: AsyncGenerator[RuntimeEvent, None]) -> None:
    async for _ in events:
        pass


async def test_after_a_restart_of_the_engine_the_gap_is_told_and_all_is_seen(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    who = tenant()
    before = await docker_driver.start(who)
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        await asyncio.to_thread(docker.stop)
        with pytest.raises(RuntimeUnavailableError):
            await asyncio.wait_for(to_the_end(events), 20)
    for call in (docker_driver.open(), docker_driver.list(), docker_driver.start(who), anext(docker_driver.events())):
        with pytest.raises(RuntimeUnavailableError):
            await call
    await asyncio.to_thread(docker.start)
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        assert (await docker_driver.list())[who.name].status is Status.EXITED
        after = await docker_driver.start(who)
        assert after.instance != before.instance
        assert await fetch(after.endpoints[0]) == "acme"
        assert (await asyncio.wait_for(anext(events), 5)).name == "acme"


@pytest.mark.uvloop
async def test_all_of_it_on_uvloop(docker_driver: DockerDriver) -> None:
    who = tenant()
    async with aclosing(docker_driver.events()) as events:
        assert (await anext(events)).name is None
        assert await fetch((await docker_driver.start(who)).endpoints[0]) == "acme"
        assert (await asyncio.wait_for(anext(events), 5)).name == "acme"
    assert (await docker_driver.stop(who)).exit_code in (0, 143)


async def test_a_start_while_somebody_removes_the_container_is_no_fault_of_the_tenants(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    for _ in range(6):
        await docker_driver.start(tenant())
        removal = asyncio.create_task(asyncio.to_thread(docker.request, "DELETE", "/containers/gogeta-acme?force=true"))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(15):
            while True:
                try:
                    # What the controller does with a runtime that is not ready for it: it asks again.
                    started = await docker_driver.start(tenant())
                    if removal.done() and started.endpoints:
                        break
                except RuntimeUnavailableError:
                    await asyncio.sleep(0.05)
        await removal
        now = await docker_driver.start(tenant())
        assert await fetch(now.endpoints[0]) == "acme"
