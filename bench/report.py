"""The one table of a bench: a line for each proxy in each variant of each scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.samples import Row, Rows

BASE: Final = "nginx"
"""The peer that CPU time is a multiple of."""
_COLUMNS: Final = ("per second", "CPU us", f"x {BASE}", "busy %", "p50 ms", "p99 ms", "RSS MB")
_WIDTH: Final = 11


def table(rows: Rows) -> str:
    """Plain text, the rows in the order they came in, with a heading where the variant changes."""
    names = max((len(row.proxy) for row in rows), default=0) + 2
    told: list[str] = []
    heading = None
    for row in rows:
        if (row.scenario, row.variant) != heading:
            heading = (row.scenario, row.variant)
            told += ["", f"{row.scenario}, {row.variant} (CPU us and rate of one {row.unit})"]
            told.append(" " * names + "".join(f"{column:>{_WIDTH}}" for column in _COLUMNS))
        cells = "".join(f"{cell:>{_WIDTH}}" for cell in _cells(row, rows))
        told.append(f"{row.proxy:<{names}}{cells}{_remark(row)}")
    return "\n".join(told).strip("\n")


def markdown(rows: Rows) -> str:
    """The same for bench/README.md."""
    told = [
        "| scenario | proxy | " + " | ".join(_COLUMNS) + " | besides |",
        "|---|---|" + "---:|" * len(_COLUMNS) + "---|",
    ]
    for row in rows:
        cells = " | ".join(_cells(row, rows))
        told.append(f"| {row.scenario}, {row.variant} | {row.proxy} | {cells} | {_remark(row).strip()} |")
    return "\n".join(told)


def cpu_ratio(row: Row, rows: Rows) -> float | None:
    """CPU time for one, as a multiple of nginx's in the same variant; None where there is none to compare with."""
    base = rows.find(row.scenario, row.variant, BASE)
    mine = row.middle(lambda sample: sample.each)
    other = base.middle(lambda sample: sample.each) if base else None
    return mine / other if mine and other else None


def _cells(row: Row, rows: Rows) -> Sequence[str]:
    busy = row.middle(lambda sample: sample.busy)
    rss = row.middle(lambda sample: sample.rss)
    return (
        _number(row.middle(lambda sample: sample.rate)),
        _number(row.middle(lambda sample: sample.each)),
        _number(cpu_ratio(row, rows), 2),
        _number(None if busy is None else busy * 100),
        _number(row.middle(lambda sample: sample.p50), 2),
        _number(row.middle(lambda sample: sample.p99), 2),
        _number(rss / 1e6 if rss else None, 1),
    )


def _remark(row: Row) -> str:
    remarks = [row.note] if row.note else []
    if row.failed:
        remarks.append(f"{row.failed} FAILED")
    return "   " + "; ".join(remarks) if remarks else ""


def _number(value: float | None, places: int | None = None) -> str:
    if value is None:
        return "-"
    if places is None:
        places = 0 if abs(value) >= 100 else 1
    return f"{value:,.{places}f}"
