import json
from pathlib import Path

import pytest

from bench.table import distribution, table
from bench.wake import PHASES, PHASES_FROM_PAUSE
from tests.rig.programs import ProcessRack

ROOT = Path(__file__).resolve().parents[2]


def test_percentiles_are_samples_by_nearest_rank() -> None:
    samples = [float(number) for number in range(100, 0, -1)]
    assert distribution(samples) == {"min": 1, "p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert distribution([7.0]) == {"min": 7, "p50": 7, "p90": 7, "p99": 7, "max": 7}
    lines = table("ms", {"ready": samples}).splitlines()
    assert lines[0].split() == ["ms", "min", "p50", "p90", "p99", "max"]
    assert lines[1].split() == ["ready", "1.0", "50.0", "90.0", "99.0", "100.0"]


@pytest.mark.e2e
@pytest.mark.parametrize("registry", ["embedded", pytest.param("etcd", marks=pytest.mark.etcd)])
def test_the_phases_of_a_wake_are_the_whole_of_it(
    processes: ProcessRack, registry: str, request: pytest.FixtureRequest
) -> None:
    if registry == "etcd":
        request.getfixturevalue("etcd")
    ended = processes.run(
        "python", "-m", "bench", "wake", "-n", "3", "--registry", registry, "--json", cwd=ROOT, timeout=50
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert (figures["driver"], figures["registry"], figures["n"]) == ("process", registry, 3)
    assert {"cpu", "cores", "kernel", "python", "gogeta"} <= set(figures["machine"])
    for wake in range(3):
        whole = figures["ms"]["total"][wake]
        assert sum(figures["ms"][phase][wake] for phase in PHASES) == pytest.approx(whole, abs=0.01)
        theirs = figures["ms"]["started"][wake] + figures["ms"]["listening"][wake]
        assert figures["ms"]["overhead"][wake] == pytest.approx(whole - theirs, abs=0.01)
        assert 0 < figures["ms"]["listening"][wake] < whole, "the application tells since when it listens"
        assert min(figures["ms"][phase][wake] for phase in PHASES) > -3, "stamps are exact to about a millisecond"
    assert min(figures["ms"]["alone"]) > 0


@pytest.mark.e2e
def test_a_wake_from_pause_has_phases_of_its_own(processes: ProcessRack) -> None:
    ended = processes.run("python", "-m", "bench", "wake", "-n", "2", "--from", "pause", "--json", cwd=ROOT, timeout=60)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["from"] == "pause"
    for wake in range(2):
        whole = figures["ms"]["total"][wake]
        assert sum(figures["ms"][phase][wake] for phase in PHASES_FROM_PAUSE) == pytest.approx(whole, abs=0.01)
