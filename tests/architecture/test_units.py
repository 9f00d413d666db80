"""The units for systemd: read by systemd itself where it is, and in step with the settings."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

from gogeta.domain.quantities import parse_duration
from gogeta.settings import LISTENERS, ServeSettings
from tests.rig.missing import missing

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    """A unit; of options that stand twice the last one."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign] # as the documentation of configparser has it
    read.read_string((UNITS / name).read_text())
    return read


def test_systemd_understands_them() -> None:
    if not shutil.which("systemd-analyze"):
        missing("systemd", "no program systemd-analyze; Debian has it in systemd")
    units = [str(path) for path in sorted(UNITS.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_their_times_are_longer_than_ours() -> None:
    service = unit("gogeta.service")["Service"]
    ours = ServeSettings()
    assert parse_duration(service["TimeoutStopSec"]) > ours.drain_delay + ours.drain_timeout + 5
    assert parse_duration(service["TimeoutStartSec"]) > ours.handover_timeout


def test_the_sockets_have_names_that_we_know() -> None:
    assert unit("gogeta.socket")["Socket"]["FileDescriptorName"] in LISTENERS
