"""The access log of `gogeta serve`, alone and with several workers, as real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, Program
from tests.workers.test_supervisor import _get, _until

pytestmark = pytest.mark.e2e


class Served:
    """`gogeta serve` with an access log, on an empty registry: every host is answered with 404."""

    def __init__(self, processes: ProcessRack, folder: Path, *more: str) -> None:
        self.url, self.admin = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.process: Program = processes.start(
            "gogeta",
            "serve",
            f"--listen={self.url[7:]}",
            f"--admin={self.admin[7:]}",
            f"--registry=embedded:{folder / 'registry.db'}",
            *more,
        )
        _until("ready", self.ready)
        self.process.wait_for_port(int(self.url.rpartition(":")[2]))

    def ready(self) -> bool:
        try:
            return _get(f"{self.admin}/readyz")[0] == 200
        except OSError:
            return False

    def metric(self, name: str) -> float:
        for line in _get(f"{self.admin}/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0.0

    def visit(self, count: int) -> None:
        for number in range(count):
            assert _get(f"{self.url}/{number}?secret", "nobody.test")[0] == 404


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_all_workers_write_to_one_file_that_may_be_rotated(processes: ProcessRack, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    served = Served(processes, tmp_path, "--workers=2", f"--access-log={log}")
    served.visit(40)
    _until("all written", lambda: served.metric("gogeta_access_log_written_total") == 40)
    log.rename(tmp_path / "access.log.1")
    _until("made anew", log.exists)
    # Both workers have looked by then, each about once a second.
    _until("used by both", lambda: _opened(log, served.process.pid) == 2)
    served.visit(10)
    served.process.terminate()
    assert served.process.wait(timeout=15) == 0
    rotated, rest = (lines(path.read_text()) for path in (tmp_path / "access.log.1", log))
    assert [len(rotated), len(rest)] == [40, 10]
    assert sorted(line["target"] for line in rotated) == sorted(f"/{number}" for number in range(40))
    assert {line["refusal"] for line in rotated} == {"unknown-host"}


def _opened(path: Path, supervisor: int) -> int:
    """How many children of a process have the file open."""
    count = 0
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        count += any(_same(link, path) for link in Path(f"/proc/{child}/fd").iterdir())
    return count


def _same(link: Path, path: Path) -> bool:
    try:
        return link.samefile(path)
    except OSError:
        return False


def test_standard_output_has_what_was_queued_when_it_ends(processes: ProcessRack, tmp_path: Path) -> None:
    served = Served(processes, tmp_path, "--access-log=-", "--access-log-format=combined", "--access-log-query=keep")
    served.visit(5)
    served.process.terminate()
    assert served.process.wait(timeout=15) == 0
    written = served.process.stdout().splitlines()
    assert [line.split('"')[1] for line in written] == [f"GET /{number}?secret HTTP/1.1" for number in range(5)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_cannot_be_opened_starts_nothing(processes: ProcessRack, tmp_path: Path, workers: int) -> None:
    done = processes.run(
        "gogeta",
        "serve",
        f"--workers={workers}",
        f"--listen=127.0.0.1:{free_port()}",
        f"--admin=127.0.0.1:{free_port()}",
        f"--registry=embedded:{tmp_path / 'registry.db'}",
        f"--access-log={tmp_path}/no/access.log",
    )
    assert done.returncode == 1
    assert "--access-log:" in done.stderr
    assert "cannot be opened: No such file or directory" in done.stderr
    assert "its folder must exist" in done.stderr
