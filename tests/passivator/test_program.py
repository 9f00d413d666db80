"""The real program with real local processes on an embedded registry."""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import ObservedState
from gogeta.domain.tenant import read_tenant
from gogeta.kit.setting_values import parse_registry
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.settings import RegistrySettings
from tests.rig.ports import accepts, free_port
from tests.rig.programs import ProcessRack, Program

pytestmark = pytest.mark.e2e

WEB = [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"]


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    store = open_store(RegistrySettings(registry=parse_registry(f"embedded:{tmp_path}/g.db")))
    yield Registry(store, "test")
    await store.close()


def start(processes: ProcessRack, folder: Path, port: int) -> Program:
    return processes.start(
        "passivator",
        *("--registry", f"embedded:{folder}/g.db", "--admin", f"127.0.0.1:{port}", "--state-dir", f"{folder}/state"),
        cwd=folder,
    )


def ready(port: int) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def until(registry: Registry, name: str, *states: Observed, within: float = 20.0) -> ObservedState:
    async with asyncio.timeout(within):
        while (observed := (await registry.record(name)).observed).state not in states:  # noqa: ASYNC110 - a real file
            await asyncio.sleep(0.02)
    return observed


async def declare(registry: Registry, name: str, command: list[str], **more: object) -> None:
    data = {"name": name, "hosts": [f"{name}.localhost"], "process": {"command": command}, **more}
    await registry.apply([read_tenant(data, what="test")])


async def test_a_life(processes: ProcessRack, registry: Registry, tmp_path: Path) -> None:
    port = free_port()
    program = start(processes, tmp_path, port)
    program.wait_for_port(port)
    await declare(registry, "acme", WEB, idle_timeout="2s", ready={"path": "/"})
    await declare(registry, "broken", ["no-such-program-anywhere"])
    await registry.change_desired("acme", Cause.REQUEST)
    started = await until(registry, "acme", Observed.STARTED)
    (endpoint,) = started.endpoints
    assert accepts(endpoint.port)
    assert (await asyncio.to_thread(ready, port))[0] == 200
    await registry.change_desired("broken", Cause.REQUEST)
    failed = await until(registry, "broken", Observed.FAILED)
    assert failed.reason is not None
    await until(registry, "acme", Observed.STOPPED)
    assert not accepts(endpoint.port)
    # Ended in order: local processes go, and the registry says so.
    await registry.change_desired("acme", Cause.WAKE)
    (endpoint,) = (await until(registry, "acme", Observed.STARTED)).endpoints
    program.terminate()
    assert program.wait(timeout=15) == 0
    assert not accepts(endpoint.port)
    assert (await registry.record("acme")).observed.state is Observed.STOPPED


async def test_killed_and_started_again_it_goes_on(processes: ProcessRack, registry: Registry, tmp_path: Path) -> None:
    port = free_port()
    first = start(processes, tmp_path, port)
    first.wait_for_port(port)
    await declare(registry, "acme", WEB)
    await registry.change_desired("acme", Cause.REQUEST)
    before = await until(registry, "acme", Observed.STARTED)
    first.kill()
    first.wait(timeout=5)
    start(processes, tmp_path, port)
    async with asyncio.timeout(20):
        while (after := (await registry.record("acme")).observed).instance == before.instance or not after.endpoints:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert accepts(after.endpoints[0].port)


def test_a_taken_admin_port_ends_it_with_a_message_naming_the_setting(processes: ProcessRack, tmp_path: Path) -> None:
    port = free_port()
    start(processes, tmp_path, port).wait_for_port(port)
    second = processes.run(
        "passivator", "--registry", f"embedded:{tmp_path}/g.db", "--admin", f"127.0.0.1:{port}", cwd=tmp_path
    )
    assert second.returncode == 1
    assert f"--admin: cannot listen on 127.0.0.1:{port}" in second.stderr


def test_a_wrong_option_is_named(processes: ProcessRack) -> None:
    finished = processes.run("passivator", "--max-starts", "none")
    assert finished.returncode == 2
    assert "--max-starts" in finished.stderr
