"""The units for systemd: read by systemd itself where it is, and in step with the settings."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gogeta.domain.quantities import parse_duration
from gogeta.domain.upstreams import Endpoint
from gogeta.settings import LISTENERS, ServeSettings
from gogeta.workers.member import SILENCE_SECONDS
from passivator.settings import PassivatorSettings
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


@pytest.mark.parametrize("name", ["gogeta.service", "passivator.service"])
def test_they_may_do_little(name: str) -> None:
    if not shutil.which("systemd-analyze"):
        missing("systemd", "no program systemd-analyze; Debian has it in systemd")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", UNITS / name],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score, done.stdout + done.stderr
    print(score[0])  # noqa: T201 - pytest shows it
    # 0 is a service that may do nothing, 9.6 one without any of these settings.
    assert float(score[1]) <= 2.0, done.stdout


def test_a_hanging_process_is_noticed_later_than_the_supervisor_notices_a_worker() -> None:
    for name in ("gogeta.service", "passivator.service"):
        assert parse_duration(unit(name)["Service"]["WatchdogSec"]) > SILENCE_SECONDS


def test_their_times_are_longer_than_ours() -> None:
    service = unit("gogeta.service")["Service"]
    ours = ServeSettings()
    assert parse_duration(service["TimeoutStopSec"]) > ours.drain_delay + ours.drain_timeout + 5
    assert parse_duration(service["TimeoutStartSec"]) > ours.handover_timeout


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("gogeta.socket", None),
        ("gogeta-admin.socket", ServeSettings().admin),
        ("passivator.socket", PassivatorSettings().admin),
    ],
)
def test_the_sockets_have_names_and_addresses_that_we_know(name: str, address: Endpoint | None) -> None:
    held = unit(name)["Socket"]
    assert held["FileDescriptorName"] in LISTENERS
    assert address is None or held["ListenStream"] == str(address)
    assert (UNITS / held["Service"]).exists()
