"""The real programs that the story is played on: `gogeta up` alone, or serve and passivator with etcd and Docker.

All of it is started and ended with the test rig's means: every process, folder and network that a demo made is gone
when it ends, and what a killed demo left is removed by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import string
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from screen import Screen
from story import StepFailedError

from tests.rig.ports import accepts, free_port
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder, clear_dead_runs

HERE: Final = Path(__file__).resolve().parent
_FIRST_PORT: Final = 8080
_FIRST_ADMIN: Final = 9901
_FIRST_CONTROLLER_ADMIN: Final = 9902
_START_LIMIT: Final = 30.0
_STOP_LIMIT: Final = 20.0
_PACKAGES: Final = {
    "etcd": "etcd-server",
    "dockerd": "docker.io",
    "containerd": "containerd",
    "busybox": "busybox-static",
    "ip": "iproute2",
}


@dataclass
class Stage:
    """Where the programs are, once they run."""

    port: int
    admin: int
    registry: str
    """The registry's URL."""
    programs: list[Program] = field(default_factory=list)

    def ended_by_itself(self) -> StepFailedError | None:
        """What to say when a program has ended; None while all run."""
        for program in self.programs:
            if not program.running:
                return StepFailedError(f"{program.name} has ended by itself")
        return None

    async def until_one_ends(self) -> None:
        """Return, with StepFailedError, when a program has ended."""
        while True:
            if (ended := self.ended_by_itself()) is not None:
                raise ended
            await asyncio.sleep(0.2)

    def last_words(self) -> str:
        """The ends of the programs' logs."""
        return "\n".join(
            f"--- {program.name}\n" + "\n".join(program.output().splitlines()[-15:]) for program in self.programs
        )


@contextlib.asynccontextmanager
async def local_stage(screen: Screen, port: int | None) -> AsyncIterator[Stage]:
    """`gogeta up` on the embedded registry; tenants are local processes."""
    with _run_folder() as folder:
        registry = f"embedded:{folder.path}/gogeta.db"
        stage = Stage(*_ports(screen, port), registry)
        up: list[str | Path] = ["up", "-f", HERE / "tenants.yaml", "--state-dir", folder.path / "state"]
        with _ended(stage):
            await _start(folder, stage, "gogeta", *up, *_serving(stage))
            yield stage


@contextlib.asynccontextmanager
async def docker_stage(screen: Screen, port: int | None) -> AsyncIterator[Stage]:
    """`gogeta serve` and `passivator` on an etcd and a Docker engine of the demo's own."""
    # They need packages that only development has; `make demo-docker` installs those.
    from tests.rig.docker import DockerEngine  # noqa: PLC0415
    from tests.rig.etcd import EtcdServer  # noqa: PLC0415

    _need_programs()
    with _run_folder() as folder, contextlib.ExitStack() as parts:
        etcd = EtcdServer(folder)
        parts.callback(etcd.remove)
        engine = DockerEngine(folder)
        parts.callback(engine.remove)
        try:
            screen.say("etcd: starting one of the demo's own")
            etcd.start()
            screen.say("Docker: starting an engine of the demo's own, and making the images")
            engine.start()
            engine.make_images()
            engine.make_python_image()
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            raise StepFailedError(f"the parts do not start here: {error}") from error
        stage = Stage(*_ports(screen, port), etcd.registry_url)
        declared = folder.path / "tenants.yaml"
        template = string.Template((HERE / "tenants-docker.yaml").read_text(encoding="utf-8"))
        declared.write_text(template.substitute(apps=HERE / "apps"), encoding="utf-8")
        parts.enter_context(_ended(stage))
        await _start(folder, stage, "gogeta", "serve", *_serving(stage))
        admin = f"127.0.0.1:{_a_port(_FIRST_CONTROLLER_ADMIN)}"
        driver = ["--driver", "docker", "--docker-host", engine.url]
        await _start(folder, stage, "passivator", "--admin", admin, "--registry", stage.registry, *driver)
        _apply(folder, stage, declared)
        yield stage


@contextlib.contextmanager
def _run_folder() -> Iterator[RunFolder]:
    clear_dead_runs()
    folder = RunFolder()
    try:
        yield folder
    finally:
        folder.clear()


@contextlib.contextmanager
def _ended(stage: Stage) -> Iterator[None]:
    """End the programs in the end, the last one started first, and make sure that they went in an orderly way."""
    try:
        yield
    finally:
        for program in reversed(stage.programs):
            program.end(grace=_STOP_LIMIT)


async def _start(folder: RunFolder, stage: Stage, name: str, *arguments: str | Path) -> None:
    program = Program(
        [resolve(name), *arguments],
        folder=folder.subfolder(name),
        environment=folder.environment(),
        name=name,
    )
    stage.programs.append(program)
    deadline = time.monotonic() + _START_LIMIT
    port = stage.port if name == "gogeta" else int(str(arguments[1]).rpartition(":")[2])
    while not accepts(port):
        if not program.running:
            raise StepFailedError(f"{name} has ended by itself")
        if time.monotonic() > deadline:
            raise StepFailedError(f"{name} does not listen on port {port} after {_START_LIMIT:.0f} s")
        await asyncio.sleep(0.05)


def _apply(folder: RunFolder, stage: Stage, declared: Path) -> None:
    command: list[str | Path] = [resolve("gogeta"), "apply", "-f", declared, "--registry", stage.registry]
    applied = subprocess.run(command, env=folder.environment(), capture_output=True, text=True, check=False, timeout=30)
    if applied.returncode:
        raise StepFailedError(f"gogeta apply ended with {applied.returncode}: {applied.stderr.strip()}")


def _serving(stage: Stage) -> list[str]:
    return [
        *("--listen", f"127.0.0.1:{stage.port}"),
        *("--admin", f"127.0.0.1:{stage.admin}"),
        *("--registry", stage.registry),
        # Ctrl-C should not wait for a chat that is open in a browser.
        *("--drain-timeout", "2s"),
    ]


def _ports(screen: Screen, wanted: int | None) -> tuple[int, int]:
    """The proxy's port and the admin port: the usual ones, or others where those are taken."""
    if wanted is not None and not _is_free(wanted):
        raise StepFailedError(f"port {wanted} is taken")
    port, admin = wanted or _a_port(_FIRST_PORT), _a_port(_FIRST_ADMIN)
    if wanted is None and port != _FIRST_PORT:
        screen.say(f"Port {_FIRST_PORT} is taken here: using {port}.", style="yellow")
    if admin != _FIRST_ADMIN:
        screen.say(f"Port {_FIRST_ADMIN} is taken here: using {admin} for the admin listener.", style="yellow")
    return port, admin


def _a_port(preferred: int) -> int:
    return preferred if _is_free(preferred) else free_port()


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do: a port whose last connections are still being forgotten is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _need_programs() -> None:
    if os.geteuid() != 0:
        raise StepFailedError("a Docker engine of the demo's own takes root; `make demo` needs neither")
    for program, package in _PACKAGES.items():
        try:
            resolve(program)
        except FileNotFoundError:
            raise StepFailedError(f"there is no program {program} here; Debian has it in {package}") from None
