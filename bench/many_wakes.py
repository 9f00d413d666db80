"""Two hundred sleeping tenants are asked for at once, and only so many may start at a time: all are served, in turn.

How many start at the same time is told by the applications themselves: from their first line of code until they
listen, which each delays a little, so that starts have to wait for each other. Fair is: first asked, first started. The
order of asking is that in which the registry took the wakes (two proxies ask side by side); that of starting follows
from what passivator records of each start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from bench.lifecycle.stage import LifecycleStage
from bench.lifecycle.verdict import Verdict, Visit, judge
from bench.lifecycle.visits import Visitors
from bench.machine import machine, machine_line
from bench.stage import raise_descriptor_limit
from bench.surroundings import Surroundings
from bench.table import table
from gogeta.domain.state import TenantRecord
from gogeta.registry.registry import Registry

HELP: Final = "hundreds of sleeping tenants asked for at once: never more starts than allowed, all served, in turn"
_DEADLINE: Final = 600.0


@dataclass
class Started:
    """What came of it."""

    visits: list[Visit]
    most: int
    """Starts at the same time, at the most, as the applications tell."""
    starts: int
    limit: int
    seconds: float
    asked: list[str]
    """The tenants, in the order in which the registry took their wakes."""
    begun: list[str]
    """The tenants, in the order in which their starts began."""
    queued_ms: list[float]

    def displacements(self) -> list[int]:
        """By how many places each was started later (or earlier) than it was asked for."""
        places = {name: place for place, name in enumerate(self.begun)}
        return [abs(places[name] - place) for place, name in enumerate(self.asked)]

    def correlation(self) -> float:
        """Spearman's: 1 is the very order of asking, 0 is none."""
        count = len(self.asked)
        squares = sum(displaced**2 for displaced in self.displacements())
        return 1 - 6 * squares / (count * (count**2 - 1)) if count > 1 else 1.0

    def violations(self) -> list[str]:
        """What must not be, in words."""
        found = [f"{self.most} starts at the same time, {self.limit} are allowed"] if self.most > self.limit else []
        if self.starts != len(self.asked):
            found.append(f"{self.starts} starts of {len(self.asked)} tenants")
        return found + [
            f"{visit.id} was not served: {visit.status} {visit.code} {visit.wrong} {visit.trouble}"
            for visit in self.visits
            if visit.verdict is not Verdict.OWN
        ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--driver", choices=("process", "docker"), default="process")
    parser.add_argument("--tenants", type=int, default=200, metavar="N", help="(default: 200)")
    parser.add_argument("--starts", type=int, default=8, metavar="N", help="at the same time (default: 8)")
    parser.add_argument(
        "--delay", type=float, default=0.2, metavar="SECONDS", help="until an application listens (default: 0.2)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of chance (default: 1)")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Run and print; 1 when anything is not as promised."""
    raise_descriptor_limit()
    surroundings = Surroundings()
    limits = ["--max-connections-per-address", "0"]
    with LifecycleStage(driver=options.driver, serve=limits, passivate=["--max-starts", str(options.starts)]) as stage:
        started = uvloop.run(_all_at_once(stage, options))
    violations = started.violations()
    if options.json:
        print(json.dumps(_plain(options, started, violations)))
    else:
        print(
            f"many-wakes: {options.tenants} tenants at once, {options.starts} starts at the same time, "
            f"{options.driver} driver, etcd, 2 gogeta"
        )
        print(machine_line())
        print(f"{surroundings}\n")
        print("\n".join(_lines(started)))
        print("\n".join(f"VIOLATION {violation}" for violation in violations) or "never too many, all served")
    return 1 if violations else 0


async def _all_at_once(stage: LifecycleStage, options: argparse.Namespace) -> Started:
    chance = random.Random(options.seed)
    store = stage.store()
    loop = asyncio.get_running_loop()
    try:
        registry = Registry(store, "cli/bench")
        names = [f"t{number:03}" for number in range(options.tenants)]
        policy = {"idle_timeout": "never", "wake": {"timeout": f"{_DEADLINE:g}s"}}
        environment = {"DELAY": str(options.delay)}
        await registry.apply([stage.tenant(name, environment=environment, **policy) for name in names])
        await stage.known(names)
        # Not the order of their names: that is one in which nobody came.
        chance.shuffle(names)
        visitors = Visitors(stage.ports, chance, patience=_DEADLINE)
        visits = [visitors.visit("get", name) for name in names]
        began = loop.time()
        await asyncio.gather(*(visitors.make(visit) for visit in visits))
        seconds = loop.time() - began
        for visit in visits:
            visit.verdict = judge(visit, deadline=_DEADLINE, slept=False, orphaned=False)
        records = (await registry.load()).by_name
        ledger = stage.ledger()
        return Started(
            visits,
            ledger.most_at_once(),
            ledger.starts(),
            options.starts,
            seconds,
            [record.name for record in sorted(records.values(), key=lambda record: record.desired_revision)],
            [record.name for record in sorted(records.values(), key=_begun)],
            [phase.ms for record in records.values() for phase in record.observed.phases if phase.name == "queued"],
        )
    finally:
        await store.close()


def _begun(record: TenantRecord) -> float:
    """When its start was called, epoch milliseconds: exact to about one."""
    return record.observed.since - sum(phase.ms for phase in record.observed.phases if phase.name != "queued")


def _lines(started: Started) -> Sequence[str]:
    waited = [(visit.first_byte - visit.sent) * 1000 for visit in started.visits if visit.first_byte is not None]
    displaced = started.displacements()
    own = sum(visit.verdict is Verdict.OWN for visit in started.visits)
    return (
        f"{len(started.visits)} asked, {own} answered by their tenant, in {started.seconds:.1f} s",
        f"{started.starts} starts, {started.most} at the same time at the most",
        f"order: rank correlation {started.correlation():.4f}; displaced by {max(displaced)} places at the most",
        "",
        table("ms", {"first byte": waited, "in the queue": started.queued_ms}),
        "",
    )


def _plain(options: argparse.Namespace, started: Started, violations: list[str]) -> dict[str, Any]:
    return {
        "bench": "many-wakes",
        "machine": machine(),
        "driver": options.driver,
        "tenants": options.tenants,
        "limit": started.limit,
        "most": started.most,
        "starts": started.starts,
        "own": sum(visit.verdict is Verdict.OWN for visit in started.visits),
        "seconds": started.seconds,
        "correlation": started.correlation(),
        "displaced": max(started.displacements()),
        "queued_ms": started.queued_ms,
        "violations": violations,
    }
