"""A run leaves nothing behind, however it ends, and says what it could not test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rig.missing import missing
from tests.rig.run_folder import clear_dead_runs, marked_processes

ROOT = Path(__file__).resolve().parents[2]

USES_EVERYTHING = """
import json, time, pathlib

def test_all_parts(run_folder, processes, etcd, docker, request):
    etcd.put("a", "1")
    docker.request("POST", "/networks/create", body={"Name": "n1", "Driver": "bridge"})
    docker.run("bb:1", "sleep", "1000", name="t1", options={"HostConfig": {"NetworkMode": "n1", "Memory": 64 << 20}})
    processes.start("sleep", "1000")
    notes = {"folder": str(run_folder.path), "bridge": docker.bridge}
    pathlib.Path("NOTES").write_text(json.dumps(notes))
    WHAT_NEXT
"""


def inner_run(folder: Path, test: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A pytest run of its own over one test file, with this project's settings and fixtures."""
    (folder / "test_inner.py").write_text(test.replace('"NOTES"', repr(str(folder / "notes"))))
    command: list[str | Path] = [
        *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
        *("-c", ROOT / "pyproject.toml", "--rootdir", folder, folder),
    ]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    return subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def interfaces() -> set[str]:
    """The network interfaces of this machine."""
    return {link.name for link in Path("/sys/class/net").iterdir()}


def need_root() -> None:
    """Skip where no engine can run."""
    if os.geteuid() != 0:
        missing("docker", "running an engine takes root")


@pytest.mark.docker
@pytest.mark.etcd
def test_a_run_that_ends_leaves_nothing(tmp_path: Path) -> None:
    need_root()
    run = inner_run(tmp_path, USES_EVERYTHING.replace("WHAT_NEXT", ""))
    output, _ = run.communicate(timeout=50)
    assert run.returncode == 0, output
    noted = json.loads((tmp_path / "notes").read_text())
    folder = Path(noted["folder"])
    assert not folder.exists()
    assert list(marked_processes(folder)) == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/{folder.name}")) == []
    assert noted["bridge"] not in interfaces()


@pytest.mark.docker
@pytest.mark.etcd
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    need_root()
    run = inner_run(tmp_path, USES_EVERYTHING.replace("WHAT_NEXT", "time.sleep(50)"))
    deadline = time.monotonic() + 40
    notes = tmp_path / "notes"
    while not notes.exists() and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.05)
    time.sleep(0.1)
    noted = json.loads(notes.read_text())
    folder = Path(noted["folder"])
    run.send_signal(signal.SIGKILL)
    run.communicate()
    # The engine, its container, etcd and `sleep`, at the least.
    assert len(list(marked_processes(folder))) >= 5
    assert noted["bridge"] in interfaces()

    clear_dead_runs()

    assert not folder.exists()
    assert list(marked_processes(folder)) == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/{folder.name}")) == []
    assert noted["bridge"] not in interfaces()


WANTS_A_PART = """
from tests.rig.missing import missing

def test_a():
    missing("a part", "it is not here")

def test_b():
    missing("a part", "it is not here")

def test_c():
    pass
"""


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("1", 1)])
def test_a_missing_part_is_told_and_fails_in_ci(tmp_path: Path, ci: str, status: int) -> None:
    run = inner_run(tmp_path, WANTS_A_PART, {"CI": ci})
    output, _ = run.communicate(timeout=30)
    assert "not run: 2 tests for want of a part (it is not here)" in output
    assert run.returncode == status, output
