"""Connecting to a tenant: resolve, check what was resolved, connect within the limit."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from gogeta.core.refusal import Reason
from gogeta.domain.upstreams import Endpoint, UnixEndpoint
from gogeta.net import unix_sockets
from gogeta.net.unix_sockets import ForbiddenUpstreamError
from gogeta.net.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gogeta.core.pool import Pool
    from gogeta.domain.upstreams import Forbidden, Upstream
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

_MOST_ADDRESSES: Final = 8
"""Addresses of one name that are tried for one connection."""
_FULL_PAUSES: Final = (0.005, 0.01, 0.02, 0.05)
"""Seconds before a unix socket whose queue is full is tried again."""


class Dialer:
    """Opens upstream connections. A name is resolved anew for each, and every address judged again: names change.

    The addresses of a name are tried one after the other, in the order of the system's resolver (RFC 6724), each for
    its share of the time that is left, so that one which swallows packets does not keep the next from being tried.
    """

    def __init__(self, proxy: Proxy, forbidden: Forbidden) -> None:
        """``forbidden``: addresses that no upstream may have."""
        self._proxy = proxy
        self._forbidden = forbidden

    async def dial(
        self, entry: Entry, endpoint: Upstream, pool: Pool[UpstreamConnection]
    ) -> UpstreamConnection | Reason:
        """A connection to the endpoint, or the reason why there is none: nothing was sent, so trying again is safe."""
        tally = self._proxy.tally
        tally.upstream_connects += 1
        try:
            async with asyncio.timeout(self._proxy.settings.connect_timeout):
                if isinstance(endpoint, UnixEndpoint):
                    return await self._connect_unix(endpoint, pool)
                return await self._connect_first(endpoint, pool)
        except ForbiddenUpstreamError as refusal:
            logger.error("tenant %s: %s", entry.name, refusal)  # noqa: TRY400 - a rule, not a fault of ours
            return refusal.reason
        except (OSError, TimeoutError) as error:
            tally.upstream_connect_failures += 1
            logger.info("tenant %s: no connection to %s: %s", entry.name, endpoint, str(error) or "timed out")
            return Reason.UPSTREAM_CONNECT

    async def _connect_first(self, endpoint: Endpoint, pool: Pool[UpstreamConnection]) -> UpstreamConnection:
        """To the first address that accepts. Raises OSError of the last one when none does."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._proxy.settings.connect_timeout
        failure: OSError = OSError("it has no address")
        addresses = await self._addresses(endpoint)
        for place, address in enumerate(addresses):
            if (rule := self._forbidden.rule_against(address)) is not None:
                raise ForbiddenUpstreamError(rule)
            try:
                async with asyncio.timeout((give_up - loop.time()) / (len(addresses) - place)):
                    _, connection = await loop.create_connection(
                        lambda: UpstreamConnection(self._proxy, pool), address.host, address.port
                    )
            except OSError as error:
                failure = error
            else:
                connection.address = str(address)
                return connection
        raise failure

    async def _connect_unix(self, endpoint: UnixEndpoint, pool: Pool[UpstreamConnection]) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                async with _in_thread(loop, endpoint, self._forbidden) as own:
                    _, connection = await loop.create_unix_connection(
                        lambda: UpstreamConnection(self._proxy, pool), sock=own
                    )
            except BlockingIOError:
                # Its queue is full: TCP would wait by itself, a unix socket has to be asked again.
                await asyncio.sleep(_FULL_PAUSES[min(attempt, len(_FULL_PAUSES) - 1)])
                attempt += 1
            else:
                connection.address = str(endpoint)
                return connection

    async def _addresses(self, endpoint: Endpoint) -> list[Endpoint]:
        try:
            ipaddress.ip_address(endpoint.host)
        except ValueError:
            found = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            return [Endpoint(str(address[4][0]), endpoint.port) for address in found][:_MOST_ADDRESSES]
        return [endpoint]


@contextlib.asynccontextmanager
async def _in_thread(
    loop: asyncio.AbstractEventLoop, endpoint: UnixEndpoint, forbidden: Forbidden
) -> AsyncIterator[socket.socket]:
    """A connected socket, made where a slow file system holds up nobody else; closed when nothing came of it."""
    making = loop.run_in_executor(None, unix_sockets.connect, endpoint, forbidden)
    try:
        own = await asyncio.shield(making)
    except asyncio.CancelledError:
        # Given up, while the thread goes on: what it brings nobody wants any more.
        making.add_done_callback(_close)
        raise
    try:
        yield own
    except BaseException:
        own.close()
        raise


def _close(making: asyncio.Future[socket.socket]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()
