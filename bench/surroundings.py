"""How much of the machine went to others while it was measured: what a reader has to know to trust a figure."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/stat")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Fields of the first line behind its name (proc(5)).
_IDLE: Final = slice(3, 5)
_STEAL: Final = 7
_GUESTS: Final = 8


class Surroundings:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._busy, self._stolen, self._whole = _machine()
        self._ours = _ours()

    def __str__(self) -> str:
        """In one line, as shares of all cores: other programs, and what the hypervisor kept for itself."""
        busy, stolen, whole = _machine()
        whole -= self._whole
        others = busy - self._busy - (_ours() - self._ours)
        share = max(0.0, others) / whole if whole else 0.0
        kept = (stolen - self._stolen) / whole if whole else 0.0
        return f"meanwhile other programs took {share:.0%} of this machine's CPU time, and its host {kept:.0%}"


def _machine() -> tuple[float, float, float]:
    """Seconds of all cores since boot: at work, kept by the host, and in all."""
    ticks = [int(field) for field in _STAT.read_text(encoding="ascii").splitlines()[0].split()[1:]][:_GUESTS]
    whole, stolen = sum(ticks), ticks[_STEAL]
    return (whole - stolen - sum(ticks[_IDLE])) / _TICKS, stolen / _TICKS, whole / _TICKS


def _ours() -> float:
    """Seconds of this process and of all that it started and that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
