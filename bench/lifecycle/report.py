"""The outcome of zero-lost, for a reader and for programs."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from bench.lifecycle.outcome import Outcome
from bench.lifecycle.verdict import Verdict
from bench.lifecycle.visits import KINDS
from bench.machine import machine, machine_line
from bench.table import table

_TOLD: Final = 20
"""Lost requests told in full; JSON has all."""


def plain(options: argparse.Namespace, outcome: Outcome, violations: list[str]) -> dict[str, Any]:
    """For programs."""
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
        "exceptions": outcome.exceptions(),
        "posts": sum(outcome.ledger.posts.values()),
        "wake_ms": outcome.wakes(tuple(KINDS)),
        "lost": [asdict(visit) for visit in outcome.lost],
        "violations": violations,
    }


def text(options: argparse.Namespace, outcome: Outcome, violations: list[str], surroundings: str) -> str:
    """For people."""
    visits = outcome.visits
    causes = ", ".join(f"{count} by {cause}" for cause, count in sorted(outcome.passivations.items()))
    faults = "".join(f", {what} {count} times" for what, count in outcome.faults.items())
    lines = [
        f"zero-lost: {options.tenants} tenants, {options.driver} driver, etcd, 2 gogeta, seed {options.seed}{faults}",
        machine_line(),
        surroundings,
        "",
        f"{outcome.cycles} cycles of passivation and wake in {outcome.seconds:.0f} s",
        f"{outcome.ledger.starts()} starts, {outcome.stops} stops",
        f"{outcome.passivations.total()} decisions to sleep ({causes}), {outcome.taken_back} taken back",
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
    lines += [f"{count:6} {what}" for what, count in outcome.exceptions().most_common()]
    for visit in outcome.lost[:_TOLD]:
        lines.append(
            f"LOST {visit.id} through proxy {visit.proxy}, {(visit.ended - visit.sent) * 1000:.0f} ms: status "
            f"{visit.status} {visit.code} {visit.whose} {visit.instance} {visit.wrong} {visit.trouble}"
        )
        lines += [f"    {line}" for line in visit.history]
    lines += [f"VIOLATION {violation}" for violation in violations] or ["nothing lost, nothing done twice"]
    return "\n".join(lines)
