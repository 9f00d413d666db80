"""Connections that did one request each and then nothing: the memory of each, and the CPU time all of them cost.

Once for each proxy, whatever the rounds: memory that is there already would make a second time look cheaper.
"""

from __future__ import annotations

import time
from typing import Final

from bench.backends import nginx_backend
from bench.peers.peer import check
from bench.plan import Plan
from bench.rounds import Meter, progress
from bench.samples import Row, Rows, Sample
from bench.stage import Server, Stage
from bench.targets import OURS, Target
from bench.usage import resident

NAME: Final = "idle"
_LONGEST: Final = 20
"""Seconds of idleness: with the time to open all, well below what a proxy keeps an idle connection (gogeta: 75 s)."""


def measure(plan: Plan) -> list[Row]:
    """All peers, each by itself."""
    found = []
    for peer in plan.peers:
        progress(f"{NAME}: {peer.name}")
        with plan.stage() as stage:
            proxy = peer.start(stage, nginx_backend(stage).port)
            check(proxy)
            found.append(_run(stage, plan, proxy))
    progress("")
    return found


def targets(rows: Rows) -> list[Target]:
    """Memory and CPU time."""
    row = next((row for row in rows if row.scenario == NAME and row.proxy == OURS), None)
    return [
        Target(f"{NAME}: RSS of a connection", 12, row.besides("kb_each") if row else None, unit="kB"),
        Target(
            f"{NAME}: CPU over that without connections", 0.5, row.besides("percent_more") if row else None, unit="%"
        ),
    ]


def _run(stage: Stage, plan: Plan, proxy: Server) -> Row:
    seconds, count = min(plan.seconds * 2, _LONGEST), plan.idle_connections
    without = _cpu_in(proxy, seconds)
    empty = resident(proxy.pid)
    load = stage.start_load("idle", proxy.port, count)
    held = int(load.wait_for_line(r"^open (\d+)$", timeout=120).group(1))
    # What the last requests left to do is not idleness.
    time.sleep(1)
    full = resident(proxy.pid)
    meter = Meter(proxy)
    cpu = _cpu_in(proxy, seconds)
    kb_each, percent = (full - empty) / max(1, held) / 1000, cpu / seconds * 100
    more = percent - without / seconds * 100
    sample = Sample(
        count=0,
        seconds=seconds,
        cpu=cpu,
        rss=meter.rss(),
        besides={"held": held, "kb_each": kb_each, "percent": percent, "percent_more": more},
    )
    load.end()
    fewer = f"takes only {held:,}; " if held < count else ""
    note = f"{fewer}{kb_each:.1f} kB each; {percent:.1f} % CPU idle, {more:+.1f} % over none"
    return Row(NAME, f"{count:,} connections", proxy.name, "request", (sample,), note)


def _cpu_in(proxy: Server, seconds: float) -> float:
    meter = Meter(proxy)
    time.sleep(seconds)
    return meter.cpu()
