"""Open tunnels in which nothing moves: after a time that the tenant declares, they are no use any more.

A WebSocket keeps its tenant awake for as long as it is open, unless ``sleep.quiet_tunnel`` says otherwise. Bytes of a
tunnel pass without a step between, so nothing is counted on their way: the kernel knows when data last went either way
over the visitor's connection, and is asked every few seconds. Answers to its own probes (``vanishing.py``) are no data;
a protocol's pings are.

A quiet tunnel stays open. The first byte in it is use again: it takes a sleep back, or wakes the tenant.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from gogeta.domain.lifecycle import Cause, Meeting

if TYPE_CHECKING:
    import asyncio

    from gogeta.net.exchange import Exchange
    from gogeta.net.forwarder import Proxy

LOOK_EVERY: Final = 10
"""Sweeps between looks at all tunnels: five seconds."""
_NOISE: Final = 0.05
"""Seconds by which two looks at the same silence may differ."""
_INFO_BYTES: Final = 56
_LAST_SENT: Final = 44
_LAST_RECEIVED: Final = 52
"""Where Linux has, in its ``tcp_info``, the milliseconds since data was last sent and received."""


def silent_seconds(transport: asyncio.Transport) -> float:
    """How long no data has gone either way over a TCP connection; 0 where nobody knows."""
    own = transport.get_extra_info("socket")
    if own is None or own.fileno() < 0:
        return 0.0
    # A descriptor of our own: neither loop's sockets let themselves be asked.
    with socket.socket(fileno=os.dup(own.fileno())) as same:
        try:
            info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        except OSError:
            return 0.0
    if len(info) < _INFO_BYTES:
        return 0.0
    sent: int = struct.unpack_from("=I", info, _LAST_SENT)[0]
    received: int = struct.unpack_from("=I", info, _LAST_RECEIVED)[0]
    return min(sent, received) / 1000


class QuietTunnels:
    """All open tunnels, and which of them are quiet; ``Entry.quiet`` counts those of a tenant."""

    def __init__(self, proxy: Proxy) -> None:
        """``proxy`` is told of use."""
        self._proxy = proxy
        self._quiet: dict[Exchange, float] = {}
        """Open tunnels, to since when nothing has moved in those that are quiet (loop time); 0 for the others."""
        self._sweeps = 0

    def __len__(self) -> int:
        """How many tunnels are quiet."""
        return sum(map(bool, self._quiet.values()))

    def opened(self, exchange: Exchange) -> None:
        """A tunnel begins."""
        self._quiet[exchange] = 0.0

    def ended(self, exchange: Exchange) -> None:
        """A tunnel is over."""
        if self._quiet.pop(exchange, 0.0) and exchange.entry is not None:
            exchange.entry.quiet -= 1

    def sweep(self) -> None:
        """Look at all every so often; at the quiet ones of a tenant that sleeps each time, since it wakes by them."""
        self._sweeps += 1
        everyone = self._sweeps % LOOK_EVERY == 0
        for exchange, quiet in tuple(self._quiet.items()):
            if everyone or (quiet and exchange.entry is not None and exchange.entry.meeting is Meeting.WAKE):
                self.look(exchange)

    def look(self, exchange: Exchange) -> None:
        """Whether a tunnel is quiet now."""
        entry, quiet_since = exchange.entry, self._quiet[exchange]
        if entry is None:
            return
        limit = entry.record.tenant.sleep.quiet_tunnel
        silent = silent_seconds(exchange.downstream.transport)
        moved_at = self._proxy.loop_time() - silent
        # What is quiet stays so until something moves, however short the limit is.
        quiet = limit is not None and (moved_at < quiet_since + _NOISE if quiet_since else silent >= limit)
        if quiet is bool(quiet_since):
            return
        self._quiet[exchange] = moved_at if quiet else 0.0
        entry.quiet += 1 if quiet else -1
        # Its begin counts as the last use: the idle timeout follows it.
        self._proxy.activity.touch(entry)
        if not quiet and entry.meeting is Meeting.WAKE:
            self._proxy.waker.wake(entry, Cause.IN_USE)
