"""What a second worker brings: gogeta with one worker on one core, and with two on two.

With three cores or more the load has its own, and the rates are compared as they are. With two, a second worker has to
share its core with load and backend, so no rate can show the gain. There the work is compared instead: the CPU time
of a request with two workers against one. Two workers whose requests cost what they cost with one do twice the work
on cores of their own; what they lose by sharing caches with load and backend here counts against them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Final

from bench.backends import nginx_backend
from bench.loads import wrk
from bench.peers import gogeta
from bench.peers.peer import check
from bench.plan import Plan
from bench.rounds import Meter, interleaved
from bench.samples import Row, Rows, Sample
from bench.stage import Server, Stage
from bench.targets import OURS, Target

NAME: Final = "workers"
ONE: Final = "1 worker"
TWO: Final = "2 workers"
_CONNECTIONS: Final = 128
"""Enough that the kernel's choice of a worker for each evens out."""
_WARMING: Final = 1


def measure(plan: Plan) -> list[Row]:
    """One and two, in turns."""
    usable = frozenset(os.sched_getaffinity(0)) | plan.cores.proxy | plan.cores.others
    pair = frozenset(sorted(usable)[:2])
    spare = len(usable) > len(pair)
    cores = replace(plan.cores, others=usable - pair) if spare else plan.cores
    with Stage(plan.folder, cores) as stage:
        backend = nginx_backend(stage)
        servers = {
            ONE: gogeta.start_workers(stage, backend.port, 1, cores.proxy),
            TWO: gogeta.start_workers(stage, backend.port, 2, pair),
        }
        for server in servers.values():
            check(server)
            wrk.drive(stage, server.port, varied=True, connections=_CONNECTIONS, seconds=_WARMING)
        runs = {name: partial(_run, stage, plan.seconds, server) for name, server in servers.items()}
        found = interleaved(NAME, plan.rounds, runs)
    rows = {name: Row(NAME, name, OURS, "request", samples) for name, samples in found.items()}
    told = "by rate" if spare else "by CPU per request, for want of a core for the load"
    note = f"the busier worker did {rows[TWO].besides('busiest_share'):.0%}; gain {told}"
    samples = tuple(replace(sample, besides=sample.besides | {"by_rate": float(spare)}) for sample in rows[TWO].samples)
    return [rows[ONE], replace(rows[TWO], samples=samples, note=note)]


def targets(rows: Rows) -> list[Target]:
    """The gain."""
    return [Target(f"{NAME}: 2 against 1", 1.8, gain(rows), at_least=True, unit="x")]


def gain(rows: Rows) -> float | None:
    """How many times the work of one worker two do, by rate or by CPU time, as ``measure`` could tell."""
    one, two = rows.find(NAME, ONE, OURS), rows.find(NAME, TWO, OURS)
    if one is None or two is None:
        return None
    if two.besides("by_rate"):
        before, after = one.middle(lambda sample: sample.rate), two.middle(lambda sample: sample.rate)
        return after / before if before and after else None
    before, after = one.middle(lambda sample: sample.each), two.middle(lambda sample: sample.each)
    return 2 * before / after if before and after else None


def _run(stage: Stage, seconds: int, server: Server) -> Sample:
    meter = Meter(server)
    answered = wrk.drive(stage, server.port, varied=True, connections=_CONNECTIONS, seconds=seconds)
    each = sorted(meter.each().values())
    return Sample(
        count=answered.count,
        seconds=answered.seconds,
        cpu=meter.cpu(),
        rss=meter.rss(),
        p50=answered.p50,
        p99=answered.p99,
        failed=answered.failed,
        besides={"busiest_share": each[-1] / sum(each) if sum(each) else 1.0},
    )
