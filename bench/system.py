"""The real programs for a measurement, with an etcd and a Docker engine of its own where asked for.

All is started by the test rig's means, on private ports and folders, and gone at the end.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.rig.docker import PYTHON_IMAGE, DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.ports import free_port
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder, clear_dead_runs

APPLICATION: Final = Path(__file__).with_name("application.py")
CONTAINER_PORT: Final = 8000
CONTAINER_COMMAND: Final = ("python3", "-I", "-S", str(APPLICATION))
CONTAINER_ENVIRONMENT: Final = {"HOST": "0.0.0.0", "PORT": str(CONTAINER_PORT)}  # noqa: S104 - inside the container
CONTAINER_FOLDER: Final = f"{APPLICATION.parent}:{APPLICATION.parent}:ro"
"""How the application comes into the container: as a folder of this checkout, as Docker writes it."""


@dataclass(frozen=True)
class System:
    """Where the programs are."""

    port: int
    registry: str
    docker: DockerEngine | None

    @property
    def declaration(self) -> dict[str, object]:
        """How the measured application is run, as tenants.yaml has it."""
        if self.docker is not None:
            how = {"command": list(CONTAINER_COMMAND), "env": CONTAINER_ENVIRONMENT, "volumes": [CONTAINER_FOLDER]}
            return {"port": CONTAINER_PORT, "docker": {"image": PYTHON_IMAGE, **how}}
        return {"process": {"command": list(local_command())}}


def local_command() -> tuple[str, ...]:
    """The application as a local process: this Python without what it does not need."""
    return (sys.executable, "-I", "-S", str(APPLICATION))


@contextlib.contextmanager
def running_system(driver: str, registry: str) -> Iterator[System]:
    """`gogeta serve` and `passivator`, on ``registry`` (embedded, etcd), with ``driver`` (process, docker)."""
    clear_dead_runs()
    folder = RunFolder()
    with contextlib.ExitStack() as parts:
        parts.callback(folder.clear)
        url = f"embedded:{folder.path}/gogeta.db"
        if registry == "etcd":
            etcd = EtcdServer(folder)
            parts.callback(etcd.remove)
            etcd.start()
            url = etcd.registry_url
        engine = None
        if driver == "docker":
            engine = DockerEngine(folder)
            parts.callback(engine.remove)
            engine.start()
            engine.make_python_image()
        port, admin, controller_admin = free_port(), free_port(), free_port()

        def start(name: str, listening: int, *options: str) -> None:
            arguments = [*options, "--registry", url, "--log-level", "warning"]
            program = Program(
                [resolve(name), *arguments],
                folder=folder.subfolder(name),
                environment=folder.environment(),
                cwd=folder.path,
                name=name,
            )
            parts.callback(program.end)
            program.wait_for_port(listening)

        start("gogeta", port, "serve", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
        driving = ["--driver", driver, "--state-dir", str(folder.path / "state")]
        if engine is not None:
            driving += ["--docker-host", engine.url]
        start("passivator", controller_admin, "--admin", f"127.0.0.1:{controller_admin}", *driving)
        yield System(port, url, engine)
