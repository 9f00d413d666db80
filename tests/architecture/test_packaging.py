"""The wheel holds both packages with their data files, and nothing else."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        yield wheel


def test_every_file_of_both_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for package in ("gogeta", "passivator")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"gogeta/py.typed", "passivator/py.typed"} <= ours
    assert ours - set(wheel.namelist()) == set()


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"gogeta", "passivator", "gogeta-0.1.0.dist-info"}
