"""Bodies of 10 MB, down and up, on four connections; and what clients who read such a body slowly cost the others."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Final

from bench.backends import LARGE, nginx_backend, sink_backend
from bench.peers.peer import check_answer
from bench.plan import Plan, rows
from bench.rounds import Meter, interleaved
from bench.samples import Row, Rows, Sample
from bench.stage import Server, Stage
from bench.targets import OURS, Target, middle

NAME: Final = "bodies"
DOWN: Final = "10 MB down"
UP: Final = "10 MB up"
SLOW: Final = "slow readers"
_SLOW_RATE: Final = 50_000
"""Bytes a second that a slow client reads."""
_FILLING: Final = 2.0
"""Seconds until the buffers on the way to them are full."""
_PROBING: Final = 500
"""Requests a second of the client beside them."""


def measure(plan: Plan) -> list[Row]:
    """Down, up, and the slow ones."""
    return [*_throughput(plan, DOWN), *_throughput(plan, UP), *_slowly(plan)]


def targets(rows: Rows) -> list[Target]:
    """Throughput against nginx; memory, and what others notice."""
    rate = middle(lambda sample: sample.rate)
    wanted = [
        Target.compare(rows, (NAME, way), rate, "nginx", text=f"{NAME}: {way}, MB/s", bound=0.7, at_least=True)
        for way in (DOWN, UP)
    ]
    slow = next((row for row in rows if row.variant.endswith(SLOW) and row.proxy == OURS), None)
    rss = slow.middle(lambda sample: sample.rss) if slow else None
    return [
        *wanted,
        Target(f"{NAME}: {SLOW}, most RSS", 150, rss / 1e6 if rss else None, unit="MB"),
        Target(f"{NAME}: {SLOW}, p99 of another", 2, slow.besides("times_calm") if slow else None, unit="x calm"),
    ]


def _throughput(plan: Plan, way: str) -> list[Row]:
    with plan.stage() as stage:
        if way == DOWN:
            proxies = plan.proxies(stage, nginx_backend(stage))
        else:
            proxies = plan.proxies(stage, sink_backend(stage), partial(check_answer, target="/", status=200, body="0"))
        word = way.rpartition(" ")[2]
        runs = {name: partial(_move, stage, word, plan.seconds, proxy) for name, proxy in proxies.items()}
        return rows(NAME, way, "MB", interleaved(f"{NAME}, {way}", plan.rounds, runs))


def _move(stage: Stage, way: str, seconds: int, proxy: Server) -> Sample:
    meter = Meter(proxy)
    figures = stage.load("bulk", proxy.port, way, LARGE, seconds, seconds=seconds)
    return Sample(count=figures["bytes"] / 1e6, seconds=figures["seconds"], cpu=meter.cpu(), rss=meter.rss())


def _slowly(plan: Plan) -> list[Row]:
    variant = f"{plan.slow_clients} {SLOW}"
    with plan.stage() as stage:
        proxies = plan.proxies(stage, nginx_backend(stage))
        runs = {name: partial(_beside_slow, stage, plan, proxy) for name, proxy in proxies.items()}
        found = rows(NAME, variant, "request", interleaved(f"{NAME}, {variant}", plan.rounds, runs))
    return [
        replace(row, note=f"p99 calm {row.besides('calm_p99'):.2f} ms, so x {row.besides('times_calm'):.1f}")
        for row in found
    ]


def _beside_slow(stage: Stage, plan: Plan, proxy: Server) -> Sample:
    calm = stage.load("steady", proxy.port, _PROBING, plan.seconds, seconds=plan.seconds)
    meter = Meter(proxy)
    slow = stage.start_load("slow", proxy.port, plan.slow_clients, _SLOW_RATE)
    try:
        slow.wait_for_line(r"^open$", timeout=60)
        # The first moment is a burst of as many downloads as buffers take; after that they are slow.
        time.sleep(_FILLING)
        seconds = plan.seconds * 2
        meanwhile = stage.load("steady", proxy.port, _PROBING, seconds, seconds=seconds)
        assert slow.running, f"{proxy.name} did not keep the slow readers:\n{slow.output()}"
        rss, cpu = meter.rss(), meter.cpu()
    finally:
        slow.end()
    return Sample(
        # The slow ones' bytes are most of the work: no figure for one request would be right.
        count=0,
        seconds=meanwhile["seconds"],
        cpu=cpu,
        rss=rss,
        p50=meanwhile["p50"],
        p99=meanwhile["p99"],
        besides={"calm_p99": calm["p99"], "times_calm": meanwhile["p99"] / calm["p99"]},
    )
