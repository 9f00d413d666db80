"""A part of the lives that ``make simulate`` lives, and proof that they find what is broken."""

import os
import subprocess
import sys

import pytest

from tests.simulation.mutants import MUTANTS


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=55,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def test_no_life_breaks_a_promise() -> None:
    told = simulate("--runs", "300", "--seconds", "15")
    assert told.returncode == 0, told.stdout + told.stderr
    runs = int(told.stdout.split(" runs,")[0])
    assert runs >= 1, told.stdout
    assert "0 runs with violations" in told.stdout


def test_a_seed_is_one_life() -> None:
    one, other = (simulate("--seed", "4", "--trace") for _ in range(2))
    assert one.returncode == 0, one.stdout + one.stderr
    assert len(one.stdout.splitlines()) > 100
    assert one.stdout == other.stdout


# Those that few lives suffice for; all are in docs/reliability.md.
@pytest.mark.parametrize(
    "broken", ["stop-without-desired", "no-take-back", "old-pools", "written-once", "start-into-stop"]
)
def test_a_missing_guard_is_found(broken: str) -> None:
    assert broken in MUTANTS
    told = simulate("--break", broken, "--until-found", "--runs", "200", "--seconds", "40")
    assert told.returncode == 1, told.stdout + told.stderr
    assert "found after" in told.stdout, told.stdout + told.stderr
