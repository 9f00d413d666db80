"""Fixtures of the drivers' tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from passivator.drivers.base import Driver
from passivator.drivers.docker import DockerDriver
from passivator.drivers.process import ProcessDriver
from tests.drivers.worlds import KINDS, DockerWorld, MemoryWorld, MeteredWorld, ProcessWorld, World
from tests.rig.docker import DockerEngine


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Each driver's world in turn."""
    world: World
    if request.param == "memory":
        world = MemoryWorld()
    elif request.param == "metered":
        world = MeteredWorld()
    elif request.param == "process":
        world = ProcessWorld(tmp_path)
    else:
        world = DockerWorld(request.getfixturevalue("docker"))
    yield world
    await world.close()


@pytest.fixture
def driver(world: World) -> Driver:
    """A driver in that world."""
    return world.driver()


@pytest.fixture
async def docker_driver(docker: DockerEngine) -> AsyncIterator[DockerDriver]:
    """A Docker driver on the engine of the tests."""
    driver = DockerDriver(docker.url)
    yield driver
    await driver.close()


@pytest.fixture
async def process_driver(tmp_path: Path) -> AsyncIterator[ProcessDriver]:
    """A process driver with a folder of its own."""
    driver = ProcessDriver(tmp_path / "state")
    yield driver
    await driver.close()
