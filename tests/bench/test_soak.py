import json
from collections import Counter
from pathlib import Path

import pytest

from bench.soak import GAUGES, KINDS, Soak
from tests.rig.programs import ProcessRack

ROOT = Path(__file__).resolve().parents[2]
QUIET = {"fds": 18.0, "connections": 0.0, "in_flight": 0.0, "upstream_connections": 0.0, "tasks": 5.0}


def soaked(*rss: float) -> Soak:
    """A soak in which all went well, with this memory."""
    done = Counter({kind.__name__: 1 for kind in KINDS})
    return Soak(done, before=dict(QUIET), after=dict(QUIET), series=[{"rss": size} for size in rss])


def test_memory_is_flat_or_not() -> None:
    # What is taken in the first third is what everything takes once.
    assert soaked(10, 40, 100, 101, 99, 100, 100, 103, 102).violations(0.1) == []
    assert soaked(10, 40, 100, 101, 99, 100, 112, 111, 112).violations(0.1) == [
        "memory grew by 12.0%, more than 10%",
    ]


@pytest.mark.parametrize("what", sorted(QUIET))
def test_whatever_is_left_over_is_told(what: str) -> None:
    soak = soaked(1, 1, 1)
    soak.after[what] += 1
    assert soak.violations(0.1) == [f"{what}: {QUIET[what] + 1:.0f} at the end, {QUIET[what]:.0f} before"]


def test_wrong_answers_and_visits_that_never_ended_are_told() -> None:
    soak = soaked(1, 1, 1)
    soak.wrong["stale"] = 2
    del soak.done["websocket"]
    assert soak.violations(0.1) == [
        "2 wrong answers to visits of the kind stale",
        "no visit of the kind websocket came to its end",
    ]


@pytest.mark.e2e
def test_a_short_soak_leaves_nothing(processes: ProcessRack) -> None:
    # Too short for the memory to be flat: the first requests of all are still a part of it.
    ended = processes.run(
        *("python", "-m", "bench", "soak", "--minutes", "0.17", "--growth", "50", "--json"), cwd=ROOT, timeout=55
    )
    figures = json.loads(ended.stdout)
    assert (ended.returncode, figures["violations"], figures["told"]) == (0, [], [])
    assert all(figures["done"][kind.__name__] for kind in KINDS)
    assert {"rss", "fds", *GAUGES} <= set(figures["series"][-1])
    assert max(sample["in_flight"] for sample in figures["series"]) > 5, "there was something to leak"
