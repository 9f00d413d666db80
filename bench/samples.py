"""Figures of a run, and of several runs of the same: medians, so that one disturbed round does not count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One proxy under one load for a while."""

    count: float
    """What was done: requests, messages, megabytes."""
    seconds: float
    cpu: float | None = None
    """Seconds of CPU time of the proxy's whole tree; None where there is no proxy."""
    rss: float | None = None
    """The most bytes of memory it held meanwhile."""
    p50: float | None = None
    """Milliseconds."""
    p99: float | None = None
    failed: int = 0
    besides: dict[str, float] = field(default_factory=dict)
    """What only this scenario knows."""

    @property
    def rate(self) -> float | None:
        """Done per second."""
        return self.count / self.seconds if self.count else None

    @property
    def each(self) -> float | None:
        """Microseconds of CPU time for one."""
        return self.cpu / self.count * 1e6 if self.count and self.cpu is not None else None

    @property
    def busy(self) -> float | None:
        """Share of one core that the proxy took: below 1 something else was the limit, or the load was."""
        return self.cpu / self.seconds if self.cpu is not None else None


@dataclass(frozen=True)
class Row:
    """All runs of one proxy in one variant of a scenario."""

    scenario: str
    variant: str
    proxy: str
    unit: str
    samples: tuple[Sample, ...]
    note: str = ""
    """A figure that has no column, in words."""

    def middle(self, of: Callable[[Sample], float | None]) -> float | None:
        """The median of a figure over the runs; None where no run has it."""
        values = [value for sample in self.samples if (value := of(sample)) is not None]
        return median(values) if values else None

    def besides(self, name: str) -> float:
        """The median of a figure that only this scenario knows."""
        return median(sample.besides[name] for sample in self.samples)

    @property
    def failed(self) -> int:
        """What went wrong in all runs together."""
        return sum(sample.failed for sample in self.samples)

    def plain(self) -> dict[str, Any]:
        """For JSON: the medians and every sample."""
        return {
            "scenario": self.scenario,
            "variant": self.variant,
            "proxy": self.proxy,
            "unit": self.unit,
            "rate": self.middle(lambda sample: sample.rate),
            "cpu_us": self.middle(lambda sample: sample.each),
            "busy": self.middle(lambda sample: sample.busy),
            "p50_ms": self.middle(lambda sample: sample.p50),
            "p99_ms": self.middle(lambda sample: sample.p99),
            "rss": self.middle(lambda sample: sample.rss),
            "besides": {name: self.besides(name) for name in self.samples[0].besides},
            "failed": self.failed,
            "note": self.note,
            "samples": [asdict(sample) for sample in self.samples],
        }


class Rows(list[Row]):
    """Every row of a run, and the way to one of them."""

    def find(self, scenario: str, variant: str, proxy: str) -> Row | None:
        """The row, if it was measured."""
        for row in self:
            if (row.scenario, row.variant, row.proxy) == (scenario, variant, proxy):
                return row
        return None
