"""What a proxy adds to an answer when nothing is busy: a fixed rate of requests, the backend asked directly beside.

The same generator measures both, so what it takes itself is in both and not in the difference.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from bench.backends import nginx_backend
from bench.plan import Plan, rows
from bench.rounds import Meter, interleaved
from bench.samples import Row, Rows, Sample
from bench.stage import Server, Stage
from bench.targets import OURS, Target

NAME: Final = "latency"
DIRECT: Final = "direct"


def measure(plan: Plan) -> list[Row]:
    """All peers, and the way without one."""
    with plan.stage() as stage:
        backend = nginx_backend(stage)
        proxies = plan.proxies(stage, backend)
        run = partial(_run, stage, plan.rate, plan.seconds)
        runs = {DIRECT: partial(run, backend, proxy=False)}
        runs |= {name: partial(run, server) for name, server in proxies.items()}
        found = rows(NAME, f"{plan.rate:,.0f}/s", "request", interleaved(NAME, plan.rounds, runs))
    base = found[0]
    return [base, *(replace(row, note=f"p50 {added(row, base):+.2f} ms over direct") for row in found[1:])]


def added(row: Row, base: Row) -> float:
    """Milliseconds at the median that a proxy adds."""
    mine, direct = row.middle(lambda sample: sample.p50), base.middle(lambda sample: sample.p50)
    assert mine is not None
    assert direct is not None
    return mine - direct


def targets(rows: Rows) -> list[Target]:
    """What gogeta adds."""
    here = {row.proxy: row for row in rows if row.scenario == NAME}
    measured = added(here[OURS], here[DIRECT]) if OURS in here and DIRECT in here else None
    return [Target(f"{NAME}: p50 added to a direct request", 0.3, measured, unit="ms")]


def _run(stage: Stage, rate: float, seconds: int, server: Server, *, proxy: bool = True) -> Sample:
    meter = Meter(server)
    figures = stage.load("steady", server.port, rate, seconds, seconds=seconds)
    cpu, rss = (meter.cpu(), meter.rss()) if proxy else (None, None)
    return Sample(cpu=cpu, rss=rss, **figures)
