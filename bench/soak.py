"""Mixed traffic for a while, and what is left of it: nothing.

Visitors of some twenty kinds come and go at the same time: small and large answers and requests in every framing,
pipelines, WebSockets, slow ones, those who leave in the middle; to an application that answers right, to one that
breaks off, closes, resets and talks nonsense, and to one that is away. Each answer follows from the name in its
request, and is compared whole.

At the end everybody leaves, and gogeta must be as it was before the first one came: its own gauges say no connection,
nothing in flight, no connection to a tenant once the idle time is over, and no task more; the kernel says no file
descriptor more; and its memory did not grow between the second and the last third of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from bench.machine import machine, machine_line
from bench.soak_faults import FAULTS
from bench.soak_visits import GOOD, Visit, Visitor
from tests.rig.ports import free_port
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder, clear_dead_runs

HELP: Final = "mixed traffic for minutes: no wrong answer, nothing leaked, memory flat"
APPLICATION: Final = "bench.soak_application"
GAUGES: Final = ("connections", "in_flight", "upstream_connections", "tasks")
_EMPTY: Final = GAUGES[:3]
"""What must be nothing before, and nothing after."""
KINDS: Final = GOOD | FAULTS
UPSTREAM_IDLE: Final = 3.0
"""Seconds after which an idle connection to a tenant must be gone."""
RESPONSE_TIMEOUT: Final = 4.0
_SETTLE: Final = 15.0
"""Seconds within which all must be as before, once the last visitor has left."""
_VISIT: Final = 60.0
_SAMPLES: Final = 90
_SHOWN: Final = 12
_KEPT: Final = 5
"""Wrong answers told in words, of each kind."""


@dataclass
class Soak:
    """What came of it."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    """Wrong answers, in words."""
    series: list[dict[str, float]] = field(default_factory=list)
    """Samples under load: seconds, rss (bytes), fds and the gauges."""
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def growth(self) -> float:
        """By how much of itself the memory of the last third is more than that of the second one (medians)."""
        third = len(self.series) // 3
        middle, last = self.series[third : 2 * third], self.series[-third:]
        return _median(last, "rss") / _median(middle, "rss") - 1

    def violations(self, limit: float) -> list[str]:
        """What must not be, in words; ``limit`` is that of the growth."""
        found = [f"{count} wrong answers to visits of the kind {kind}" for kind, count in sorted(self.wrong.items())]
        found += [f"no visit of the kind {kind} came to its end" for kind in _names() if not self.done[kind]]
        found += [
            f"{what}: {self.after[what]:.0f} at the end, {self.before[what]:.0f} before"
            for what in ("fds", *GAUGES)
            if self.after[what] != (0 if what in _EMPTY else self.before[what])
        ]
        if (growth := self.growth()) > limit:
            found.append(f"memory grew by {growth:.1%}, more than {limit:.0%}")
        return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--minutes", type=float, default=5.0, metavar="N", help="how long (default: 5)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the visitors' chance (default: 1)")
    parser.add_argument(
        "--growth", type=float, default=10.0, metavar="PERCENT", help="most growth of the memory (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="all figures and samples as JSON")


def run(options: argparse.Namespace) -> int:
    """Soak and print; 1 when anything was wrong."""
    with _running() as (port, watch):
        soak = uvloop.run(_soak(port, watch, options.minutes * 60, options.seed))
    violations = soak.violations(options.growth / 100)
    if options.json:
        figures = {"minutes": options.minutes, "growth": soak.growth(), "violations": violations, "told": soak.told}
        counts = {"done": soak.done, "wrong": soak.wrong, "before": soak.before, "after": soak.after}
        print(json.dumps({"bench": "soak", "machine": machine(), **figures, **counts, "series": soak.series}))
    else:
        print(f"soak: {options.minutes:g} minutes, {sum(KINDS.values())} visitors at a time, seed {options.seed}")
        print(machine_line())
        print("\n" + _table(soak) + "\n")
        print("\n".join([*soak.told, *(f"VIOLATION {violation}" for violation in violations)]) or "nothing wrong")
    return 1 if violations else 0


# ------------------------------------------------------------------------------------------------------ the parts


@dataclass(frozen=True)
class Watch:
    """One gogeta, looked at from outside."""

    pid: int
    admin: int

    async def look(self) -> dict[str, float]:
        """Memory, file descriptors and gauges of this moment."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{self.admin}/metrics", headers={"Connection": "close"})
        gauges = {
            family.name: family.samples[0].value
            for family in text_string_to_metric_families(answer.text)
            if family.name.removeprefix("gogeta_") in GAUGES
        }
        process = Path(f"/proc/{self.pid}")
        pages = int((process / "statm").read_text().split()[1])
        return {
            "rss": float(pages * os.sysconf("SC_PAGE_SIZE")),
            "fds": float(len(list((process / "fd").iterdir()))),
            **{name: gauges[f"gogeta_{name}"] for name in GAUGES},
        }


