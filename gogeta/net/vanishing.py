"""Finding out that a peer has vanished without a word: a cable pulled, a machine or a container's network gone.

An open tunnel means that a tenant is in use, so one whose peer is gone must not stay open for ever. The kernel probes
a silent connection and ends it when nothing answers (TCP keep-alive, RFC 9293 section 3.8.4); nothing is done per
request.
"""

from __future__ import annotations

import os
import socket
from typing import Final, Protocol

IDLE_SECONDS: Final = 60
"""Silence after which the first probe is sent."""
PROBE_SECONDS: Final = 15
PROBES: Final = 4
"""Unanswered probes after which the peer counts as gone: found out two minutes after its last word."""


class HasDescriptor(Protocol):
    """A socket as asyncio and uvloop show it."""

    def fileno(self) -> int:
        """Its file descriptor."""
        ...


def probe_when_silent(own: HasDescriptor) -> None:
    """Have the kernel probe a connection; on a listener, every connection that it accepts."""
    # A descriptor of our own: neither loop's sockets let themselves be set.
    with socket.socket(fileno=os.dup(own.fileno())) as same:
        if same.family not in (socket.AF_INET, socket.AF_INET6):
            return
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
