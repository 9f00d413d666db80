"""The programs of a scenario: etcd, some gogeta, a passivator that may be killed, Docker if asked for; and tenants."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.lifecycle import wire
from bench.lifecycle.ledger import Ledger, read_ledger
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.kit.setting_values import parse_registry
from gogeta.registry.opening import open_store
from gogeta.registry.store import Store
from gogeta.settings import RegistrySettings
from tests.rig.docker import PYTHON_IMAGE, DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.ports import free_port
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder, clear_dead_runs

APPLICATION: Final = Path(__file__).with_name("application.py")
_CONTAINER_PORT: Final = 8000
_STARTING: Final = 60.0


class LifecycleStage(contextlib.AbstractContextManager["LifecycleStage"]):
    """Starts them when it is entered, on ports and in folders of its own; all are gone when it is left."""

    def __init__(
        self,
        *,
        driver: str = "process",
        proxies: int = 2,
        serve: Sequence[str] = (),
        passivate: Sequence[str] = (),
    ) -> None:
        """``serve`` and ``passivate`` are further options of gogeta and of passivator."""
        self.driver = driver
        self.ports = [free_port() for _ in range(proxies)]
        self.admins = [free_port() for _ in range(proxies)]
        self.proxies: list[Program] = []
        self.passivator_admin = free_port()
        self._serve, self._passivate = tuple(serve), tuple(passivate)
        self._parts = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as parts:
            self._start(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def _start(self, parts: contextlib.ExitStack) -> None:
        clear_dead_runs()
        self.folder = RunFolder()
        parts.callback(self.folder.clear)
        self.ledger_path = self.folder.subfolder("ledger") / "ledger"
        self.etcd = EtcdServer(self.folder)
        parts.callback(self.etcd.remove)
        self.etcd.start()
        self.engine: DockerEngine | None = None
        if self.driver == "docker":
            self.engine = engine = DockerEngine(self.folder)
            parts.callback(engine.remove)
            engine.start()
            engine.make_python_image()
        for port, admin in zip(self.ports, self.admins, strict=True):
            listening = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
            program = self._program("gogeta", ["serve", *listening, *self._serve])
            parts.callback(program.end)
            program.wait_for_port(port, timeout=_STARTING)
            self.proxies.append(program)
        parts.callback(self._end_passivator)
        self.start_passivator()

    def _program(self, name: str, arguments: Sequence[str]) -> Program:
        return Program(
            [resolve(name), *arguments, "--registry", self.etcd.registry_url, "--log-level", "warning"],
            folder=self.folder.subfolder(name),
            environment=self.folder.environment(),
            cwd=self.folder.path,
            name=name,
        )

    def _end_passivator(self) -> None:
        # The last of several, it may be.
        self.passivator.end()

    def start_passivator(self) -> None:
        """Start it, and wait until its admin listener accepts."""
        arguments = ["--admin", f"127.0.0.1:{self.passivator_admin}", "--driver", self.driver, *self._passivate]
        arguments += ["--state-dir", str(self.folder.path / "state")]
        if self.engine is not None:
            arguments += ["--docker-host", self.engine.url]
        self.passivator = self._program("passivator", arguments)
        self.passivator.wait_for_port(self.passivator_admin, timeout=_STARTING)

    def store(self) -> Store:
        """The registry, as our programs open it. Whoever asks closes it."""
        return open_store(RegistrySettings(registry=parse_registry(self.etcd.registry_url)))

    async def known(self, names: Iterable[str]) -> None:
        """Return when each proxy knows these tenants: they hear of a declaration a moment after it was written.

        What is fetched in advance wakes nobody, and is answered with another status than a host that is not known.
        """
        async with asyncio.timeout(_STARTING):
            for port, name in itertools.product(self.ports, names):
                while await _status(port, f"{name}.localhost") == 404:  # noqa: ASYNC110 - another program's state
                    await asyncio.sleep(0.02)

    def ledger(self) -> Ledger:
        """What the applications have written so far."""
        return read_ledger(self.ledger_path)

    def tenant(self, name: str, *, environment: dict[str, str] | None = None, **fields: object) -> Tenant:
        """A tenant that runs the application of the scenarios; ``fields`` are those of tenants.yaml."""
        env = {"NAME": name, "LEDGER": str(self.ledger_path), **(environment or {})}
        if self.engine is not None:
            command = ["python3", "-I", "-S", str(APPLICATION)]
            folders = [
                f"{self.ledger_path.parent}:{self.ledger_path.parent}",
                f"{APPLICATION.parent}:{APPLICATION.parent}:ro",
            ]
            env |= {"HOST": "0.0.0.0", "PORT": str(_CONTAINER_PORT)}  # noqa: S104 - inside the container
            how: dict[str, object] = {
                "port": _CONTAINER_PORT,
                "docker": {"image": PYTHON_IMAGE, "command": command, "env": env, "volumes": folders},
            }
        else:
            how = {"process": {"command": [sys.executable, "-I", "-S", str(APPLICATION)], "env": env}}
        return read_tenant({"name": name, "hosts": [f"{name}.localhost"], **how, **fields}, what=name)


async def _status(port: int, host: str) -> int:
    async with wire.connected(port) as (reader, writer):
        writer.write(wire.request("GET", "/", host, "Sec-Purpose: prefetch"))
        return (await wire.read_head(reader)).status
