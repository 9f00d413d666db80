"""The main job, from end to end, on each way to run it: etcd and Docker, and one machine without either."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import stories
from tests.e2e.system import System
from tests.rig.chromium import Chromium

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

IDLE = 4.0


def declare_all(system: System) -> None:
    """One tenant for each story."""
    system.declare("person", idle=f"{IDLE}s", delay=2.5, wake="{hold: 300ms}")
    system.declare("program", idle=f"{IDLE}s")
    system.declare("socket", idle=f"{IDLE}s")


def start_apart(system: System) -> None:
    """Both programs by themselves, the tenants by `gogeta apply`."""
    system.serve()
    system.control()
    system.apply()


def start_together(system: System) -> None:
    """All in one process."""
    system.up()


@pytest.fixture(params=["etcd and docker", "embedded, together", "embedded, apart"])
def system(request: pytest.FixtureRequest) -> System:
    """The system of one of the three ways, running, with its tenants."""
    kind = str(request.param)
    chosen: System = request.getfixturevalue("docker_system" if "docker" in kind else "local_system")
    declare_all(chosen)
    start: Callable[[System], None] = start_together if "together" in kind else start_apart
    start(chosen)
    return chosen


async def test_three_visitors_are_served_while_their_tenants_come_and_go(
    system: System, chromium: Chromium, tmp_path: Path
) -> None:
    async with asyncio.TaskGroup() as visitors:
        visitors.create_task(stories.a_person(system, chromium, tmp_path))
        visitors.create_task(stories.programs(system))
        visitors.create_task(stories.a_socket(system, IDLE))
