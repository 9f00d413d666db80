"""What all parts of a simulated world share: time, chance, the trace, the counts, and what went wrong.

It must not know the parts: each finds the others by what it is given.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.scheduler import START, Process, Scheduler

FOR_EVER: Final = float("inf")


@dataclass(slots=True)
class Span:
    """A trouble from ``begin`` to ``end``."""

    kind: str
    whose: str
    begin: float
    end: float = FOR_EVER


class World:
    """One seed's world."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.scheduler = Scheduler()
        self.scheduler.on_error = self._unexpected
        self.tracing = tracing
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.spans: list[Span] = []
        self.processes: list[Process] = []
        """All that ever were: what a killed one had under way must not be collected, which would run its ends."""
        self.on_trouble: Callable[[Span], None] = lambda _: None

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(self.scheduler, name)
        self.processes.append(process)
        return process

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.scheduler.now - START

    def between(self, low: float, high: float) -> float:
        """A time drawn between two."""
        return low + (high - low) * self.random.random()

    def tell(self, who: str, what: str) -> None:
        """One line of the trace."""
        if self.tracing:
            self.lines.append(f"{self.now:10.4f}  {who:<12} {what}")

    def count(self, what: str) -> None:
        """Count it, for the figures at the end."""
        self.counts[what] += 1

    def violated(self, invariant: str, what: str) -> None:
        """What must not happen, has."""
        self.violations.append(f"{invariant} at {self.now:.4f}: {what}")
        self.tell("!!!", f"{invariant} VIOLATED: {what}")

    def _unexpected(self, process: Process | None, error: BaseException, what: str) -> None:
        if process is None:
            # A mistake of the simulation's own.
            raise error
        self.violated("FAULT", f"{process.name}: {type(error).__name__}: {error} {what}")

    # ------------------------------------------------------------------------------------------------------- troubles

    def trouble(self, kind: str, whose: str = "") -> Span:
        """A trouble begins."""
        span = Span(kind, whose, self.scheduler.now)
        self.spans.append(span)
        self.count(f"fault {kind}")
        self.tell("FAULT", f"{kind} {whose}".rstrip())
        self.on_trouble(span)
        return span

    def over(self, span: Span) -> None:
        """It ends."""
        if span.end == FOR_EVER:
            span.end = self.scheduler.now
            self.tell("FAULT", f"over: {span.kind} {span.whose}".rstrip())

    def troubled(self, since: float, kinds: frozenset[str], whose: frozenset[str]) -> bool:
        """Whether any of these troubles of any of these (``""``: of everybody) was there after ``since``."""
        return any(span.kind in kinds and span.whose in whose and span.end >= since for span in self.spans)


@dataclass(slots=True)
class Wire:
    """The way between one process and the registry, with its troubles."""

    cut: bool = False
    """Nothing comes through; nobody is told."""
    latency: tuple[float, float] = (0.0005, 0.004)
    lag: tuple[float, float] = (0.0005, 0.01)
    """Of what is watched, on top."""
    answers_to_lose: int = 0
    """The next so many commits happen, and their answers are lost."""
    withheld: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What the kernel will send when the way is free again."""

    def heal(self) -> None:
        """All comes through again."""
        self.cut = False
        withheld, self.withheld = self.withheld, {}
        for send in withheld.values():
            send()
