"""A part of the lives that ``make simulate`` lives, and proof that they find what is broken."""

import os
import subprocess
import sys

import pytest

from tests.simulation.life import live
from tests.simulation.mutants import MUTANTS

# What a busy machine may take; the lives themselves are short.
pytestmark = pytest.mark.timeout(300)


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def test_no_life_breaks_a_promise() -> None:
    told = simulate("--runs", "300", "--seconds", "12")
    assert told.returncode == 0, told.stdout + told.stderr
    runs = int(told.stdout.split(" runs,")[0])
    assert runs >= 1, told.stdout
    assert "0 runs with violations" in told.stdout


def test_a_seed_is_one_life() -> None:
    one, other = (simulate("--seed", "4", "--steps", "30", "--trace") for _ in range(2))
    assert one.returncode == 0, one.stdout + one.stderr
    assert len(one.stdout.splitlines()) > 100
    assert one.stdout == other.stdout


# Those that few lives suffice for; all are in docs/reliability.md.
@pytest.mark.parametrize("broken", ["old-pools", "written-once"])
def test_a_missing_guard_is_found(broken: str) -> None:
    with MUTANTS[broken]():
        found = next((seed for seed in range(100) if live(seed, 50).violations), None)
    assert found is not None
