"""A whole system of real processes, used as its users do: with curl, with the command line, and by its signals."""

import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.rig.docker import DockerEngine, DockerRefused
from tests.rig.ports import free_port
from tests.rig.programs import Finished, ProcessRack, Program, resolve

APPLICATION = Path(__file__).with_name("application.py")
SETTLE = "200ms"


@dataclass(frozen=True)
class Answer:
    """What curl got."""

    status: int
    """0: no answer at all."""
    headers: dict[str, str]
    """Of the last head, names in lower case."""
    body: bytes
    took: float
    exit: int = 0
    """curl's exit status: not 0 when what it got was not whole."""
    heads: str = ""
    """All heads as they came, interim ones and those of redirects included, and the trailers."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever it is
        """The body as JSON."""
        return json.loads(self.body)


class System:
    """gogeta and passivator on one registry, and the tenants of a test.

    `docker` says that tenants run in that engine; else they are local processes.
    """

    def __init__(self, processes: ProcessRack, registry: str, folder: Path, docker: DockerEngine | None = None) -> None:
        self.registry = registry
        self.folder = folder
        self.docker = docker
        self.port = free_port()
        self.admin = free_port()
        self.passivator_admin = 0
        """Of the passivator that was started last."""
        self._processes = processes
        self._declared: dict[str, str] = {}
        self.gogeta: Program
        self.passivator: Program

    # ------------------------------------------------------------------------------------------------ the programs

    def beside(self) -> "System":
        """Another gogeta of the same system, at addresses of its own; nothing of it runs yet."""
        other = copy.copy(self)
        other.port, other.admin = free_port(), free_port()
        return other

    def serve(
        self, *options: str, wait: bool = True, registry: str | None = None, env: Mapping[str, str] | None = None
    ) -> Program:
        """Start `gogeta serve`; `registry` is another way to the same one."""
        serving = self._serving(registry)
        self.gogeta = self._processes.start("gogeta", "serve", *serving, *options, cwd=self.folder, env=env)
        if wait:
            self.gogeta.wait_for_port(self.port)
        return self.gogeta

    def control(
        self, *options: str, wait: bool = True, registry: str | None = None, env: Mapping[str, str] | None = None
    ) -> Program:
        """Start `passivator`; `registry` is another way to the same one."""
        admin = self.passivator_admin = free_port()
        addresses = ["--admin", f"127.0.0.1:{admin}", "--registry", registry or self.registry]
        self.passivator = self._processes.start(
            "passivator", *addresses, *self._controlling(), *options, cwd=self.folder, env=env
        )
        if wait:
            self.passivator.wait_for_port(admin)
        return self.passivator

    def up(self, *options: str) -> Program:
        """Start `gogeta up` with the tenants declared so far."""
        file = self.write_tenants()
        self.gogeta = self._processes.start(
            "gogeta", "up", "-f", file, *self._serving(), *self._controlling(), *options, cwd=self.folder
        )
        self.gogeta.wait_for_port(self.port)
        return self.gogeta

    def _serving(self, registry: str | None = None) -> list[str]:
        return [
            *("--listen", f"127.0.0.1:{self.port}"),
            *("--admin", f"127.0.0.1:{self.admin}"),
            *("--registry", registry or self.registry),
        ]

    def _controlling(self) -> list[str]:
        common = ["--settle", SETTLE, "--retry-first", "200ms"]
        if self.docker is None:
            return [*common, "--driver", "process", "--state-dir", str(self.folder / "state")]
        return [*common, "--driver", "docker", "--docker-host", self.docker.url]

    # ------------------------------------------------------------------------------------------------ the operator

    def cli(self, *arguments: str | Path, timeout: float = 30.0, env: Mapping[str, str] | None = None) -> Finished:
        """Run a command of `gogeta` on this registry to its end."""
        return self._processes.run(
            "gogeta", *arguments, "--registry", self.registry, cwd=self.folder, timeout=timeout, env=env
        )

    def start_cli(self, *arguments: str | Path) -> Program:
        """Start a command of `gogeta` on this registry that goes on."""
        return self._processes.start("gogeta", *arguments, "--registry", self.registry, cwd=self.folder)

    def declare(
        self,
        name: str,
        *,
        idle: str = "2s",
        delay: float = 0.0,
        wake: str = "{}",
        ready: str = "{}",
        port: int = 8000,
        docker: str | None = None,
        more: str = "",
        command: str = "",
        after: Path | None = None,
    ) -> None:
        """Add a tenant that runs the application, or what `docker` says instead, to the file; `more` are further lines.

        Of local ones: `command` is another program, as YAML; `after` a file that the application waits for.
        """
        if command:
            runs = f"process: {{command: {command}}}"
        elif self.docker is None:
            gate = f", AFTER: {after}" if after is not None else ""
            env = f'{{DELAY: "{delay}", TENANT: {name}, SYSTEM: "{self.folder}"{gate}}}'
            runs = f"process: {{command: [{sys.executable}, {APPLICATION}], env: {env}}}"
        else:
            env = f'{{DELAY: "{delay}", HOST: 0.0.0.0, PORT: "{port}"}}'
            volume = f"{APPLICATION}:/application.py:ro"
            command = "[python, /application.py]"
            runs = f'port: {port}\n    docker: {{image: "py:1", command: {command}, env: {env}, volumes: ["{volume}"]}}'
        if docker is not None:
            runs = f"port: {port}\n    docker: {docker}"
        self._declared[name] = f"""
  - name: {name}
    hosts: [{name}.localhost]
    {runs}
    idle_timeout: {idle}
    stop_grace: 3s
    wake: {wake}
    ready: {ready}
    {more}
