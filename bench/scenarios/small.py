"""Small pages on 64 connections that are kept, as many as the proxy can take.

``same``: every request has the same head. ``varied``: each has another path, query and cookie, and each answer another
header, so that nothing that remembers heads it has seen can profit from it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from bench.backends import nginx_backend
from bench.loads import wrk
from bench.plan import Plan
from bench.rounds import Meter, interleaved
from bench.samples import Row, Rows, Sample
from bench.stage import Server, Stage
from bench.targets import Target, middle

NAME: Final = "small"
VARIANTS: Final = ("same", "varied")
_CONNECTIONS: Final = 64
_WARMING: Final = 1


def measure(plan: Plan) -> list[Row]:
    """All peers, both variants."""
    with plan.stage() as stage:
        proxies = plan.proxies(stage, nginx_backend(stage))
        for proxy in proxies.values():
            wrk.drive(stage, proxy.port, varied=True, connections=_CONNECTIONS, seconds=_WARMING)
        found = interleaved(
            NAME,
            plan.rounds,
            {
                f"{variant} {name}": partial(_run, stage, proxy, varied=variant == "varied", seconds=plan.seconds)
                for variant in VARIANTS
                for name, proxy in proxies.items()
            },
        )
    return [Row(NAME, variant, name, "request", found[f"{variant} {name}"]) for variant in VARIANTS for name in proxies]


def targets(rows: Rows) -> list[Target]:
    """CPU time against nginx and Go, and the slowest answers against nginx's."""
    each = middle(lambda sample: sample.each)
    p99 = middle(lambda sample: sample.p99)
    wanted = []
    for variant in VARIANTS:
        where = (NAME, variant)
        text = f"{NAME}, {variant}: CPU per request"
        wanted += [
            Target.compare(rows, where, each, "nginx", text=text, bound=1.6),
            Target.compare(rows, where, each, "go", text=text, bound=0.55),
            Target.compare(rows, where, p99, "nginx", text=f"{NAME}, {variant}: p99", bound=2.0),
        ]
    return wanted


def _run(stage: Stage, proxy: Server, *, varied: bool, seconds: int) -> Sample:
    meter = Meter(proxy)
    answered = wrk.drive(stage, proxy.port, varied=varied, connections=_CONNECTIONS, seconds=seconds)
    return Sample(
        count=answered.count,
        seconds=answered.seconds,
        cpu=meter.cpu(),
        rss=meter.rss(),
        p50=answered.p50,
        p99=answered.p99,
        failed=answered.failed,
    )
