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
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import uvloop

from bench.lifecycle.faults import Faults
from bench.lifecycle.ledger import Ledger
from bench.lifecycle.stage import LifecycleStage
from bench.lifecycle.timeline import Timeline
from bench.lifecycle.traffic import Traffic
from bench.lifecycle.verdict import Verdict, Visit
from bench.lifecycle.visits import KINDS, Visitors
from bench.machine import machine, machine_line
from bench.stage import raise_descriptor_limit
from bench.surroundings import Surroundings
from bench.table import table
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry

HELP: Final = "passivations and wakes by the thousand under mixed load: no request lost"
DEADLINE: Final = 60.0
"""Seconds for which programs are held (the tenants' `wake.timeout`)."""
_HOLD: Final = "60ms"
"""For which a person is held before the page (`wake.hold`): short, so that some see it."""
_TOLD: Final = 20
"""Lost requests told in full; JSON has all."""


@dataclass
class Outcome:
    """What came of a run."""

    visits: list[Visit]
    ledger: Ledger
    tenants: int
    seconds: float
    passivations: Counter[str]
    taken_back: int
    stops: int
    sleeps: int
    faults: Counter[str]
    programs: list[str] = field(default_factory=list)
    """What a program wrote that it should not have."""

    @property
    def cycles(self) -> int:
        """Starts after the first one of each tenant, as the applications tell them: a stop and a wake each."""
        return max(0, self.ledger.starts() - self.tenants)

    @property
    def lost(self) -> list[Visit]:
        """Requests that were lost."""
        return [visit for visit in self.visits if visit.verdict is Verdict.LOST]

    def violations(self, cycles: int) -> list[str]:
        """What must not be, in words; at least so many ``cycles`` have to be."""
        found = [f"{len(self.lost)} requests lost"] if self.lost else []
        found += [
            f"the body of {identity} was taken {count} times" for (identity, _), count in self.ledger.posts.items() if count > 1
        ]
        ids = Counter(identity for identity, _ in self.ledger.posts)
        found += [f"{identity} was taken with {count} different bodies" for identity, count in ids.items() if count > 1]
        instances = {birth.instance: birth.tenant for birth in self.ledger.births.values()}
        for visit in self.visits:
            if visit.verdict is not Verdict.OWN:
                continue
            if instances.get(visit.instance) != visit.tenant:
                found.append(f"{visit.id} was answered by {visit.instance!r}, which is no start of {visit.tenant}")
            if visit.digest and not self.ledger.posts[visit.id, visit.digest]:
                found.append(f"{visit.id} was answered, and its application did not take it as it was sent")
        if self.cycles < cycles:
            found.append(f"{self.cycles} cycles, {cycles} were wanted")
        return [*found, *self.programs]

    def wakes(self, kinds: Sequence[str]) -> list[float]:
        """Milliseconds from the request to the tenant's first byte, of those who came while it was not up."""
        return [
            (visit.first_byte - visit.sent) * 1000
            for visit in self.visits
            if visit.asleep and visit.verdict is Verdict.OWN and visit.first_byte is not None and visit.kind in kinds
        ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--driver", choices=("process", "docker"), default="process")
    parser.add_argument("--tenants", type=int, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--cycles", type=int, default=1000, metavar="N", help="passivations and wakes (default: 1000)")
    parser.add_argument("--minutes", type=float, default=20.0, metavar="N", help="longest time for it (default: 20)")
    parser.add_argument("--idle", type=float, default=1.5, metavar="SECONDS", help="idle timeouts: from this to twice as much")
    parser.add_argument("--wanderers", type=int, default=4, metavar="N", help="visitors without a plan (default: 4)")
    parser.add_argument("--starts", type=int, default=8, metavar="N", help="passivator's --max-starts (default: 8)")
    parser.add_argument(
        "--kill-passivator", type=float, metavar="SECONDS", help="SIGKILL it so often (the process driver's tenants die with it)"
    )
    parser.add_argument("--restart-etcd", type=float, metavar="SECONDS", help="start etcd anew so often")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of chance (default: 1)")
    parser.add_argument("--json", action="store_true", help="all figures, and every request that was lost, as JSON")


def run(options: argparse.Namespace) -> int:
    """Run and print; 1 when anything was lost or wrong."""
    raise_descriptor_limit()
    surroundings = Surroundings()
    limits = ["--max-connections-per-address", "0"]
    with LifecycleStage(
        driver=options.driver, serve=limits, passivate=["--max-starts", str(options.starts)]
    ) as stage:
        outcome = uvloop.run(_traffic(stage, options))
    violations = outcome.violations(options.cycles)
    if options.json:
        print(json.dumps(_plain(options, outcome, violations)))
    else:
        print(_text(options, outcome, violations, str(surroundings)))
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
            began = loop.time()
            until = began + options.minutes * 60

            def enough() -> bool:
                return timeline.stops >= options.cycles + options.tenants or loop.time() > until

            visitors = Visitors(stage.ports, chance, long=options.idle * 3, patience=DEADLINE + 30)
            traffic = Traffic(visitors, timeline, registry, DEADLINE, enough, chance)
            faults = Faults(stage, timeline)
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
    programs = {**{f"gogeta {number}": program for number, program in enumerate(stage.proxies)}, "passivator": stage.passivator}
    found = [f"{name} ended: {program.output()[-2000:]}" for name, program in programs.items() if not program.running]
    return found + [
        f"{name} wrote a traceback: {program.output()[-3000:]}"
        for name, program in programs.items()
        if "Traceback" in program.output()
    ]


# ------------------------------------------------------------------------------------------------------ the report


def _plain(options: argparse.Namespace, outcome: Outcome, violations: list[str]) -> dict[str, Any]:
    asked = {name: value for name, value in vars(options).items() if name not in ("run", "json", "what")}
    verdicts = {verdict.name.lower(): 0 for verdict in Verdict}
    verdicts |= Counter(visit.verdict.name.lower() for visit in outcome.visits)
    return {
        "bench": "zero-lost",
        "machine": machine(),
        "options": asked,
        "seconds": outcome.seconds,
        "cycles": outcome.cycles,
        "starts": outcome.ledger.starts(),
        "stops": outcome.stops,
        "passivations": outcome.passivations,
        "taken_back": outcome.taken_back,
        "sleeps": outcome.sleeps,
        "faults": outcome.faults,
        "requests": Counter(visit.kind for visit in outcome.visits),
        "verdicts": verdicts,
        "posts": sum(outcome.ledger.posts.values()),
        "wake_ms": outcome.wakes(tuple(KINDS)),
        "lost": [asdict(visit) for visit in outcome.lost],
        "violations": violations,
    }


def _text(options: argparse.Namespace, outcome: Outcome, violations: list[str], surroundings: str) -> str:
    visits = outcome.visits
    causes = ", ".join(f"{count} by {cause}" for cause, count in sorted(outcome.passivations.items()))
    faults = "".join(f", {what} {count} times" for what, count in outcome.faults.items())
    lines = [
        f"zero-lost: {options.tenants} tenants, {options.driver} driver, etcd, 2 gogeta, seed {options.seed}{faults}",
        machine_line(),
        surroundings,
        "",
        f"{outcome.cycles} cycles of passivation and wake in {outcome.seconds:.0f} s ({outcome.ledger.starts()} starts, "
        f"{outcome.stops} stops)",
        f"{outcome.passivations.total()} decisions to sleep ({causes}), {outcome.taken_back} taken back before the stop",
        "",
        f"{'requests':14}{'all':>9}" + "".join(f"{verdict.name.lower():>9}" for verdict in Verdict),
    ]
    for kind in (*KINDS, "all"):
        counts = Counter(visit.verdict for visit in visits if kind in (visit.kind, "all"))
        lines.append(f"{kind:14}{counts.total():9}" + "".join(f"{counts[verdict]:9}" for verdict in Verdict))
    lines += ["", *(f"{verdict.name.lower():8} {verdict.value}" for verdict in Verdict), ""]
    waits = {kind: found for kind in KINDS if (found := outcome.wakes([kind]))}
    if waits:
        lines.append("first byte, of requests that came while the tenant was not up, in ms:")
        lines.append(table("ms", {**waits, "all": outcome.wakes(tuple(KINDS))}))
    lines.append("")
    for visit in outcome.lost[:_TOLD]:
        lines.append(
            f"LOST {visit.id} through proxy {visit.proxy}, {(visit.ended - visit.sent) * 1000:.0f} ms: status "
            f"{visit.status} {visit.code} {visit.whose} {visit.instance} {visit.wrong} {visit.trouble}"
        )
        lines += [f"    {line}" for line in visit.history]
    lines += [f"VIOLATION {violation}" for violation in violations] or ["nothing lost, nothing done twice"]
    return "\n".join(lines)
