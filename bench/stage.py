"""One scenario's programs: a backend, the proxies in front of it, and the loads that drive them, pinned and ended."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench.cores import Cores, pinned
from tests.rig.ports import free_port
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder

HOST: Final = "bench.localhost"
"""What every request asks for; gogeta routes by it."""
Command = Sequence[str | Path]
_ROOT: Final = Path(__file__).resolve().parents[1]
_STARTING: Final = 30.0


@dataclass(frozen=True)
class Server:
    """A program that listens: a proxy under test or a backend."""

    name: str
    port: int
    program: Program

    @property
    def pid(self) -> int:
        """The first process of its tree."""
        return self.program.pid


class Stage(contextlib.AbstractContextManager["Stage"]):
    """Starts programs in a run folder and ends them when it is left, however that comes about."""

    def __init__(self, folder: RunFolder, cores: Cores) -> None:
        self._folder = folder
        self._parts = contextlib.ExitStack()
        self.cores = cores

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def subfolder(self, name: str) -> Path:
        """A new folder for a program's files."""
        return self._folder.subfolder(name)

    def serve(
        self,
        name: str,
        port: int,
        argv: Command,
        *,
        cores: frozenset[int],
        environment: Mapping[str, str] | None = None,
    ) -> Server:
        """Start a server and wait until it accepts on ``port``. Raises ProgramFailed with its output otherwise."""
        program = self._start(name, argv, cores, environment)
        program.wait_for_port(port, timeout=_STARTING)
        return Server(name, port, program)

    def python_server(self, name: str, module: str, *arguments: object, cores: frozenset[int]) -> Server:
        """Start a module of ours that takes the port it shall listen on as its first argument."""
        port = free_port()
        argv = [sys.executable, "-m", module, str(port), *map(str, arguments)]
        return self.serve(name, port, argv, cores=cores)

    def run(self, argv: Command, *, timeout: float) -> str:
        """Run a program beside the backend to its end; its standard output. AssertionError when it fails."""
        program = self._start(Path(argv[0]).name, argv, self.cores.others, None)
        try:
            status = program.wait(timeout=timeout)
        finally:
            program.end()
        assert status == 0, f"{' '.join(program.argv)} ended with {status}:\n{program.output()}"
        return program.stdout()

    def load(self, module: str, *arguments: object, seconds: float) -> dict[str, Any]:
        """Run a load of ours, that takes about ``seconds``; the figures it prints as JSON."""
        argv = [sys.executable, "-m", f"bench.loads.{module}", *map(str, arguments)]
        figures: dict[str, Any] = json.loads(self.run(argv, timeout=seconds * 2 + 60))
        return figures

    def start_load(self, module: str, *arguments: object) -> Program:
        """Start a load of ours that stays until it is ended."""
        argv = [sys.executable, "-m", f"bench.loads.{module}", *map(str, arguments)]
        return self._start(module, argv, self.cores.others, None)

    def _start(self, name: str, argv: Command, cores: frozenset[int], environment: Mapping[str, str] | None) -> Program:
        with pinned(cores):
            program = Program(
                [resolve(argv[0]), *argv[1:]],
                folder=self.subfolder(name),
                environment={**self._folder.environment(), "PYTHONPATH": str(_ROOT), **(environment or {})},
                cwd=self._folder.path,
                name=name,
            )
        self._parts.callback(program.end)
        return program


def raise_descriptor_limit() -> int:
    """Allow this process and its children as many open files as this machine lets us; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0:
        # Root in a container may lack the capability for it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, 65536), max(most, 65536)))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def first_line(argv: Command) -> str:
    """The first line that a program prints, on either output: how most tell their version."""
    ended = subprocess.run([str(part) for part in argv], check=False, capture_output=True, text=True, timeout=30)
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    return lines[0] if lines else ""
