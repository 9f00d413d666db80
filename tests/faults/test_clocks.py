"""Wall clocks that jump, of one program or the other: nobody is put to sleep early, and nobody is kept for ever."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.faults.conftest import curl, eventually_served, seen
from tests.rig.etcd import EtcdServer
from tests.rig.missing import missing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Clock:
    """The wall clock of whoever is started with its environment. Monotonic clocks go on as they are."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if self._library is None:
            missing("faketime", "no libfaketime; Debian has it in faketime")
        self.jump("+0")

    def jump(self, offset: str) -> None:
        """From now on the clock is wrong by so many seconds: ``+3600``, ``-3600``."""
        self._file.write_text(f"{offset}\n")

    @property
    def env(self) -> Mapping[str, str]:
        """For a program to live by this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.mark.parametrize("whose", ["gogeta", "passivator"])
async def test_a_clock_that_jumps_puts_nobody_to_sleep_early_or_never(
    local: System, etcd: EtcdServer, tmp_path: Path, whose: str
) -> None:
    clock = Clock(tmp_path / "clock")
    local.declare("used", idle="4s")
    local.declare("idle", idle="4s")
    local.apply()
    local.serve(env=clock.env if whose == "gogeta" else None)
    local.control(env=clock.env if whose == "passivator" else None)
    first = await eventually_served(local, "used")
    for offset in (7200, -7200):
        clock.jump(f"{offset:+}")
        woken = await eventually_served(local, "idle")
        give_up = asyncio.get_running_loop().time() + 5
        while asyncio.get_running_loop().time() < give_up:
            answer = await curl(local, "used")
            assert (answer.status, answer.headers["x-instance"]) == (200, first.headers["x-instance"])
            await asyncio.sleep(0.5)
        await seen(etcd, "idle", "stopped")
        key = "access/used" if whose == "gogeta" else "state/observed/idle"
        written = json.loads(etcd.get(f"/gogeta/v1/{key}") or "{}")
        assert abs(written.get("at", written.get("since")) / 1000 - time.time() - offset) < 600, "it did jump"
        assert (await eventually_served(local, "idle")).headers["x-instance"] != woken.headers["x-instance"]
