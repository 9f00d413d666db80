"""Is the process that wrote this still alive? A sure "no" is possible only on the machine it ran on, and that is used.

A mark names one run of one process: the machine's boot, the namespace of process ids, the id, and when it was started.
A successor on the same machine that finds a mark of a dead process need not wait until its lease ends. Any doubt is a
"may be alive".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_DEAD: Final = frozenset({"Z", "X"})


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """Who we are to other passivators."""

    name: str
    """In the registry."""
    mark: str = field(default_factory=lambda: own_mark())  # noqa: PLW0108 - it stands below
    is_dead: Callable[[str], bool] = lambda mark: is_dead(mark)  # noqa: PLW0108 - ditto
    """Whether a mark's process is known to be dead."""


def own_mark() -> str:
    """The mark of this process; empty where the system does not tell enough."""
    here, started = _here(), _started(os.getpid())
    return f"{here}/{os.getpid()}/{started}" if here and started else ""


def is_dead(mark: str) -> bool:
    """Whether the process of this mark is known not to run any more."""
    here, _, process = mark.rpartition("/")[0].rpartition("/")
    started = mark.rpartition("/")[2]
    if not here or here != _here() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    now = _started(int(process))
    # Nothing to read proves nothing: /proc may hide the processes of others.
    return now not in ("", started)


def _here() -> str:
    """This boot of this machine, and the namespace in which process ids mean something; empty when not told."""
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - no path
    except (OSError, ValueError):
        return ""


def _started(process: int) -> str:
    """When a process was started, in ticks since the boot; ``dead`` for one that only waits to be collected."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "dead" if fields[0].decode() in _DEAD else fields[19].decode()
