"""Several workers as real processes, behind one listener and one admin listener."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack

pytestmark = pytest.mark.e2e


def _get(url: str, host: str = "127.0.0.1") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Host": host})  # noqa: S310 - our own listener
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - ditto
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _until(what: str, condition: object, timeout: float = 20.0) -> None:
    assert callable(condition)
    give_up = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < give_up, f"not within {timeout} s: {what}"
        time.sleep(0.05)


def _workers_of(supervisor: int) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if re.search(rf"^PPid:\t{supervisor}$", text, re.MULTILINE):
            found.add(int(status.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Served:
    """`gogeta serve --workers 2` on an empty registry: every host is answered with 404 by a worker."""

    def __init__(self, processes: ProcessRack, folder: Path) -> None:
        self.url, self.admin = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.process = processes.start(
            "gogeta",
            "serve",
            "--workers=2",
            f"--listen={self.url[7:]}",
            f"--admin={self.admin[7:]}",
            f"--registry=embedded:{folder / 'registry.db'}",
        )
        _until("ready", self.ready)

    def ready(self) -> bool:
        try:
            return _get(f"{self.admin}/readyz")[0] == 200
        except OSError:
            return False

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", _get(f"{self.admin}/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture
def served(processes: ProcessRack, tmp_path: Path) -> Served:
    return Served(processes, tmp_path)


def test_the_metrics_are_those_of_all_workers_together(served: Served) -> None:
    assert served.metric("gogeta_workers") == 2
    for _ in range(40):
        # A connection each: the kernel spreads connections, not requests.
        assert _get(served.url, "nobody.test")[0] == 404
    _until("all counted", lambda: served.metric('gogeta_refusals_total{reason="unknown-host"}') == 40)


def test_a_worker_that_dies_is_replaced_and_the_others_serve_on(served: Served) -> None:
    before = _workers_of(served.process.pid)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    _until("noticed", lambda: served.metric("gogeta_worker_restarts_total") == 1)
    assert _get(served.url, "nobody.test")[0] == 404
    _until("replaced", served.ready)
    assert len(_workers_of(served.process.pid) & before) == 1


def test_readiness_names_the_workers_that_are_missing(served: Served) -> None:
    workers = _workers_of(served.process.pid)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    _until("named", lambda: "2 of 2 do not serve yet" in _get(f"{served.admin}/readyz")[1])
    _until("ready again", served.ready)


def test_sigterm_ends_all_of_them(served: Served) -> None:
    workers = _workers_of(served.process.pid)
    served.process.terminate()
    assert served.process.wait(timeout=15) == 0
    assert not any(_alive(pid) for pid in workers)


def test_workers_do_not_outlive_their_supervisor(served: Served) -> None:
    workers = _workers_of(served.process.pid)
    served.process.kill()
    _until("all workers gone", lambda: not any(_alive(pid) for pid in workers))
