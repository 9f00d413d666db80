"""The listeners of one worker: accepts, sweeps, drains."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gogeta.kit import listening
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.vanishing import probe_when_silent

if TYPE_CHECKING:
    from gogeta.domain.upstreams import Endpoint
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 0.5
_IDLE_SWEEPS: Final = 10
IDLE_SECONDS: Final = 0.5
"""At the end, an idle connection is kept for so long: a request may be on its way already."""
_FAREWELL_SECONDS: Final = 0.3
"""For the last answers of a drain to leave."""


class Server:
    """Serves visitors with a proxy."""

    def __init__(self, proxy: Proxy, endpoint: Endpoint) -> None:
        """``endpoint`` with port 0 takes a free port; ``port`` tells which."""
        self._proxy = proxy
        self._endpoint = endpoint
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self.port = endpoint.port

    async def start(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Take the address, or ``sockets`` that listen already; visitors are served from ``accept`` on.

        Given descriptors are this server's from now on; a socket listens on if somebody else has another one of it.
        Raises AddressTakenError, which names the setting.
        """
        self._sockets = listening.take(self._endpoint, "listen") if sockets is None else list(sockets)
        for each in self._sockets:
            probe_when_silent(each)
        self.port = self._sockets[0].getsockname()[1]
        self._proxy.forwarding.port = self.port

    async def accept(self) -> None:
        """Serve visitors."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            # A descriptor for the loop to close: ours is still needed at the end.
            self._servers.append(await loop.create_server(self._connection, sock=each.dup(), backlog=listening.BACKLOG))
        self._proxy.tasks.start(self._sweep(), "sweep")

    def _connection(self) -> DownstreamConnection:
        return DownstreamConnection(self._proxy)

    async def _sweep(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._proxy.sweep()
            count += 1
            if count % _IDLE_SWEEPS == 0:
                self._proxy.expire_idle()

    async def drain(self, limit: float, hurry: asyncio.Event | None = None) -> int:
        """Stop listening, let what is under way finish for up to ``limit`` seconds, then cut it.

        An idle connection has a request on its way, perhaps. Until ``hurry`` is set (None: it is) there is time: each
        stays open for one more, whose answer says that it is the last. From then on it is kept for a moment only.
        Requests that have no answer yet at the limit, held ones above all, are told so; the others break visibly.

        The number of exchanges that were cut.
        """
        proxy = self._proxy
        proxy.draining = True
        await self._stop_listening()
        loop = asyncio.get_running_loop()
        give_up = loop.time() + limit
        patience: float | None = None
        while proxy.connections and loop.time() < give_up:
            if patience is None and (hurry is None or hurry.is_set()):
                patience = loop.time() + IDLE_SECONDS
            elif patience is not None and loop.time() >= patience:
                self._close_idle()
                patience = float("inf")
            # Thousands of ends, one coarse look.
            await asyncio.sleep(0.02)
        self._close_idle()
        cut = proxy.in_flight
        for connection in tuple(proxy.connections):
            if not connection.idle:
                proxy.tally.broken["drain"] += 1
            connection.give_up()
        give_up = loop.time() + _FAREWELL_SECONDS
        while proxy.connections and loop.time() < give_up:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
        for connection in tuple(proxy.connections):
            connection.abort()
        for upstream in tuple(proxy.upstreams):
            upstream.discard()
        # One turn of the loop, so that the aborted transports are gone.
        await asyncio.sleep(0)
        return cut

    async def _stop_listening(self) -> None:
        """Close our descriptors, after a last look: whoever waits in a queue would be reset if nobody is behind us."""
        loop = asyncio.get_running_loop()
        for server in self._servers:
            server.close()
        sockets, self._sockets = self._sockets, []
        for each in sockets if self._servers else ():
            for _ in range(listening.BACKLOG):
                try:
                    visitor, _ = each.accept()
                except OSError:
                    break
                visitor.settimeout(0.0)
                await loop.connect_accepted_socket(self._connection, visitor)
        listening.close(sockets)

    def _close_idle(self) -> None:
        for connection in tuple(self._proxy.connections):
            connection.drain()
