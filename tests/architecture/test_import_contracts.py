"""The layers hold, and the contracts that say so can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the checkout in this folder, and of no other."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1", "COLUMNS": "200"},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("gogeta", "passivator"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_contract_is_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


# Each: what is wrong, the module it is added to, the line that is wrong, the contract that is broken by it.
VIOLATIONS = [
    ("a lower layer imports a higher one", "gogeta/domain/__init__.py", "import gogeta.registry", "gogeta: imports"),
    ("a module without a layer", "gogeta/utils.py", "", "gogeta: imports"),
    ("gogeta imports passivator", "gogeta/registry/__init__.py", "import passivator.core", "gogeta never imports"),
    (
        "passivator imports the proxy",
        "passivator/core/__init__.py",
        "import gogeta.core",
        "passivator imports only gogeta's floor",
    ),
    (
        "a lower layer of passivator imports a higher one",
        "passivator/core/seeded.py",
        "import passivator.app",
        "passiv",
    ),
    ("a module of passivator without a layer", "passivator/utils.py", "", "passivator: imports"),
    ("a decision reads the clock", "gogeta/domain/seeded.py", "import time", "decisions are pure"),
    ("a decision of the proxy uses the loop", "gogeta/core/seeded.py", "import asyncio", "decisions are pure"),
    ("what becomes of an older tree asks etcd", "gogeta/cli/arken/keys.py", "import aiohttp", "decisions are pure"),
    ("a decision of the controller logs", "passivator/core/seeded.py", "import logging", "decisions are pure"),
    (
        "a decision reaches the loop by a detour",
        "gogeta/core/seeded.py",
        "import gogeta.kit.tasks",
        "decisions are pure",
    ),
]


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [violation[1:] for violation in VIOLATIONS],
    ids=[violation[0] for violation in VIOLATIONS],
)
def test_a_violation_is_caught(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode != 0
    broken = [told for told in done.stdout.splitlines() if told.endswith("BROKEN")]
    assert any(told.startswith(contract) for told in broken), done.stdout
