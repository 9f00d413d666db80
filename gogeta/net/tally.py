"""What the data plane counts: plain integers, added to on the way, collected when somebody scrapes.

It knows nothing of Prometheus; ``gogeta.admin.metrics`` gives these numbers their public names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the latency buckets, in seconds."""


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


@dataclass(slots=True)
class Tally:
    """All counters of one worker."""

    connections: int = 0
    """Visitors' connections accepted so far."""
    answers: list[int] = field(default_factory=lambda: [0] * 6)
    """Final responses by the first digit of their status."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Answers of our own, by reason."""
    broken: Counter[str] = field(default_factory=Counter)
    """Exchanges cut after their response had begun, by side: ``client``, ``upstream``, ``timeout``, ``drain``;
    ``limit``: the request's body became larger than is taken."""
    upstream_connects: int = 0
    upstream_connect_failures: int = 0
    upstream_reuses: int = 0
    retries: int = 0
    """Requests sent again because a reused connection had died under them."""
    upgrades: int = 0
    held: int = 0
    """Requests waiting for a tenant right now."""
    holds: int = 0
    """Requests that had to wait, so far."""
    hold_seconds: Histogram = field(default_factory=Histogram)
    whole_seconds: Histogram = field(default_factory=Histogram)
    """From the head read to the answer, for requests that were forwarded at once and answered in one piece."""
    request_seconds: Histogram = field(default_factory=Histogram)
    """From the head read to the last byte, for all others; upgrades are left out."""
    upstream_seconds: Histogram = field(default_factory=Histogram)
    """From the request handed to the tenant's connection to the first byte of its answer, for the same."""
    first_byte_seconds: Histogram = field(default_factory=Histogram)
    """From the head read to the first byte of the final answer, for the same."""
    wakes: Counter[str] = field(default_factory=Counter)
    """Wakes asked of the registry, by result: ``asked``, ``joined``, ``refused``, ``over-budget``, ``unavailable``."""
    unwoken: Counter[str] = field(default_factory=Counter)
    """Requests to sleeping tenants that were answered without a wake, by why."""
    wake_seconds: Histogram = field(default_factory=Histogram)
    """From the request that asked for a wake to the first byte of the tenant's own answer."""
    wake_reports_dropped: int = 0
    """Reports of wakes that could not be kept until the registry took them."""
    progress_streams: int = 0
    """Streams of progress that starting pages have opened so far."""
    taken_back: int = 0
    """Passivations that were taken back because the tenant was in use here."""
    access_writes: int = 0
    access_failures: int = 0
    suspects: int = 0
