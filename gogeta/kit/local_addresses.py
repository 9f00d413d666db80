"""The addresses of this machine, from the kernel's tables; nothing is resolved and no package is needed.

A listener on every address (``0.0.0.0``) is reached through each of these.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final

_LOCAL: Final = re.compile(r"\|-- (\d+(?:\.\d+){3})\n\s+/32 host LOCAL")


def local_addresses(net: Path = Path("/proc/net")) -> frozenset[str]:
    """All of them, IPv4 and IPv6; as many as can be read."""
    found: set[str] = set()
    for name, read in (("fib_trie", _version_4), ("if_inet6", _version_6)):
        try:
            found |= read((net / name).read_text(encoding="ascii", errors="replace"))
        except OSError:
            # Without IPv6, or not on Linux: the table does not exist, and there is nothing to read in it.
            continue
    return frozenset(found)


def _version_4(table: str) -> set[str]:
    return set(_LOCAL.findall(table))


def _version_6(table: str) -> set[str]:
    return {str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in table.splitlines() if line.strip()}
