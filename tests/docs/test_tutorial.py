"""docs/tutorial.md from top to bottom, in one shell, as a reader types it; each answer is compared with the page's."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.rig.docker import DockerEngine
from tests.rig.etcd import need_etcd
from tests.rig.ports import free_port
from tests.rig.programs import resolve
from tests.rig.run_folder import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
PORTS = ("8080", "8081", "9901", "9911", "9902", "2379", "2380")
# What only looks may be done again until it shows what it shall, as a reader would.
LOOKS = re.compile(r"(gogeta (tenants|explain|logs)|curl|sleep|echo) ?")


@dataclass(frozen=True)
class Step:
    """What to type, and what is to be seen."""

    line: int
    commands: str
    expected: str


def steps() -> list[Step]:
    """The pairs of boxes of the page."""
    text = PAGE.read_text()
    found = [
        Step(text[: pair.start()].count("\n") + 2, pair[1], pair[2])
        for pair in re.finditer(r"```sh\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    ]
    assert len(found) == text.count("```sh"), "each box of commands has one with what comes"
    return found


def matches(expected: str, shown: str) -> bool:
    """Whether this was shown; ``...`` stands for anything, also over several lines. Runs of spaces are one."""
    lines = [re.sub(r" +", " ", line).strip() for line in expected.strip().splitlines()]
    pattern = r"\s*".join(".*?".join(re.escape(part) for part in line.split("...")) for line in lines)
    return re.fullmatch(pattern, re.sub(r" +", " ", shown).strip(), re.DOTALL) is not None


def test_what_counts_as_shown() -> None:
    assert matches("a  b\nc ...", "a b\nc  and more")
    assert matches("a\n...\nz", "a\nb\nc\nz")
    assert not matches("a\nb", "a\nc")
    assert not matches("a ... z", "a b c")
    assert not matches("a", "a b")


_MAKES_OWN: Final = frozenset({"MAKELEVEL", "MAKEFLAGS", "MFLAGS", "MAKE_TERMOUT", "MAKE_TERMERR"})


class Shell:
    """A bash that is typed into."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=ROOT,
            env={**environment, "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def type(self, commands: str, within: float = 120.0) -> str:
        """What is shown until the next prompt."""
        assert self._process.stdin
        end = f"end-{uuid.uuid4().hex}"
        self._process.stdin.write(f"{commands}\necho; echo {end}\n")
        self._process.stdin.flush()
        shown = ""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.1))
            except queue.Empty:
                raise AssertionError(f"no end within {within:g} s of:\n{commands}\n--- shown:\n{shown}") from None
            assert line is not None, f"the shell ended:\n{shown}"
            if line.strip() == end:
                return shown
            shown += line

    def end(self) -> None:
        """Nothing that was started here stays."""
        if self._process.poll() is None:
            assert self._process.stdin
            self._process.stdin.write("kill $(jobs -p) 2>/dev/null; wait; exit\n")
            self._process.stdin.close()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, 9)
                self._process.wait(10)
        self._reader.join(10)
        assert self._process.stdout
        self._process.stdout.close()


@pytest.fixture
def docker_with_busybox(docker: DockerEngine) -> Iterator[DockerEngine]:
    """An engine in which the image that the page names is there."""
    docker.request("POST", "/images/bb:1/tag", params={"repo": "busybox", "tag": "latest"})
    yield docker
    docker.request("DELETE", "/images/busybox:latest")


@pytest.fixture
def ports() -> dict[str, str]:
    """For each port of the page a free one."""
    return {port: str(free_port()) for port in PORTS}


@pytest.fixture
def shell(
    docker_with_busybox: DockerEngine, run_folder: RunFolder, tmp_path: Path, ports: dict[str, str]
) -> Iterator[Shell]:
    """A reader's shell; the engine is that of the tests, and the ports that are not typed are free ones, too."""
    need_etcd()
    environment = {
        **run_folder.environment(),
        "PASSIVATOR_DOCKER_HOST": docker_with_busybox.url,
        "GOGETA_LISTEN": f"127.0.0.1:{ports['8080']}",
        "GOGETA_ADMIN": f"127.0.0.1:{ports['9901']}",
        "TERM": "dumb",
    }
    environment["PATH"] = os.pathsep.join([environment.get("PATH", os.defpath), str(resolve("etcd").parent)])
    # A `make` in the tutorial is a person's, also where these tests are run by one.
    environment = {name: value for name, value in environment.items() if name not in _MAKES_OWN}
    made = Shell(tmp_path, environment)
    yield made
    made.end()


def test_the_page_is_true(shell: Shell, ports: dict[str, str]) -> None:
    def here(text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: ports[found[0]], text)

    for step in steps():
        commands, expected = here(step.commands), here(step.expected)
        shown = shell.type(commands)
        again = time.monotonic() + 40
        only_looks = all(LOOKS.match(line) for line in commands.splitlines())
        while not matches(expected, shown) and only_looks and time.monotonic() < again:
            time.sleep(1)
            shown = shell.type(commands)
        assert matches(expected, shown), (
            f"{PAGE.name}:{step.line}\n{step.commands}\n--- expected\n{step.expected}\n--- shown\n{shown}"
            f"\n--- logs\n{shell.type('tail -n 20 *.log')}"
        )
