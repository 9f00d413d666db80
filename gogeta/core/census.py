"""How many connections each visitor's address has: one dictionary, O(1) to enter and to leave. Pure.

An IPv6 visitor has a whole /64 network to choose addresses from, so those are counted as one. Trusted proxies speak for
many and are not counted, nor are unix sockets, which have no address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNCOUNTED = ""


class Census:
    """Connections by address, up to ``limit`` each; 0 is no limit."""

    __slots__ = ("_counts", "_limit", "_trusted")

    def __init__(self, limit: int, trusted: Sequence[Network] = ()) -> None:
        """``trusted``: networks that are not counted."""
        self._limit = limit
        self._trusted = tuple(trusted)
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """How many addresses have a connection."""
        return len(self._counts)

    def enter(self, peer: str) -> str | None:
        """Count a connection of ``peer``; what to leave with, or None when there are too many: then it is not counted.

        ``peer`` is an address as sockets tell it; anything else is not counted.
        """
        if not self._limit:
            return UNCOUNTED
        whose = self.whose(peer)
        if whose:
            count = self._counts.get(whose, 0)
            if count >= self._limit:
                return None
            self._counts[whose] = count + 1
        return whose

    def leave(self, whose: str) -> None:
        """A connection is over; ``whose`` is what ``enter`` returned."""
        if whose:
            count = self._counts[whose] - 1
            if count:
                self._counts[whose] = count
            else:
                del self._counts[whose]

    def whose(self, peer: str) -> str:
        """The address or network that a peer is counted under; ``UNCOUNTED`` when it is not."""
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return UNCOUNTED
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._trusted):
            return UNCOUNTED
        if isinstance(address, ipaddress.IPv4Address):
            return str(address)
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
