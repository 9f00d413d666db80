"""The README's quick start, exactly as printed, in a clean clone. Runs last of all."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.rig.ports import accepts, free_port
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]


def quick_start() -> list[str]:
    """The commands of the README's first block, without what the reader has done already (git clone, cd)."""
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"## Quick start\n.*?```sh\n(.*?)```", readme, re.DOTALL)
    assert block, "the README has a quick start"
    lines = [line.split("  #")[0].strip() for line in block[1].splitlines()]
    return [line for line in lines if line and not line.startswith(("git clone", "cd "))]


def clone(folder: Path) -> Path:
    """The last commit of this checkout, as somebody else gets it."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder / "gogeta"], check=True, timeout=60)
    return folder / "gogeta"


def test_the_two_commands_work_as_printed(processes: ProcessRack, tmp_path: Path) -> None:
    commands = quick_start()
    assert len(commands) == 2, commands
    checkout = clone(tmp_path)
    # As in a fresh shell: nothing of this run's environment leads to this checkout.
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
    environment = {"PATH": path, "VIRTUAL_ENV": ""}

    played = processes.start("bash", "-c", commands[0], cwd=checkout, env=environment)
    assert played.wait(timeout=240) == 0, played.output()
    told = played.output()
    for step in (
        "plain asleep: nothing of it runs",
        "plain a program's request: held while it starts, then answered",
        "slow  a browser's request: the starting page",
        "slow  the page has loaded itself again: the application",
        "chat  a WebSocket: held while it starts, then open",
        "chat  11 s of silence with the WebSocket open: awake",
        "http://plain.localhost:",
    ):
        assert step in told, told
    assert len(re.findall(r"asleep again", told)) == 4, told

    port, admin = free_port(), free_port()
    listening = {"GOGETA_LISTEN": f"127.0.0.1:{port}", "GOGETA_ADMIN": f"127.0.0.1:{admin}"}
    serving = processes.start("bash", "-c", f"exec {commands[1]}", cwd=checkout, env={**environment, **listening})
    deadline = time.monotonic() + 20
    while not accepts(port):
        assert serving.running, serving.output()
        assert time.monotonic() < deadline, serving.output()
        time.sleep(0.05)
    answer = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "-H", "Host: plain.localhost", f"http://127.0.0.1:{port}/"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "A plain site" in answer.stdout
    serving.terminate()
    assert serving.wait(timeout=20) == 0
    left = subprocess.run(
        ["git", "status", "--porcelain"], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout
    assert left == "", "what the programs write here is ignored by git"
