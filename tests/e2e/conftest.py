"""What the end-to-end tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.served import Served
from tests.e2e.system import System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.programs import ProcessRack
from tests.rig.run_folder import RunFolder

_LAST = "test_quick_start.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A fresh clone is looked at when everything else is known to work."""
    items.sort(key=lambda item: item.path.name == _LAST)


@pytest.fixture
def docker_system(
    etcd: EtcdServer, docker: DockerEngine, python_image: str, processes: ProcessRack, tmp_path: Path
) -> System:
    """Tenants in Docker, the registry in etcd; no program of ours runs yet.

    `processes` comes last, so that our programs end before the engine is emptied under them.
    """
    return System(processes, etcd.registry_url, tmp_path, docker)


@pytest.fixture
def local_system(processes: ProcessRack, tmp_path: Path) -> System:
    """Tenants are local processes, the registry is a file; no program of ours runs yet."""
    return System(processes, f"embedded:{tmp_path}/gogeta.db", tmp_path)


@pytest.fixture(scope="module")
def served(run_folder: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gogeta in front of nginx, uvicorn and Node, for all tests of a file: none of them harms it."""
    rack = ProcessRack(run_folder)
    try:
        yield Served(rack, tmp_path_factory.mktemp("served"))
    finally:
        rack.end()
