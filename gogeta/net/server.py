"""The listeners of one worker: accept, sweep, drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gogeta.core.forwarding import Forwarding
from gogeta.kit import listening
from gogeta.net.arriving import Arrival
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.listener import Listener
from gogeta.net.vanishing import probe_when_silent
from gogeta.settings import HTTP, HTTPS

if TYPE_CHECKING:
    from gogeta.domain.upstreams import Endpoint
    from gogeta.net.certificates import Certificates
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 0.5
_IDLE_SWEEPS: Final = 10
IDLE_SECONDS: Final = 0.5
"""How long a connection without a request is kept in a drain that hurries: one may be on its way."""
_FAREWELL_SECONDS: Final = 0.3
"""For the last answers of a drain to leave."""


class Door:
    """One address with its listener, and its sockets once it has some."""

    def __init__(self, name: str, setting: str, endpoint: Endpoint, listener: Listener) -> None:
        """``setting`` is the flag without its hyphens that names the address; ``name`` that of the listener."""
        self.name = name
        self.setting = setting
        self.endpoint = endpoint
        self.listener = listener
        self._sockets: list[socket.socket] = []
        self._lent = False
        self._servers: list[asyncio.Server] = []

    def open(self, sockets: Sequence[socket.socket] | None) -> None:
        """Take the address, or ``sockets`` that listen already. Raises AddressTakenError."""
        self._lent = sockets is not None
        self._sockets = listening.take(self.endpoint, self.setting) if sockets is None else list(sockets)
        for each in self._sockets:
            probe_when_silent(each)
        self.listener.forwarding.port = self.port

    @property
    def port(self) -> int:
        """Where it listens; before ``open``, where it will."""
        port: int = self._sockets[0].getsockname()[1] if self._sockets else self.endpoint.port
        return port

    async def accept(self, proxy: Proxy) -> None:
        """Let visitors in."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            # A descriptor for the loop to close: ours is still needed at the end.
            server = await loop.create_server(
                lambda: self._connection(proxy), sock=each.dup(), backlog=listening.BACKLOG
            )
            self._servers.append(server)

    def _connection(self, proxy: Proxy) -> asyncio.Protocol:
        """What takes a connection that was accepted here."""
        return (DownstreamConnection if self.listener.plain else Arrival)(proxy, self.listener)

    async def close(self, proxy: Proxy) -> None:
        """Close our descriptors, after a last look: whoever waits in a queue would be reset if nobody is behind us."""
        loop = asyncio.get_running_loop()
        if not self._lent:
            listening.admit_no_more(self._sockets)
        for server in self._servers:
            server.close()
        for each in self._sockets if self._servers else ():
            for _ in range(listening.BACKLOG):
                try:
                    visitor, _ = each.accept()
                except ConnectionError:
                    # It has left while it waited.
                    continue
                except OSError:
                    break
                visitor.settimeout(0.0)
                await loop.connect_accepted_socket(lambda: self._connection(proxy), visitor)
        listening.close(self._sockets)


class Server:
    """Serves visitors with a proxy."""

    def __init__(self, proxy: Proxy, endpoint: Endpoint, certificates: Certificates | None = None) -> None:
        """``endpoint`` with port 0 takes a free port; ``port`` tells which.

        With ``certificates`` it speaks TLS, unless the settings have another address for that, which is opened too.
        """
        self._proxy = proxy
        self._certificates = certificates
        settings = proxy.settings
        tls = settings.tls_listen if certificates is not None else None
        self.doors = [self._door(HTTP, "listen", endpoint, certificates if tls is None else None)]
        if tls is not None:
            self.doors.append(self._door(HTTPS, "tls-listen", tls, certificates))
        self.port = endpoint.port
        self.tls_port = 0 if tls is None else tls.port
        """Of the listener for TLS, when it is one of its own; else 0."""

    def _door(self, name: str, setting: str, endpoint: Endpoint, certificates: Certificates | None) -> Door:
        settings = self._proxy.settings
        scheme = b"http" if certificates is None else b"https"
        forwarding = Forwarding(endpoint.port, settings.trusted_proxies, scheme, settings.via)
        return Door(name, setting, endpoint, Listener(forwarding, certificates, proxy_protocol=settings.proxy_protocol))

    def __str__(self) -> str:
        """Where it serves, as a person reads it."""
        shown = zip(self.endpoints, self.listeners, strict=True)
        return " and ".join(f"{endpoint} (TLS)" if listener.secure else str(endpoint) for endpoint, listener in shown)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Its addresses, with the ports really taken; that of TLS, if there are two, comes last."""
        return [replace(door.endpoint, port=door.port) for door in self.doors]

    @property
    def secure_endpoint(self) -> Endpoint | None:
        """Where it speaks TLS, if it does."""
        return self.endpoints[-1] if self.listeners[-1].secure else None

    @property
    def listeners(self) -> list[Listener]:
        """What visitors come in by."""
        return [door.listener for door in self.doors]

    @property
    def arriving(self) -> int:
        """Connections that are not visitors yet."""
        return sum(len(listener.arriving) for listener in self.listeners)

    def start(self, sockets: Mapping[str, Sequence[socket.socket]] | None = None) -> None:
        """Take the addresses, or ``sockets`` that listen already, by name; visitors are served from ``accept`` on.

        Given descriptors are this server's from now on; a socket listens on if somebody else has another one of it.
        Raises AddressTakenError, which names the setting.
        """
        for door in self.doors:
            door.open(None if sockets is None else sockets.get(door.name))
        self.port = self.doors[0].port
        if len(self.doors) > 1:
            self.tls_port = self.doors[1].port
            self._proxy.https_port = self._proxy.settings.https_port or self.tls_port

    async def accept(self) -> None:
        """Serve visitors."""
        for door in self.doors:
            await door.accept(self._proxy)
        self._proxy.tasks.start(self._sweep(), "sweep")
        if self._certificates is not None:
            self._proxy.tasks.start(self._certificates.watch(), "certificates")

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
        for connection in proxy.connections:
            connection.prepare_end()
        proxy.progress.close()
        for door in self.doors:
            await door.close(proxy)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + limit
        patience: float | None = None
        while (proxy.connections or self.arriving) and loop.time() < give_up:
            if patience is None and (hurry is None or hurry.is_set()):
                patience = loop.time() + IDLE_SECONDS
            elif patience is not None and loop.time() >= patience:
                self._close_idle()
                patience = float("inf")
            # Thousands of ends, one coarse look.
            await asyncio.sleep(0.02)
        self._close_idle()
        return await self._cut()

    async def _cut(self) -> int:
        """End what is still there, each in the most honest way that is left; how many exchanges that were."""
        proxy = self._proxy
        loop = asyncio.get_running_loop()
        for listener in self.listeners:
            for arrival in tuple(listener.arriving):
                arrival.abort()
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

    def _close_idle(self) -> None:
        for connection in tuple(self._proxy.connections):
            connection.drain()
