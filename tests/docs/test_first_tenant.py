"""docs/first-tenant.md from top to bottom, in one shell, beside `gogeta up --driver docker`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, boxes
from tests.docs.test_tutorial import LOOKS, Shell, docker_with_busybox, matches
from tests.rig.docker import DockerEngine
from tests.rig.ports import free_port
from tests.rig.run_folder import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180)]

PAGE = DOCS / "first-tenant.md"
__all__ = ["docker_with_busybox"]


@pytest.fixture
def port() -> str:
    """Where visitors are served."""
    return str(free_port())


@pytest.fixture
def shell(
    docker_with_busybox: DockerEngine,
    run_folder: RunFolder,
    tmp_path: Path,
    port: str,
) -> Iterator[Shell]:
    """A shell in a folder of its own; gogeta runs beside it."""
    admin = free_port()
    given = run_folder.environment()
    environment = {
        **given,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), given.get("PATH", os.defpath))),
        "GOGETA_DOCKER_HOST": docker_with_busybox.url,
        "GOGETA_LISTEN": f"127.0.0.1:{port}",
        "GOGETA_ADMIN": f"127.0.0.1:{admin}",
        "TERM": "dumb",
    }
    made = Shell(tmp_path, environment)
    made.type(f"cd {tmp_path}\ngogeta up --driver docker > up.log 2>&1 &")
    made.type(f"curl -s --retry 30 --retry-delay 1 --retry-all-errors --fail http://127.0.0.1:{admin}/readyz")
    yield made
    made.type("gogeta rm acme --yes; sleep 2")
    made.end()


def test_the_page_is_true(shell: Shell, port: str) -> None:
    typed, answers = list(boxes(PAGE, "sh")), list(boxes(PAGE, "text"))
    assert len(typed) == len(answers) > 4, "each box of commands has one with what comes"
    for box, answer in zip(typed, answers, strict=True):
        commands = re.sub(r"\b8080\b", port, box.text)
        shown = shell.type(commands)
        give_up = time.monotonic() + 20
        only_looks = all(LOOKS.match(line) for line in commands.splitlines())
        while not matches(answer.text, shown) and only_looks and time.monotonic() < give_up:
            time.sleep(1)
            shown = shell.type(commands)
        log = "" if matches(answer.text, shown) else shell.type("tail -n 20 up.log")
        assert not log, f"{box}\n{box.text}\n--- expected\n{answer.text}\n--- shown\n{shown}\n--- log\n{log}"
