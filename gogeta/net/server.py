"""The listeners of one worker: accept, sweep, drain."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gogeta.core.forwarding import Forwarding
from gogeta.kit.admin_site import AddressTakenError
from gogeta.net.arriving import Arrival
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.listener import Listener
from gogeta.net.vanishing import probe_when_silent

if TYPE_CHECKING:
    from gogeta.domain.upstreams import Endpoint
    from gogeta.net.certificates import Certificates
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

BACKLOG: Final = 4096
SWEEP_SECONDS: Final = 0.5
_IDLE_SWEEPS: Final = 10
_FAREWELL_SECONDS: Final = 0.3
"""For the last answers of a drain to leave."""


class Door:
    """One address with its listener, and the socket once it has one."""

    def __init__(self, setting: str, endpoint: Endpoint, listener: Listener) -> None:
        """``setting`` is the flag without its hyphens that names the address."""
        self.setting = setting
        self.endpoint = endpoint
        self.listener = listener
        self.server: asyncio.Server | None = None

    def connection(self, proxy: Proxy) -> asyncio.Protocol:
        """What takes a connection that was accepted here."""
        return (DownstreamConnection if self.listener.plain else Arrival)(proxy, self.listener)

    async def open(self, proxy: Proxy, *, shared: bool) -> None:
        """Take the address. Raises AddressTakenError."""
        try:
            self.server = await asyncio.get_running_loop().create_server(
                lambda: self.connection(proxy),
                self.endpoint.host or None,
                self.endpoint.port,
                backlog=BACKLOG,
                reuse_port=shared or None,
                start_serving=False,
            )
        except OSError as error:
            raise AddressTakenError(self.setting, self.endpoint, error) from error
        for own in self.server.sockets:
            probe_when_silent(own)
        self.listener.forwarding.port = self.port

    @property
    def port(self) -> int:
        """Where it listens; before ``open``, where it will."""
        port: int = self.endpoint.port if self.server is None else self.server.sockets[0].getsockname()[1]
        return port


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
        self.doors = [self._door("listen", endpoint, certificates if tls is None else None)]
        if tls is not None:
            self.doors.append(self._door("tls-listen", tls, certificates))
        self.port = endpoint.port
        self.tls_port = 0 if tls is None else tls.port
        """Of the listener for TLS, when it is one of its own; else 0."""

    def _door(self, setting: str, endpoint: Endpoint, certificates: Certificates | None) -> Door:
        settings = self._proxy.settings
        scheme = b"http" if certificates is None else b"https"
        forwarding = Forwarding(endpoint.port, settings.trusted_proxies, scheme, settings.via)
        return Door(setting, endpoint, Listener(forwarding, certificates, proxy_protocol=settings.proxy_protocol))

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

    async def start(self, *, shared: bool = False) -> None:
        """Take the addresses; visitors are served from ``accept`` on.

        ``shared``: beside other workers of this program. Raises AddressTakenError, which names the setting.
        """
        for door in self.doors:
            await door.open(self._proxy, shared=shared)
        self.port = self.doors[0].port
        if len(self.doors) > 1:
            self.tls_port = self.doors[1].port
            self._proxy.https_port = self._proxy.settings.https_port or self.tls_port

    async def accept(self) -> None:
        """Serve visitors. Raises AddressTakenError: some systems tell only now."""
        for door in self.doors:
            assert door.server is not None  # noqa: S101 - after start
            try:
                await door.server.start_serving()
            except OSError as error:
                raise AddressTakenError(door.setting, door.endpoint, error) from error
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

    async def drain(self, limit: float) -> int:
        """Stop listening, close what is idle, let the rest finish for up to ``limit`` seconds, then cut it.

        Requests that have no answer yet by then, held ones above all, are told so; the others break visibly.

        The number of exchanges that were cut.
        """
        proxy = self._proxy
        proxy.draining = True
        for door in self.doors:
            if door.server is not None:
                door.server.close()
        for connection in tuple(proxy.connections):
            connection.drain()
        loop = asyncio.get_running_loop()
        give_up = loop.time() + limit
        while (proxy.connections or self.arriving) and loop.time() < give_up:  # noqa: ASYNC110 - thousands of ends, one coarse look
            await asyncio.sleep(0.02)
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
