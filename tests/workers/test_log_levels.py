"""Levels of logs with several workers: the supervisor passes them on, also to those that come later."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.rig.programs import ProcessRack
from tests.workers.test_access_log import Served
from tests.workers.test_supervisor import _until

pytestmark = pytest.mark.e2e


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_workers_are_told_and_so_are_those_that_replace_them(processes: ProcessRack, tmp_path: Path) -> None:
    served = Served(processes, tmp_path, "--workers=2", "--log-level=warning")
    said = "log levels are changed: debug"
    url = f"{served.admin}/api/v1/log-levels"
    with httpx.Client(trust_env=False) as client:
        assert client.get(url).json() == {"level": "warning", "loggers": {}}
        assert client.put(url, json={"level": "debug"}).status_code == 200
        _until("the supervisor and both workers say so", lambda: served.process.stderr().count(said) == 3)
        before = children(served.process.pid)
        os.kill(min(before), signal.SIGKILL)
        _until("the one that replaces it says so, too", lambda: served.process.stderr().count(said) == 4)
        os.kill(served.process.pid, signal.SIGUSR2)
        _until("back", lambda: served.process.stderr().count("log levels are changed: warning") == 3)
        assert client.get(url).json()["level"] == "warning"
    served.process.terminate()
    assert served.process.wait(timeout=15) == 0


def test_without_opentelemetry_nothing_is_started_and_the_error_says_why(
    processes: ProcessRack, tmp_path: Path
) -> None:
    hidden = tmp_path / "opentelemetry"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('hidden by a test')\n")
    for program in (("gogeta", "serve", "--listen=127.0.0.1:0"), ("passivator",)):
        done = processes.run(
            *program,
            "--admin=127.0.0.1:0",
            f"--registry=embedded:{tmp_path / 'registry.db'}",
            "--tracing=http://127.0.0.1:4318",
            env={"PYTHONPATH": str(tmp_path)},
        )
        assert done.returncode != 0
        assert "OpenTelemetry is not installed" in done.stderr
        assert "gogeta[tracing]" in done.stderr
