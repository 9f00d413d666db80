"""What gogeta must not cost more than, and whether it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from bench.samples import Row, Rows, Sample

Figure = Callable[[Row], float | None]
OURS = "gogeta"


def middle(of: Callable[[Sample], float | None]) -> Figure:
    """The figure of a row that is the median of this of its samples."""
    return lambda row: row.middle(of)


@dataclass(frozen=True)
class Target:
    """One promise: a figure of gogeta's, at most or at least so much, in itself or as a multiple of a peer's."""

    text: str
    bound: float
    measured: float | None
    """None: not measured, for want of one of its parts."""
    at_least: bool = False
    unit: str = ""

    @classmethod
    def compare(cls, rows: Rows, where: tuple[str, str], figure: Figure, peer: str, **promise: Any) -> Self:  # noqa: ANN401 - fields of this class
        """A target as a multiple of a peer's figure in the same row of the table."""
        ours, theirs = rows.find(*where, OURS), rows.find(*where, peer)
        mine = figure(ours) if ours else None
        base = figure(theirs) if theirs else None
        return cls(measured=mine / base if mine is not None and base else None, unit=f"x {peer}", **promise)

    @property
    def met(self) -> bool | None:
        """Whether it is kept; None when that is not known."""
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.text,
            "bound": self.bound,
            "at_least": self.at_least,
            "unit": self.unit,
            "measured": self.measured,
            "met": self.met,
        }


def lines(targets: list[Target]) -> list[str]:
    """One line for each."""
    width = max((len(target.text) for target in targets), default=0)
    return [
        f"{text:<{width}}  {wanted:<14}{measured:>8}  {word}" for text, wanted, measured, word in map(_cells, targets)
    ]


def markdown(targets: list[Target]) -> str:
    """The same for bench/README.md."""
    told = ("| " + " | ".join(_cells(target)) + " |" for target in targets)
    return "\n".join(["| target | wanted | measured | |", "|---|---|---:|---|", *told])


def _cells(target: Target) -> tuple[str, str, str, str]:
    words = {True: "met", False: "MISSED", None: "not known: a part of the comparison was not measured"}
    return (
        target.text,
        f"{'>=' if target.at_least else '<='} {target.bound:g} {target.unit}".strip(),
        "-" if target.measured is None else f"{target.measured:.3g}",
        words[target.met],
    )
