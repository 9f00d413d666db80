"""Ports for local tenants that are given none.

The kernel's own choice (port 0) is from the range that outgoing connections use, and a proxy opens many of those to
loopback: between the choice and the tenant's bind, one of them could take it. So ports come from below that range.
Somebody may still bind one in between; the tenant then fails to bind and ends, its output says so, and the next start
has another port.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Collection
from typing import Final

FIRST: Final = 10000
LAST: Final = 19999
_TRIES: Final = 200
LOOPBACK: Final = "127.0.0.1"


def free_port(taken: Collection[int]) -> int | None:
    """A port on loopback that nobody has, and that is not in ``taken``; None when none is found.

    Drawn at random, so that a port is not soon handed out again to another tenant.
    """
    for port in random.sample(range(FIRST, LAST + 1), k=_TRIES):
        if port not in taken and _bindable(port, reuse=False):
            return port
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
