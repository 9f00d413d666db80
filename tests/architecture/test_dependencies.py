"""What the programs stand on: parsers without known smuggling faults, the fast ones, and a lock that covers them."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import aiohttp.http_parser
import aiohttp.http_writer
import httptools
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_a_dependency_is_there_at_its_floor_or_above(requirement: str) -> None:
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(importlib.metadata.version(wanted.name))


def test_the_floors_exclude_the_releases_with_known_smuggling_faults() -> None:
    floors = {wanted.name: wanted.specifier for wanted in map(Requirement, PROJECT["dependencies"])}
    assert not floors["aiohttp"].contains(Version("3.14.4"))
    assert not floors["httptools"].contains(Version("0.6.2"))


def test_aiohttp_parses_in_c() -> None:
    """Several faults are in its pure-Python fallback only."""
    assert "_http_parser" in aiohttp.http_parser.HttpRequestParser.__module__
    assert "_http_parser" in aiohttp.http_parser.HttpResponseParser.__module__


def test_httptools_is_llhttp() -> None:
    assert httptools.HttpRequestParser.__module__.startswith("httptools.parser")
    assert not isinstance(httptools.HttpRequestParser.feed_data, type(lambda: None))


def test_nobody_asked_aiohttp_to_do_without_c() -> None:
    assert not os.environ.get("AIOHTTP_NO_EXTENSIONS")


@pytest.mark.parametrize("lock", ["dev.txt", "run.txt"])
def test_the_lock_covers_every_dependency_with_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))
    for requirement in PROJECT["dependencies"]:
        wanted = Requirement(requirement)
        assert wanted.specifier.contains(locked[wanted.name.lower()]), requirement
    for block in re.split(r"\n(?=[A-Za-z0-9])", text)[1:]:
        assert "--hash=sha256:" in block, block


@pytest.mark.parametrize("lock", ["dev.txt", "run.txt"])
def test_the_lock_names_no_host(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("script", sorted(PROJECT["scripts"]))
def test_a_program_says_how_it_is_used(script: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(script), "--help"], check=False, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stderr == ""


def test_the_controller_is_found_by_its_entry_point() -> None:
    """`gogeta up` runs what is registered there."""
    (entry,) = importlib.metadata.entry_points(group="gogeta.controllers", name="passivator")
    controller = entry.load()
    assert controller.name == "passivator"
    assert callable(controller.prepare)


def test_the_proxy_runs_without_the_controller() -> None:
    program = "import gogeta.app, gogeta.cli, sys; print([name for name in sys.modules if 'passivator' in name])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
