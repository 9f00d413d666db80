"""The filter before Docker's socket: the driver keeps its whole contract through it, and nothing else passes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from passivator.drivers.base import Driver, RuntimeUnavailableError
from passivator.drivers.docker import DockerDriver
from tests.drivers.test_contract import *  # noqa: F403 - the contract, on the fixtures of this file
from tests.drivers.worlds import DockerWorld, World
from tests.rig.docker import DockerEngine
from tests.rig.missing import missing
from tests.rig.programs import ProcessRack, resolve
from tests.rig.run_folder import RunFolder

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "compose" / "socket-filter.cfg"


@pytest.fixture(scope="module")
def filtered(docker_of_the_run: DockerEngine, run_folder: RunFolder) -> Iterator[Path]:
    """The filter's socket; the filter is HAProxy with the configuration that is deployed."""
    try:
        resolve("haproxy")
    except FileNotFoundError:
        missing("haproxy", "Debian has it in haproxy")
    rack = ProcessRack(run_folder)
    made = run_folder.subfolder("filter") / "docker.sock"
    variables = {
        "FILTER_SOCKET": str(made),
        "FILTER_GID": str(os.getgid()),
        "ENGINE_SOCKET": str(docker_of_the_run.socket),
    }
    try:
        running = rack.start("haproxy", "-f", CONFIGURATION, env=variables)
        deadline = time.monotonic() + 20
        while not made.exists():
            assert running.running, running.output()
            assert time.monotonic() < deadline, running.output()
            time.sleep(0.05)
        yield made
        # HAProxy ends with the number of the signal.
        running.terminate()
        running.wait()
    finally:
        rack.end()


@pytest.fixture
async def world(docker: DockerEngine, filtered: Path) -> AsyncIterator[World]:
    """Docker, as it is behind the filter."""

    class Filtered(DockerWorld):
        def make(self) -> Driver:
            return DockerDriver(f"unix://{filtered}")

    made = Filtered(docker)
    yield made
    await made.close()


@pytest.fixture
def driver(world: World) -> Driver:
    """A driver behind the filter."""
    return world.driver()


REFUSED = [
    ("POST", "/containers/ours/exec"),
    ("POST", "/v1.41/containers/ours/exec"),
    ("POST", "/exec/0123/start"),
    ("POST", "/containers/ours/attach"),
    ("GET", "/containers/ours/attach/ws"),
    ("PUT", "/containers/ours/archive?path=/"),
    ("GET", "/containers/ours/archive?path=/etc/passwd"),
    ("GET", "/containers/ours/export"),
    ("POST", "/containers/ours/update"),
    ("POST", "/containers/ours/rename?name=other"),
    ("POST", "/containers/prune"),
    ("POST", "/networks/prune"),
    ("POST", "/build"),
    ("POST", "/session"),
    ("POST", "/images/create?fromImage=x"),
    ("DELETE", "/images/bb:1"),
    ("GET", "/images/json"),
    ("POST", "/commit?container=ours"),
    ("POST", "/volumes/create"),
    ("POST", "/swarm/init"),
    ("POST", "/plugins/pull"),
    ("GET", "/secrets"),
    ("POST", "/auth"),
    ("GET", "/"),
    # The method counts, not only the path.
    ("PUT", "/containers/create"),
    ("POST", "/containers/ours/json"),
    ("GET", "/containers/ours/start"),
    ("DELETE", "/containers/ours/start"),
    ("OPTIONS", "/info"),
    ("HEAD", "/info"),
    # Ways that look like an allowed one.
    ("POST", "/containers/ours/start/"),
    ("POST", "/containers/ours/start/../exec"),
    ("POST", "/containers/ours%2fexec"),
    ("POST", "/containers/ours/%65xec"),
    ("POST", "/containers/ours/exec?/start"),
    ("POST", "/x/containers/ours/start"),
    ("POST", "//containers/ours/exec"),
    ("POST", "/v1.41/v1.41/containers/create"),
    ("GET", "/v2/info"),
    ("POST", "/CONTAINERS/ours/exec"),
]


def test_everything_else_is_refused_and_changes_nothing(docker: DockerEngine, filtered: Path) -> None:
    docker.run("bb:1", "sleep", "1000", name="ours")
    before = docker.inspect("ours")
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(filtered)), base_url="http://docker", trust_env=False, timeout=20
    ) as client:
        assert client.get("/_ping").text == "OK"
        assert client.get("/containers/ours/json").json()["Id"] == before["Id"]
        passed = {
            f"{method} {path}": answer.status_code
            for method, path in REFUSED
            # As it stands: a client may not tidy the path up first.
            if (
                answer := client.request(method, httpx.URL("http://docker").copy_with(raw_path=path.encode()))
            ).status_code
            != 403
        }
        assert passed == {}
        refused = client.post("/containers/ours/exec", json={"Cmd": ["id"]})
        assert refused.json() == {"message": "the socket filter lets no such call pass"}
    assert docker.inspect("ours")["State"] == before["State"]
    assert any("bb:1" in (image["RepoTags"] or ()) for image in docker.request("GET", "/images/json"))


async def test_an_engine_that_is_away_is_told_as_such(docker: DockerEngine, driver: Driver) -> None:
    docker.stop()
    with pytest.raises(RuntimeUnavailableError):
        await driver.list()
    docker.start()
    assert await driver.list() == {}
