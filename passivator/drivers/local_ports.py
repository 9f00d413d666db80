"""Ports for local tenants that are given none.

The kernel's own choice (port 0) is from the range that outgoing connections use, and a proxy opens many of those to
loopback: between the choice and the tenant's bind, one of them could take it. So ports come from below that range.

Two things would send a tenant's visitors to another tenant. Another passivator on this machine may choose the same port
at the same time: so each choice is claimed, by an abstract unix socket, which goes away with this process however it
ends. And a proxy may still know a port as that of a tenant whose start is over, e.g. because passivator has just died:
so every tenant has an order of ports of its own, and gets its own port again rather than another's. Somebody else may
still bind one in between; the tenant then fails to bind and ends, its output says so, and the next start tries anew.
"""

from __future__ import annotations

import contextlib
import random
import socket
from typing import Final

FIRST: Final = 10000
LAST: Final = 19999
_TRIES: Final = 200
LOOPBACK: Final = "127.0.0.1"


class Claim:
    """A port that no other passivator of this machine chooses, until it is released."""

    def __init__(self, port: int, holder: socket.socket) -> None:
        """Made by ``claim_port``."""
        self.port = port
        self._holder = holder

    def __repr__(self) -> str:
        """The port."""
        return f"<Claim {self.port}>"

    def release(self) -> None:
        """Let others have it. Idempotent."""
        self._holder.close()


def claim_port(whose: str) -> Claim | None:
    """A port on loopback that nobody has or has claimed; None when none is found.

    ``whose``: a name that stays the same for one tenant of one passivator, and that no other tenant has.
    """
    for port in random.Random(whose).sample(range(FIRST, LAST + 1), k=_TRIES):  # noqa: S311 - an order, no secret
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0gogeta-tenant-port-{port}")
        except OSError:
            holder.close()
            continue
        if _bindable(port, reuse=False):
            return Claim(port, holder)
        holder.close()
    return None


def is_free(port: int) -> bool:
    """Whether a server could listen there now; what is left of ended connections does not count."""
    return _bindable(port, reuse=True)


def _bindable(port: int, *, reuse: bool) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
