"""Short versions of the scenarios of the life cycle: the real programs, etcd, and nothing lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdServer
from tests.rig.programs import ProcessRack

ROOT = Path(__file__).resolve().parents[2]

# Each takes a quarter of a minute where nothing else runs.
pytestmark = [pytest.mark.e2e, pytest.mark.etcd, pytest.mark.timeout(180)]


def bench(processes: ProcessRack, *arguments: str) -> dict[str, Any]:
    """The figures of a scenario in which nothing went wrong."""
    ended = processes.run("python", "-m", "bench", *arguments, "--json", cwd=ROOT, timeout=170)
    assert ended.stdout, ended.stderr
    figures: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, figures["violations"], figures.get("lost", [])) == (0, [], []), ended.stderr
    return figures


def test_no_request_is_lost(processes: ProcessRack, etcd: EtcdServer) -> None:
    figures = bench(processes, "zero-lost", "--tenants", "5", "--cycles", "25", "--idle", "1", "--minutes", "2")
    assert figures["cycles"] >= 25
    assert figures["passivations"].keys() >= {"idle", "sleep"}, "both ways of falling asleep were seen"
    assert figures["verdicts"]["own"] > 50
    assert figures["verdicts"]["own"] + figures["verdicts"]["page"] == sum(figures["requests"].values())
    assert figures["posts"] > 0
    assert figures["requests"]["slow-bulk"] + figures["requests"]["long-socket"] > 2, "longer than idle timeouts"
    assert figures["wake_ms"], "somebody came while a tenant slept"


def test_no_request_is_lost_when_passivator_is_killed_and_etcd_restarted(
    processes: ProcessRack, etcd: EtcdServer
) -> None:
    faults = ("--kill-passivator", "5", "--restart-etcd", "8")
    figures = bench(processes, "zero-lost", "--tenants", "5", "--cycles", "8", "--idle", "1", "--minutes", "2", *faults)
    assert figures["faults"]["passivator killed"] >= 1
    assert figures["faults"]["etcd restarted"] >= 1
    assert figures["verdicts"]["own"] > 20


@pytest.mark.docker
def test_no_request_is_lost_with_docker(processes: ProcessRack, etcd: EtcdServer, docker: DockerEngine) -> None:
    figures = bench(
        processes,
        "zero-lost",
        "--driver",
        "docker",
        "--tenants",
        "3",
        "--cycles",
        "6",
        "--idle",
        "1",
        "--minutes",
        "2",
    )
    assert figures["verdicts"]["own"] > 20
    assert figures["verdicts"]["ended"] == 0


def test_one_wake_for_all_who_ask(processes: ProcessRack, etcd: EtcdServer) -> None:
    figures = bench(processes, "one-wake", "--requests", "400")
    assert (figures["asked"], figures["held"], figures["own"]) == (400, 400, 400)
    assert (figures["wakes"], figures["starts"]) == (1, 1)
    assert 0 < figures["memory"]["before"] <= figures["memory"]["held"]


def test_many_wakes_take_turns(processes: ProcessRack, etcd: EtcdServer) -> None:
    figures = bench(processes, "many-wakes", "--tenants", "24", "--starts", "4", "--delay", "0.1")
    assert (figures["own"], figures["starts"]) == (24, 24)
    assert 2 <= figures["most"] <= 4
    # Two that were asked for in the same moment may change places, and a slow write may cost one its place.
    assert figures["correlation"] > 0.7
