"""How much memory local processes may have: what this host has to spare, by the kernel's word."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_SHARE: Final = 0.8
"""Part of what is available that tenants may have: the rest of the host needs some too."""
_MEMINFO: Final = Path("/proc/meminfo")
_CONTROL_GROUP: Final = Path("/sys/fs/cgroup")


def available_memory(meminfo: Path = _MEMINFO, control_group: Path = _CONTROL_GROUP) -> int | None:
    """Bytes that may be used now: a part of what is available, within our control group's limit; None if not told."""
    available = [amount for amount in (_available(meminfo), _allowed(control_group)) if amount is not None]
    return int(min(available) * _SHARE) if available else None


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _allowed(control_group: Path) -> int | None:
    """What is left of the limit of the control group that we see as the root, if it has one."""
    try:
        limit = (control_group / "memory.max").read_text(encoding="ascii").strip()
        return None if limit == "max" else max(int(limit) - int((control_group / "memory.current").read_text()), 0)
    except (OSError, ValueError):
        return None
