"""The real harness for a moment, with gogeta and the baseline, and that it ends what it started."""

import contextlib
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.loads import wrk
from bench.peers import nginx
from bench.usage import tree
from tests.net.talk import until
from tests.rig.missing import missing
from tests.rig.programs import ProcessRack
from tests.rig.run_folder import clear_dead_runs

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--rounds", "1", "--seconds", "1", "--rate", "200", "--slow-clients", "5", "--idle-connections", "300")
PEERS = ("--peers", "gogeta", "aiohttp")

RUN = 100.0
"""Seconds that a run may take where the machine is busy with other tests."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(RUN + 20)]


@pytest.fixture(autouse=True)
def _parts() -> None:
    for part, version in (("nginx", nginx.version), ("wrk", wrk.version)):
        try:
            version()
        except FileNotFoundError:
            missing(part, "tests/rig/provision.sh installs it")


def forward(processes: ProcessRack, *options: str) -> dict[str, Any]:
    argv = ("python", "-m", "bench", "forward", *PEERS, *SHORT, *options, "--json")
    ended = processes.run(*argv, cwd=ROOT, timeout=RUN)
    assert ended.returncode == 0, ended.stderr
    figures: dict[str, Any] = json.loads(ended.stdout)
    assert (figures["bench"], figures["rounds"], figures["seconds"]) == ("forward", 1, 1)
    assert set(figures["versions"]) == {"gogeta", "aiohttp", "wrk"}
    assert {row["failed"] for row in figures["rows"]} == {0}
    return figures


def proxies(figures: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["variant"], row["proxy"]) for row in figures["rows"]]


def test_small_requests_are_measured_the_same_and_varied(processes: ProcessRack) -> None:
    figures = forward(processes, "--only", "small")
    variants = ("same", "varied")
    assert proxies(figures) == [(variant, proxy) for variant in variants for proxy in ("gogeta", "aiohttp")]
    for row in figures["rows"]:
        [sample] = row["samples"]
        assert sample["count"] > 50
        assert row["cpu_us"] == pytest.approx(sample["cpu"] / sample["count"] * 1e6)
        assert row["rss"] > 10e6
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert all(target["met"] is None for target in figures["targets"]), "there is no nginx and no Go to compare with"


def test_latency_is_that_of_a_fixed_rate_beside_a_direct_one(processes: ProcessRack) -> None:
    figures = forward(processes, "--only", "latency")
    assert proxies(figures) == [("200/s", "direct"), ("200/s", "gogeta"), ("200/s", "aiohttp")]
    assert {row["samples"][0]["count"] for row in figures["rows"]} == {200}
    direct, gogeta, _ = (row["p50_ms"] for row in figures["rows"])
    [target] = figures["targets"]
    assert target["measured"] == pytest.approx(gogeta - direct)


def test_bodies_go_both_ways_and_slow_readers_are_kept(processes: ProcessRack) -> None:
    figures = forward(processes, "--only", "bodies")
    variants = ("10 MB down", "10 MB up", "5 slow readers")
    assert proxies(figures) == [(variant, proxy) for variant in variants for proxy in ("gogeta", "aiohttp")]
    assert min(row["rate"] for row in figures["rows"][:4]) > 10, "MB/s"
    slow = figures["rows"][4]
    assert slow["besides"]["times_calm"] == pytest.approx(slow["p99_ms"] / slow["besides"]["calm_p99"])


def test_websocket_messages_come_back(processes: ProcessRack) -> None:
    figures = forward(processes, "--only", "websocket")
    assert proxies(figures) == [("echo of 100 bytes", "gogeta"), ("echo of 100 bytes", "aiohttp")]
    assert min(row["rate"] for row in figures["rows"]) > 50


def test_two_workers_are_compared_with_one(processes: ProcessRack) -> None:
    figures = forward(processes, "--only", "workers")
    assert proxies(figures) == [("1 worker", "gogeta"), ("2 workers", "gogeta")]
    one, two = figures["rows"]
    assert one["besides"]["busiest_share"] == 1
    assert 0.3 < two["besides"]["busiest_share"] < 1, "both workers had a part of the work"
    assert figures["targets"][0]["measured"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_nothing_runs_on_when_it_is_interrupted(processes: ProcessRack, number: signal.Signals) -> None:
    bench = processes.python("-m", "bench", "forward", *PEERS, "--only", "small", "--seconds", "30", cwd=ROOT)
    # nginx and wrk are also asked for their versions before: not what is meant.
    await until(lambda: {"nginx", "gogeta", "wrk"} <= names(bench.pid), limit=RUN)
    started = tree(bench.pid)
    bench.signal(number)
    assert bench.wait(timeout=20) == 130
    assert list(filter(runs, started)) == []
    assert "nothing is left running" in bench.stderr()


async def test_what_a_killed_run_leaves_is_ended_by_the_next(processes: ProcessRack) -> None:
    argv = ("-m", "bench", "forward", *PEERS, "--only", "small", "--seconds", "30")
    bench = processes.python(*argv, cwd=ROOT, may_fail=True)
    await until(lambda: {"nginx", "gogeta", "wrk"} <= names(bench.pid), limit=RUN)
    started = tree(bench.pid)
    bench.kill()
    assert list(filter(runs, started)) != []
    clear_dead_runs()
    assert list(filter(runs, started)) == []


def runs(pid: int) -> bool:
    """Whether it is there and no zombie, which is for its parent to collect."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def names(pid: int) -> set[str]:
    found = set()
    for member in tree(pid):
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{member}/comm").read_text().strip())
    return found


def test_without_a_load_it_says_how_to_get_one(processes: ProcessRack) -> None:
    argv = (sys.executable, "-m", "bench", "forward", "--only", "small")
    ended = processes.run(*argv, cwd=ROOT, env={"PATH": "/nowhere"})
    assert ended.returncode == 2
    assert "apt-get install wrk" in ended.stderr


def test_the_table_tells_what_is_missing_and_the_file_has_the_figures(processes: ProcessRack, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    argv = ("-m", "bench", "forward", "--peers", "gogeta", "caddy", *SHORT, "--only", "idle", "--json", str(file))
    ended = processes.run(sys.executable, *argv, cwd=ROOT, env={"PATH": "/nowhere"}, timeout=RUN)
    assert ended.returncode == 0, ended.stderr
    assert "MISSING: caddy; to measure it too: apt-get install caddy" in ended.stdout
    assert "httptools" in ended.stdout, "versions are told"
    assert "idle, 300 connections" in ended.stdout
    assert re.search(r"^idle: RSS of a connection +<= 12 kB +[\d.]+  (met|MISSED)$", ended.stdout, re.MULTILINE)
    figures = json.loads(file.read_text())
    assert figures["missing"] == {"caddy": "apt-get install caddy"}
    assert proxies(figures) == [("300 connections", "gogeta")]
    [row] = figures["rows"]
    assert row["besides"]["held"] == 300
    assert 0 < row["besides"]["kb_each"] < 200
