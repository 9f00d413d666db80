"""The images are built and run by a real engine, and deploy/compose brings a whole system up from them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.rig.docker import DockerEngine
from tests.rig.images import CACHE, program_image, python_base
from tests.rig.missing import missing
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, resolve

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BASE, PROXY, CONTROLLER = "base:1", "gogeta:test", "passivator:test"
IDLE = 4


@dataclass(frozen=True)
class Docker:
    """Docker's own command line, on the engine of the tests."""

    engine: DockerEngine

    def __call__(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [resolve("docker"), *arguments],
            env={**os.environ, "DOCKER_HOST": self.engine.url, "DOCKER_BUILDKIT": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0 or not check, f"docker {arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, image: str, program: str) -> subprocess.CompletedProcess[str]:
        """Run a program with the Python of an image."""
        return self(
            "run", "--rm", "--network=none", "--entrypoint=/opt/gogeta/bin/python3", image, "-c", program, check=False
        )


def _wheels() -> Path:
    """What the programs run on, as wheels for this Python; fetched once for each set of requirements."""
    requirements = ROOT / "requirements" / "run.txt"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:20]
    folder = CACHE / f"wheels-{key}"
    if not folder.exists():
        draft = folder.with_suffix(f".{os.getpid()}")
        fetched = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary", ":all:"),
                *("--dest", draft, "-r", requirements),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if fetched.returncode:
            missing("wheels", f"pip cannot fetch them: {fetched.stderr.strip().splitlines()[-1][:200]}")
        draft.rename(folder)
    return folder


@pytest.fixture(scope="module")
def docker_cli(docker_of_the_run: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """The engine with both images, built as the page on deployment says, from a base that is made here."""
    engine = docker_of_the_run
    docker = Docker(engine)
    context = tmp_path_factory.mktemp("context") / "gogeta"
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    # What is committed or about to be: as in a checkout of somebody else.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, listed)):
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            (context / name).write_bytes((ROOT / name).read_bytes())
    wheels = context / "deploy/docker/wheels"
    wheels.mkdir()
    for wheel in _wheels().iterdir():
        shutil.copyfile(wheel, wheels / wheel.name)
    engine.import_image(BASE, python_base(resolve("busybox")), ("ENV PYTHONPATH=/site", "ENV PATH=/bin"))
    for target, name in (("proxy", PROXY), ("controller", CONTROLLER)):
        docker(
            *("build", "--network=none", "--build-arg", f"BASE={BASE}", "--build-arg", "PIP_NO_INDEX=1"),
            *("--file", context / "deploy/docker/Dockerfile", "--target", target, "--tag", name, context),
        )
    yield docker
    engine.clear()


def test_they_are_small_and_nobody_in_them_is_root(docker_cli: Docker) -> None:
    base = json.loads(docker_cli("image", "inspect", BASE).stdout)[0]
    for name in (PROXY, CONTROLLER):
        (image,) = json.loads(docker_cli("image", "inspect", name).stdout)
        added = (image["Size"] - base["Size"]) / 1e6
        print(f"{name}: {added:.0f} MB on top of its base")  # noqa: T201 - pytest shows it
        assert added < 100
        assert image["Config"]["User"] == "10001:10001"
        assert image["Config"]["Healthcheck"]["Test"][0] == "CMD"
        who = docker_cli.python(name, "import os; print(os.getuid(), os.getgid(), os.access('/opt/gogeta', os.W_OK))")
        assert who.stdout.split() == ["10001", "10001", "False"], who.stderr


def test_the_proxy_has_nothing_that_speaks_to_docker(docker_cli: Docker) -> None:
    for module in ("passivator", "aiodocker", "docker", "pip", "hatchling"):
        found = docker_cli.python(PROXY, f"import importlib.util as u; print(u.find_spec({module!r}))")
        # The base of this test has pip on PYTHONPATH; a Python image has it in its own folder. Neither is in ours.
        assert found.stdout.strip() == "None" or "/opt/gogeta" not in found.stdout, found
    assert "aiodocker" in docker_cli.python(CONTROLLER, "import aiodocker, passivator.app; print(aiodocker)").stdout
    said = docker_cli("run", "--rm", "--network=none", PROXY, "--version")
    assert "gogeta" in said.stdout


def test_a_container_that_does_not_answer_is_unhealthy(docker_cli: Docker) -> None:
    healthy = ("--entrypoint=/opt/gogeta/bin/python3", "--env", "GOGETA_ADMIN=127.0.0.1:9901")
    asked = docker_cli(
        "run", "--rm", "--network=none", *healthy, PROXY, "/opt/gogeta/healthy.py", "GOGETA_ADMIN", check=False
    )
    assert (asked.returncode, asked.stderr) == (1, "")


def _compose() -> list[str]:
    if subprocess.run([resolve("docker"), "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [str(resolve("docker")), "compose"]
    try:
        return [str(resolve("docker-compose"))]
    except FileNotFoundError:
        missing("docker compose", "Debian has it in docker-compose")


class Composed:
    """deploy/compose/compose.yaml, up on the engine of the tests, at free ports."""

    def __init__(self, engine: DockerEngine) -> None:
        self.engine = engine
        self.front, self.etcd, self.one_admin = free_port(), free_port(), free_port()
        self._variables: Mapping[str, str] = {
            "DOCKER_HOST": engine.url,
            "DOCKER_SOCKET": str(engine.socket),
            "ETCD_IMAGE": "etcd:test",
            "HAPROXY_IMAGE": "haproxy:test",
            "GOGETA_IMAGE": PROXY,
            "PASSIVATOR_IMAGE": CONTROLLER,
            "FRONT_LISTEN": f"127.0.0.1:{self.front}",
            "ETCD_PORT": str(self.etcd),
            "GOGETA_ONE_ADMIN_PORT": str(self.one_admin),
            **{
                f"{name}_PORT": str(free_port())
                for name in (
                    *("ETCD_PEER", "GOGETA_ONE", "GOGETA_TWO", "GOGETA_TWO_ADMIN"),
                    *("PASSIVATOR_ONE_ADMIN", "PASSIVATOR_TWO_ADMIN"),
                )
            },
        }

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*_compose(), "-p", "system", "-f", ROOT / "deploy/compose/compose.yaml", *arguments],
            env={**os.environ, **self._variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(self, host: str) -> httpx.Response:
        """A request through the one address there is."""
        return httpx.get(f"http://127.0.0.1:{self.front}/", headers={"Host": host}, timeout=40, trust_env=False)


@pytest.fixture
def composed(docker_cli: Docker) -> Iterator[Composed]:
    """The whole system, up."""
    for name in ("etcd", "haproxy"):
        try:
            program = resolve(name)
        except FileNotFoundError:
            missing(name, f"no program {name}")
        docker_cli.engine.import_image(f"{name}:test", program_image(resolve("busybox"), program), ("ENV PATH=/bin",))
    system = Composed(docker_cli.engine)
    try:
        system("up", "-d")
        yield system
        print(system("logs", "--tail=30"))  # noqa: T201 - pytest shows it
    finally:
        system("down", "-v", "-t", "2")


def _until(what: str, reached: object, within: float = 60.0) -> None:
    assert callable(reached)
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.3)


def test_a_tenant_is_woken_through_the_composed_system(
    composed: Composed, processes: ProcessRack, tmp_path: Path
) -> None:
    engine = composed.engine
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text(
        f"tenants:\n  - name: acme\n    hosts: [acme.test]\n    port: 80\n    idle_timeout: {IDLE}s\n"
        "    docker: {image: 'bb:1', command: [httpd, -f, -p, '80', -h, /www]}\n"
    )
    registry = ("--registry", f"etcd://127.0.0.1:{composed.etcd}")

    def applied() -> bool:
        return processes.run("gogeta", "apply", "-f", tenants, *registry).returncode == 0

    _until("etcd takes the declaration", applied)

    def answers() -> bool:
        try:
            return composed.ask("acme.test").status_code == 200
        except httpx.HTTPError:
            return False

    # At first the parts may still be on their way; from then on every request counts.
    _until("the tenant answers", answers)
    assert "Hello from busybox" in composed.ask("acme.test").text
    assert engine.state("gogeta-acme") == "running"
    _until("it sleeps", lambda: engine.state("gogeta-acme") == "exited")
    assert "Hello from busybox" in composed.ask("acme.test").text, "woken"

    # Each may go while the others serve.
    lost = []
    for service in ("gogeta1", "passivator1"):
        composed("kill", "-s", "SIGTERM", service)
        lost += [answer for _ in range(20) if (answer := composed.ask("acme.test").status_code) != 200]
    assert lost == []

    rights = {name: engine.inspect(name) for name in engine.containers() if name != "gogeta-acme"}
    holding = [
        name for name, seen in rights.items() if any(mount["Source"] == str(engine.socket) for mount in seen["Mounts"])
    ]
    assert len(holding) == 1, "one part alone has the engine's socket"
    assert "filter" in holding[0]
    assert rights[holding[0]]["HostConfig"]["NetworkMode"] == "none"
    assert all(
        seen["HostConfig"]["CapDrop"] == ["ALL"] and seen["HostConfig"]["ReadonlyRootfs"] for seen in rights.values()
    )
    healthy = [name for name in rights if "gogeta2" in name or "passivator2" in name]
    assert len(healthy) == 2
    _until(
        "the images' own health checks are content",
        lambda: all(engine.inspect(name)["State"]["Health"]["Status"] == "healthy" for name in healthy),
    )
