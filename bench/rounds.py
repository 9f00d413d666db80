"""Runs in turns: in every round each proxy once, another one first each time, so that a disturbance meets all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from bench.samples import Sample
from bench.stage import Server
from bench.usage import forget_peak, peak, usage


def interleaved(what: str, rounds: int, runs: Mapping[str, Callable[[], Sample]]) -> dict[str, tuple[Sample, ...]]:
    """Call each run once a round, and gather its samples under its name."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in rotated(list(runs), number):
            progress(f"{what}: round {number + 1} of {rounds}, {name}")
            samples[name].append(runs[name]())
    progress("")
    return {name: tuple(found) for name, found in samples.items()}


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same, beginning ``by`` places later."""
    start = by % len(names)
    return [*names[start:], *names[:start]]


def progress(text: str) -> None:
    """Tell whoever waits at a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


class Meter:
    """What a server uses from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        forget_peak(server.pid)
        self._before = usage(server.pid)

    def cpu(self) -> float:
        """Seconds of CPU time of the tree since then."""
        return usage(self._server.pid).cpu - self._before.cpu

    def each(self) -> dict[int, float]:
        """The same by process."""
        now = usage(self._server.pid)
        return {pid: seconds - self._before.each.get(pid, 0.0) for pid, seconds in now.each.items()}

    def rss(self) -> int:
        """The most memory, in bytes, that it held since then."""
        return peak(self._server.pid)
