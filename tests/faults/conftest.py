"""What the fault tests share: systems on a real registry, and many requests at once."""

import asyncio
import functools
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.system import Answer, System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.programs import ProcessRack

_VISITORS: Final = ThreadPoolExecutor(64, "visitor")
"""Threads of their own: held visitors would take all of the loop's, which are few, from those who watch."""


@pytest.fixture
def local(etcd: EtcdServer, processes: ProcessRack, tmp_path: Path) -> System:
    """Tenants are local processes, the registry is etcd; no program of ours runs yet."""
    return System(processes, etcd.registry_url, tmp_path)


@pytest.fixture
def contained(
    etcd: EtcdServer, docker: DockerEngine, python_image: str, processes: ProcessRack, tmp_path: Path
) -> System:
    """Tenants are containers, the registry is etcd; no program of ours runs yet."""
    return System(processes, etcd.registry_url, tmp_path, docker)


async def curl(system: System, name: str, path: str = "/", *options: str, timeout: float = 40.0) -> Answer:
    """A visitor's request for a tenant, without standing in the loop's way."""
    ask = functools.partial(system.curl, f"{name}.localhost", path, *options, timeout=timeout)
    return await asyncio.get_running_loop().run_in_executor(_VISITORS, ask)


async def seen(etcd: EtcdServer, name: str, *states: str, within: float = 40.0) -> None:
    """Return as soon as passivator has written one of these observed states."""
    give_up = asyncio.get_running_loop().time() + within
    while True:
        value = await asyncio.to_thread(etcd.get, f"/gogeta/v1/state/observed/{name}")
        if value is not None and json.loads(value)["state"] in states:
            return
        assert asyncio.get_running_loop().time() < give_up, f"{name} is not {states}: {value}"
        await asyncio.sleep(0.02)


async def held(system: System, count: int, within: float = 40.0) -> None:
    """Return as soon as this proxy holds so many requests."""
    give_up = asyncio.get_running_loop().time() + within
    while (now := await asyncio.to_thread(system.metric, "gogeta_held_requests")) != count:
        assert asyncio.get_running_loop().time() < give_up, f"{now:g} requests are held, not {count}"
        await asyncio.sleep(0.05)


async def burst(systems: Sequence[System], name: str, count: int) -> list[Answer]:
    """So many requests for one tenant at the same time, in turn by each of these proxies."""
    return await asyncio.gather(*(curl(systems[number % len(systems)], name) for number in range(count)))


def statuses(answers: Sequence[Answer]) -> Counter[int]:
    """How often each status came."""
    return Counter(answer.status for answer in answers)


def instances(answers: Sequence[Answer]) -> set[str]:
    """The starts of the application that answered."""
    return {answer.headers.get("x-instance", "none") for answer in answers}


async def eventually_served(system: System, name: str, *, within: float = 40.0) -> Answer:
    """The tenant's own answer; until then every answer has to say that it is worth asking again."""
    give_up = asyncio.get_running_loop().time() + within
    while True:
        answer = await curl(system, name)
        if answer.status == 200:
            return answer
        assert answer.status == 503, answer
        assert int(answer.headers["retry-after"]) >= 1, answer
        assert asyncio.get_running_loop().time() < give_up, answer
        await asyncio.sleep(0.2)
