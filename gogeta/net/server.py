"""The listener of one worker: accepts, sweeps, drains."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gogeta.kit.admin_site import AddressTakenError
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.vanishing import probe_when_silent

if TYPE_CHECKING:
    from gogeta.domain.upstreams import Endpoint
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

BACKLOG: Final = 4096
SWEEP_SECONDS: Final = 0.5
_IDLE_SWEEPS: Final = 10
_FAREWELL_SECONDS: Final = 0.3
"""For the last answers of a drain to leave."""


class Server:
    """Serves visitors with a proxy."""

    def __init__(self, proxy: Proxy, endpoint: Endpoint) -> None:
        """``endpoint`` with port 0 takes a free port; ``port`` tells which."""
        self._proxy = proxy
        self._endpoint = endpoint
        self._server: asyncio.Server | None = None
        self.port = endpoint.port

    async def start(self, *, shared: bool = False) -> None:
        """Take the address; visitors are served from ``accept`` on.

        ``shared``: beside other workers of this program. Raises AddressTakenError, which names the setting.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: DownstreamConnection(self._proxy),
                self._endpoint.host or None,
                self._endpoint.port,
                backlog=BACKLOG,
                reuse_port=shared or None,
                start_serving=False,
            )
        except OSError as error:
            raise AddressTakenError("listen", self._endpoint, error) from error
        for listener in self._server.sockets:
            probe_when_silent(listener)
        self.port = self._server.sockets[0].getsockname()[1]
        self._proxy.forwarding.port = self.port

    async def accept(self) -> None:
        """Serve visitors. Raises AddressTakenError: some systems tell only now."""
        assert self._server is not None  # noqa: S101 - after start
        try:
            await self._server.start_serving()
        except OSError as error:
            raise AddressTakenError("listen", self._endpoint, error) from error
        self._proxy.tasks.start(self._sweep(), "sweep")

    async def _sweep(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._proxy.sweep()
            count += 1
            if count % _IDLE_SWEEPS == 0:
                self._proxy.expire_idle()

    async def drain(self, limit: float) -> int:
        """Stop listening, close what is idle, let the rest finish for up to ``limit`` seconds, then cut it.

        Requests that have no answer yet by then, held ones above all, are told so; the others break visibly.

        The number of exchanges that were cut.
        """
        proxy = self._proxy
        proxy.draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(proxy.connections):
            connection.drain()
        loop = asyncio.get_running_loop()
        give_up = loop.time() + limit
        while proxy.connections and loop.time() < give_up:  # noqa: ASYNC110 - thousands of ends, one coarse look
            await asyncio.sleep(0.02)
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
