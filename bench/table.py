"""Samples in milliseconds as a table of their distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

COLUMNS = ("min", "p50", "p90", "p99", "max")


def distribution(samples: Sequence[float]) -> dict[str, float]:
    """Least, median, 90th and 99th percentile (nearest rank) and greatest."""
    ordered = sorted(samples)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return {"min": ordered[0], "p50": rank(0.5), "p90": rank(0.9), "p99": rank(0.99), "max": ordered[-1]}


def table(title: str, rows: Mapping[str, Sequence[float]]) -> str:
    """One line per row of samples, with ``title`` above the names."""
    width = max(len(title), *(len(name) for name in rows))
    lines = [title.ljust(width) + "".join(f"{column:>10}" for column in COLUMNS)]
    for name, samples in rows.items():
        values = distribution(samples)
        lines.append(name.ljust(width) + "".join(f"{values[column]:10.1f}" for column in COLUMNS))
    return "\n".join(lines)