@contextlib.contextmanager
def _running() -> Iterator[tuple[int, Watch]]:
    """`gogeta serve` in front of the applications: its port, and how it is watched."""
    clear_dead_runs()
    folder = RunFolder()
    with contextlib.ExitStack() as parts:
        parts.callback(folder.clear)
        port, admin, good, bad = free_port(), free_port(), free_port(), free_port()
        registry = ["--registry", f"embedded:{folder.path}/gogeta.db"]

        def start(argv: list[str], **environment: str) -> Program:
            name = Path(argv[0]).name
            program = Program(
                argv, folder=folder.subfolder(name), environment={**folder.environment(), **environment}, name=name
            )
            parts.callback(program.end)
            return program

        application = start([sys.executable, "-m", APPLICATION], GOOD=str(good), BAD=str(bad))
        application.wait_for_port(good)
        upstreams = {"good": good, "bad": bad, "stale": bad, "away": free_port()}
        file = folder.path / "tenants.yaml"
        tenants = [
            {"name": name, "hosts": [f"{name}.localhost"], "upstreams": [f"http://127.0.0.1:{its_port}"]}
            for name, its_port in upstreams.items()
        ]
        # JSON is YAML too.
        file.write_text(json.dumps({"tenants": tenants}))
        gogeta = str(resolve("gogeta"))
        assert start([gogeta, "apply", "-f", str(file), *registry]).wait() == 0
        addresses = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--log-level", "warning"]
        limits = ["--response-timeout", f"{RESPONSE_TIMEOUT}s", "--upstream-idle-timeout", f"{UPSTREAM_IDLE}s"]
        serving = start([gogeta, "serve", *addresses, *limits, *registry])
        serving.wait_for_port(port)
        yield port, Watch(serving.pid, admin)
        assert serving.running, serving.output()
        assert not serving.output(), serving.output()


# ---------------------------------------------------------------------------------------------------- the traffic


async def _soak(port: int, watch: Watch, seconds: float, seed: int) -> Soak:
    soak = Soak()
    # One visitor first: what is made once, at the first use, is no leak.
    await _visit(next(iter(GOOD)), Visitor(port, random.Random(seed), prefix="first"), soak)
    soak.before = await _settled(watch, dict.fromkeys(_EMPTY, 0.0))
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number, visit in enumerate(itertools.chain.from_iterable([kind] * count for kind, count in KINDS.items())):
            visitor = Visitor(port, random.Random(seed + number), prefix=f"{visit.__name__}{number}")
            tasks.create_task(_visits(visit, visitor, soak, began + seconds))
        tasks.create_task(_sample(watch, soak, began, seconds))
    soak.after = await _settled(watch, {name: soak.before[name] for name in ("fds", *GAUGES)})
    return soak


async def _visits(visit: Visit, visitor: Visitor, soak: Soak, until: float) -> None:
    """Come again and again, with a short rest between, so that the machine is shared by all kinds."""
    while time.monotonic() < until:
        await _visit(visit, visitor, soak)
        await asyncio.sleep(visitor.random.random() * 0.1)


async def _visit(visit: Visit, visitor: Visitor, soak: Soak) -> None:
    kind = visit.__name__
    try:
        async with asyncio.timeout(_VISIT):
            await visit(visitor)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no right answer
        soak.wrong[kind] += 1
        if soak.wrong[kind] <= _KEPT:
            soak.told.append(f"WRONG {kind}: {type(error).__name__}: {str(error)[:300]}")
    else:
        soak.done[kind] += 1


async def _sample(watch: Watch, soak: Soak, began: float, seconds: float) -> None:
    for number in range(1, _SAMPLES + 1):
        await asyncio.sleep(began + number * seconds / _SAMPLES - time.monotonic())
        soak.series.append({"seconds": round(time.monotonic() - began, 1), **await watch.look()})


async def _settled(watch: Watch, wanted: dict[str, float]) -> dict[str, float]:
    """How it is as soon as it is as ``wanted``, else at the end of the time that it has for that."""
    deadline = time.monotonic() + _SETTLE
    while True:
        found = await watch.look()
        if wanted.items() <= found.items() or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.25)


# ------------------------------------------------------------------------------------------------------ the report


def _names() -> list[str]:
    return [kind.__name__ for kind in KINDS]


def _median(samples: list[dict[str, float]], name: str) -> float:
    return statistics.median(sample[name] for sample in samples)


def _table(soak: Soak) -> str:
    lines = [f"{'visits':16}{'at a time':>10}{'right':>10}{'wrong':>10}"]
    lines += [
        f"{kind.__name__:16}{count:10}{soak.done[kind.__name__]:10}{soak.wrong[kind.__name__]:10}"
        for kind, count in KINDS.items()
    ]
    lines.append(f"{'all':16}{sum(KINDS.values()):10}{soak.done.total():10}{soak.wrong.total():10}")
    lines += ["", f"{'gogeta':24}{'before':>10}{'most':>10}{'after':>10}"]
    for name in ("fds", *GAUGES):
        most = max(sample[name] for sample in soak.series)
        lines.append(f"{name:24}{soak.before[name]:10.0f}{most:10.0f}{soak.after[name]:10.0f}")
    shown = soak.series[:: max(1, len(soak.series) // _SHOWN)]
    lines += [
        "",
        "second  " + "".join(f"{sample['seconds']:7.0f}" for sample in shown),
        "RSS MB  " + "".join(f"{sample['rss'] / 1e6:7.1f}" for sample in shown),
        f"growth from the second third to the last: {soak.growth():+.1%}",
    ]
    return "\n".join(lines)