"""

    def write_tenants(self) -> Path:
        """The file with all that was declared."""
        file = self.folder / "tenants.yaml"
        file.write_text("tenants:" + "".join(self._declared.values()))
        return file

    def apply(self) -> None:
        """`gogeta apply` of all that was declared."""
        applied = self.cli("apply", "-f", self.write_tenants())
        assert applied.returncode == 0, applied.stderr

    def tenant(self, name: str) -> dict[str, Any]:
        """What `gogeta tenants NAME -o json` says."""
        shown = self.cli("tenants", name, "-o", "json")
        assert shown.returncode == 0, shown.stderr
        data: dict[str, Any] = json.loads(shown.stdout)
        return data

    def until(self, name: str, *states: str, within: float = 15.0) -> dict[str, Any]:
        """The tenant's record as soon as its state is one of these."""
        deadline = time.monotonic() + within
        while True:
            record = self.tenant(name)
            if record["state"] in states:
                return record
            assert time.monotonic() < deadline, (
                f"{name} is {record['state']}, not {states}, after {within:g} s: {record}"
            )
            # Each look is a process of its own: more often would only slow down what is waited for.
            time.sleep(0.5)

    def metric(self, name: str, admin: int | None = None) -> float:
        """One number of this gogeta, or of what listens on another ``admin`` port; 0 when there is none yet."""
        url = f"http://127.0.0.1:{admin or self.admin}/metrics"
        lines = httpx.get(url, timeout=10, trust_env=False).text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    # ------------------------------------------------------------------------------------------------ the visitor

    def curl(
        self, host: str, path: str = "/", *options: str | Path, timeout: float = 30.0, at: str | None = None
    ) -> Answer:
        """Ask for a page with curl; `options` are curl's own, `at` another listener than that of `serve`."""
        # Several may ask at the same time.
        got = Path(tempfile.mkdtemp(prefix="curl-", dir=self.folder))
        body, head = got / "body", got / "head"
        command = [
            *(resolve("curl"), "--silent", "--show-error", "--max-time", f"{timeout:g}"),
            *("--connect-to", f"::{at or f'127.0.0.1:{self.port}'}", "--output", body, "--dump-header", head),
            *("--write-out", "%{http_code} %{time_total}", *options, f"http://{host}:{self.port}{path}"),
        ]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout + 5)
        status, took = ended.stdout.split()
        heads = head.read_bytes().decode().replace("\r", "") if head.exists() else ""
        lines = ("\n" + heads).rpartition("\nHTTP/")[2].splitlines()
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
            if name
        }
        got_body = body.read_bytes() if body.exists() else b""
        return Answer(int(status), headers, got_body, float(took), ended.returncode, heads)

    def url(self, host: str, path: str = "/") -> str:
        """As a browser gets it."""
        return f"http://{host}:{self.port}{path}"

    # ------------------------------------------------------------------------------------------------ behind the scene

    def runs(self, name: str) -> bool:
        """Whether the tenant runs, as the runtime itself says."""
        if self.docker is not None:
            try:
                return self.docker.state(f"gogeta-{name}") == "running"
            except DockerRefused as refused:
                if refused.status != 404:
                    raise
                return False
        return bool(self.pids(name))

    def pids(self, name: str) -> list[int]:
        """The processes of a tenant that is a local one of this very system: others run beside it."""
        ours = {f"TENANT={name}".encode(), f"SYSTEM={self.folder}".encode()}
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(APPLICATION).encode() in command and ours <= set(environment):
                found.append(int(entry.name))
        return found
