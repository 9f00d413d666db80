"""Connecting to a tenant: resolve, check what was resolved, connect within the limit."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING

from gogeta.core.refusal import Reason
from gogeta.domain.upstreams import Endpoint
from gogeta.net.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gogeta.core.pool import Pool
    from gogeta.domain.upstreams import Forbidden
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)


class Dialer:
    """Opens upstream connections. A name is resolved anew for each, and every address judged again: names change."""

    def __init__(self, proxy: Proxy, forbidden: Forbidden) -> None:
        """``forbidden``: addresses that no upstream may have."""
        self._proxy = proxy
        self._forbidden = forbidden

    async def dial(
        self, entry: Entry, endpoint: Endpoint, pool: Pool[UpstreamConnection]
    ) -> UpstreamConnection | Reason:
        """A connection to the endpoint, or the reason why there is none: nothing was sent, so trying again is safe."""
        tally = self._proxy.tally
        tally.upstream_connects += 1
        failure: OSError = OSError("it has no address")
        try:
            async with asyncio.timeout(self._proxy.settings.connect_timeout):
                for address in await self._addresses(endpoint):
                    if (rule := self._forbidden.rule_against(address)) is not None:
                        logger.error("tenant %s: %s", entry.name, rule)
                        return Reason.UPSTREAM_FORBIDDEN
                    try:
                        return await self._connect(address, pool)
                    except OSError as error:
                        failure = error
                raise failure
        except (OSError, TimeoutError) as error:
            tally.upstream_connect_failures += 1
            logger.info("tenant %s: no connection to %s: %s", entry.name, endpoint, str(error) or "timed out")
            return Reason.UPSTREAM_CONNECT

    async def _connect(self, address: Endpoint, pool: Pool[UpstreamConnection]) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: UpstreamConnection(self._proxy, pool), address.host, address.port
        )
        return connection

    async def _addresses(self, endpoint: Endpoint) -> list[Endpoint]:
        try:
            ipaddress.ip_address(endpoint.host)
        except ValueError:
            found = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            return [Endpoint(str(address[4][0]), endpoint.port) for address in found]
        return [endpoint]
