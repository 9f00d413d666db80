"""WebSocket messages of 100 bytes on 64 connections, each sent when the one before has come back."""

from __future__ import annotations

from functools import partial
from typing import Final

from bench.backends import echo_backend
from bench.peers.peer import check_answer
from bench.plan import Plan, rows
from bench.rounds import Meter, interleaved
from bench.samples import Row, Rows, Sample
from bench.stage import Server, Stage
from bench.targets import Target, middle

NAME: Final = "websocket"
VARIANT: Final = "echo of 100 bytes"
_CONNECTIONS: Final = 64


def measure(plan: Plan) -> list[Row]:
    """All peers."""
    with plan.stage() as stage:
        # What the backend says to those who want no WebSocket.
        checked = partial(check_answer, target="/", status=426, body="")
        proxies = plan.proxies(stage, echo_backend(stage), checked)
        runs = {name: partial(_run, stage, plan.seconds, proxy) for name, proxy in proxies.items()}
        return rows(NAME, VARIANT, "message", interleaved(NAME, plan.rounds, runs))


def targets(rows: Rows) -> list[Target]:
    """Messages against nginx."""
    rate = middle(lambda sample: sample.rate)
    text = f"{NAME}: messages/s"
    return [Target.compare(rows, (NAME, VARIANT), rate, "nginx", text=text, bound=0.6, at_least=True)]


def _run(stage: Stage, seconds: int, proxy: Server) -> Sample:
    meter = Meter(proxy)
    figures = stage.load("messages", proxy.port, _CONNECTIONS, seconds, seconds=seconds)
    return Sample(cpu=meter.cpu(), rss=meter.rss(), **figures)
