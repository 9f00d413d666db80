"""A histogram as plain integers: cheap to add to, and read when somebody scrapes. It knows nothing of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets, in seconds."""


@dataclass(slots=True)
class Histogram:
    """Counts per bucket (the last one is "more"), and the sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def __add__(self, other: Histogram) -> Histogram:
        """Both together."""
        return Histogram(
            [one + two for one, two in zip(self.counts, other.counts, strict=True)], self.total + other.total
        )
