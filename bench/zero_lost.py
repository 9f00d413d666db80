"""Tenants fall asleep and wake a thousand times under load, and no request is lost.

Visitors of eight kinds come at every moment of a passivation and of a wake, through two proxies; tenants fall asleep by
short idle timeouts and by `gogeta sleep` at random moments. Every answer carries its tenant's name, the token of one
start, and an echo, so that one that is somebody else's, cut, or doubled is found; each application notes the bodies it
took, so that a request that was executed twice is found too. What counts as lost is in `bench/lifecycle/verdict.py`.

With faults, passivator is killed again and again, and etcd is started anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
from typing import Final

import uvloop

from bench.lifecycle.faults import Faults
from bench.lifecycle.outcome import Outcome
from bench.lifecycle.report import plain, text
from bench.lifecycle.stage import LifecycleStage
from bench.lifecycle.timeline import Timeline
from bench.lifecycle.traffic import Traffic
from bench.lifecycle.visits import Visitors
from bench.stage import raise_descriptor_limit
from bench.surroundings import Surroundings
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry

HELP: Final = "passivations and wakes by the thousand under mixed load: no request lost"
DEADLINE: Final = 60.0
"""Seconds for which programs are held (the tenants' `wake.timeout`)."""
_HOLD: Final = "60ms"
"""For which a person is held before the page (`wake.hold`): short, so that some see it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--driver", choices=("process", "docker"), default="process")
    parser.add_argument("--tenants", type=int, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--cycles", type=int, default=1000, metavar="N", help="passivations and wakes (default: 1000)")
    parser.add_argument("--minutes", type=float, default=20.0, metavar="N", help="longest time for it (default: 20)")
    parser.add_argument(
        "--idle", type=float, default=1.5, metavar="SECONDS", help="idle timeouts: from this to twice as much"
    )
    parser.add_argument("--wanderers", type=int, default=4, metavar="N", help="visitors without a plan (default: 4)")
    parser.add_argument("--starts", type=int, default=8, metavar="N", help="passivator's --max-starts (default: 8)")
    parser.add_argument(
        "--kill-passivator",
        type=float,
        metavar="SECONDS",
        help="SIGKILL it so often (the process driver's tenants die with it)",
    )
    parser.add_argument("--restart-etcd", type=float, metavar="SECONDS", help="start etcd anew so often")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of chance (default: 1)")
    parser.add_argument("--json", action="store_true", help="all figures, and every request that was lost, as JSON")


def run(options: argparse.Namespace) -> int:
    """Run and print; 1 when anything was lost or wrong."""
    raise_descriptor_limit()
    surroundings = Surroundings()
    if options.restart_etcd:
        # That the registry is away is what is wanted.
        logging.getLogger("gogeta").setLevel(logging.ERROR)
    limits = ["--max-connections-per-address", "0"]
    with LifecycleStage(driver=options.driver, serve=limits, passivate=["--max-starts", str(options.starts)]) as stage:
        outcome = uvloop.run(_traffic(stage, options))
    violations = outcome.violations(options.cycles)
    if options.json:
        print(json.dumps(plain(options, outcome, violations)))
    else:
        print(text(options, outcome, violations, str(surroundings)))
    return 1 if violations else 0


async def _traffic(stage: LifecycleStage, options: argparse.Namespace) -> Outcome:
    chance = random.Random(options.seed)
    store = stage.store()
    loop = asyncio.get_running_loop()
    try:
        async with Tasks("bench") as tasks:
            registry, mirror = Registry(store, "cli/bench"), TenantMirror(store)
            timeline = Timeline(mirror)
            tasks.start(mirror.source.run(), "mirror")
            await mirror.source.wait_synced()
            idle = {f"t{number:02}": options.idle * (1 + chance.random()) for number in range(options.tenants)}
            wake = {"hold": _HOLD, "timeout": f"{DEADLINE:g}s"}
            await registry.apply(
                [
                    stage.tenant(name, idle_timeout=round(timeout, 2), stop_grace="5s", wake=wake)
                    for name, timeout in idle.items()
                ]
            )
            await stage.known(idle)
            began = loop.time()
            until = began + options.minutes * 60
            # The last stops are followed by no wake.
            wanted: int = options.cycles + options.tenants

            faults = Faults(stage, timeline)
            kinds = sum(every is not None for every in (options.kill_passivator, options.restart_etcd))

            def enough() -> bool:
                return (timeline.stops >= wanted and len(faults.counts) == kinds) or loop.time() > until

            visitors = Visitors(stage.ports, chance, long=options.idle * 3, patience=DEADLINE + 30)
            traffic = Traffic(visitors, timeline, registry, DEADLINE, enough, chance)
            going_wrong = [
                tasks.start(fault(every), fault.__name__)
                for fault, every in (
                    (faults.kill_passivator, options.kill_passivator),
                    (faults.restart_etcd, options.restart_etcd),
                )
                if every
            ]
            await traffic.run(idle, options.wanderers)
            seconds = loop.time() - began
            for fault in going_wrong:
                assert not fault.done(), fault
            return Outcome(
                traffic.done,
                stage.ledger(),
                options.tenants,
                seconds,
                timeline.passivations,
                timeline.taken_back,
                timeline.stops,
                traffic.sleeps,
                faults.counts,
                _trouble(stage),
            )
    finally:
        await store.close()


def _trouble(stage: LifecycleStage) -> list[str]:
    """Programs that ended, or that met a mistake of their own."""
    programs = {
        **{f"gogeta {number}": program for number, program in enumerate(stage.proxies)},
        "passivator": stage.passivator,
    }
    found = [f"{name} ended: {program.output()[-2000:]}" for name, program in programs.items() if not program.running]
    return found + [
        f"{name} wrote a traceback: {program.output()[-3000:]}"
        for name, program in programs.items()
        if "Traceback" in program.output()
    ]
