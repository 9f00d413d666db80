"""What a process and all its descendants have used: CPU time and resident memory, read from /proc.

CPU time is user and system time of every process of the tree, those that have ended and were waited for included. The
kernel shows it in ticks (10 ms), which is 0.2 % of the shortest run that is worth printing.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
# Places in /proc/PID/stat behind the command's closing bracket, which is field 2 (proc(5)).
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)


@dataclass(frozen=True)
class Usage:
    """One look at a tree."""

    cpu: float
    """Seconds of CPU time since the first process was started."""
    each: dict[int, float]
    """The same for every process that runs, by its id."""


def tree(pid: int) -> list[int]:
    """A process and its descendants; empty when it is gone."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(entry.name))
    found = [pid] if _stat(pid) else []
    for parent in found:
        found += children.get(parent, [])
    return found


def usage(pid: int) -> Usage:
    """CPU time of a process and its descendants until now. Raises ProcessLookupError when it is gone."""
    each = {}
    for member in tree(pid):
        if fields := _stat(member):
            each[member] = sum(map(int, fields[_TIMES])) / _TICKS
    if not each:
        raise ProcessLookupError(f"process {pid} is gone")
    return Usage(sum(each.values()), each)


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold; pages they share count once for each."""
    return sum(_kilobytes(member, "smaps_rollup", "Rss:") for member in tree(pid)) * 1024


def peak(pid: int) -> int:
    """The most that each held since ``forget_peak``, together."""
    return sum(_kilobytes(member, "status", "VmHWM:") for member in tree(pid)) * 1024


def forget_peak(pid: int) -> None:
    """Begin anew with what is held now (proc(5): clear_refs)."""
    for member in tree(pid):
        with contextlib.suppress(OSError):
            (_PROC / str(member) / "clear_refs").write_text("5", encoding="ascii")


def _kilobytes(pid: int, file: str, field: str) -> int:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / file).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def _stat(pid: int) -> list[str]:
    # It may end while it is looked at.
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []
