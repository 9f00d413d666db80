"""The tenant's side: one connection to one endpoint of one instance, one exchange at a time.

The half that reads is in ``response_parsing.py``; this one owns the connection: what it carries, and what becomes of it
behind an answer.
"""

from __future__ import annotations

import asyncio
import logging
import select
from typing import TYPE_CHECKING, Final, cast

from gogeta.core.pool import Pool
from gogeta.core.refusal import RefusedError
from gogeta.core.response import Framing
from gogeta.net.reading import Hold, ReadGate
from gogeta.net.response_parsing import ResponseParsing
from gogeta.net.tunnel import Tunnel
from gogeta.net.vanishing import probe_when_silent

if TYPE_CHECKING:
    from gogeta.net.exchange import Exchange
    from gogeta.net.forwarder import Proxy

logger = logging.getLogger(__name__)

WRITE_HIGH: Final = 64 * 1024
_BROKEN: Final = select.POLLERR | select.POLLHUP


class UpstreamConnection(ResponseParsing):
    """One connection to a tenant (see the module's docstring)."""

    __slots__ = (
        "_events",
        "_tunnel",
        "address",
    )

    def __init__(self, proxy: Proxy, pool: Pool[UpstreamConnection]) -> None:
        """``pool`` is where it goes between exchanges; it belongs to one instance of the tenant."""
        super().__init__()
        self.proxy = proxy
        self.pool = pool
        self.transport: asyncio.Transport
        self.reading: ReadGate
        self.exchange: Exchange | None = None
        self.reused = False
        self.address = ""
        """Where it leads, as the access log shows it."""
        self.silent = True
        """Whether not a byte has come for the present exchange; an answer that comes whole is not even noted."""
        self._closing = False
        self._tunnel: Tunnel | None = None

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Upstream {'reused ' if self.reused else ''}{self.exchange or 'idle'}>"

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        # uvloop's transports are asyncio's in behaviour, not by inheritance.
        self.transport = cast("asyncio.Transport", transport)
        self.reading = ReadGate(self.transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        own = transport.get_extra_info("socket")
        self._events = select.poll()
        self._events.register(own.fileno(), select.POLLIN)
        probe_when_silent(own)
        self.proxy.upstreams.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The tenant closed, or the connection broke."""
        self._closing = True
        self.proxy.upstreams.discard(self)
        if self._tunnel is not None:
            self._tunnel.lost(self.transport, exc)
        elif self.exchange is None:
            self.pool.drop(self)
        elif exc is None and self._ends_with_connection():
            self._finish()
        else:
            self.proxy.upstream_lost(self.exchange, self)

    def eof_received(self) -> bool:
        """The tenant sends no more."""
        if self._tunnel is not None:
            return self._tunnel.eof(self.transport)
        if self.exchange is None:
            self.pool.drop(self)
        elif self._ends_with_connection():
            self._finish()
        return False

    def _ends_with_connection(self) -> bool:
        return self._head is not None and self._head.until_close and not self._complete

    def pause_writing(self) -> None:
        """The tenant reads slowly: the visitor waits."""
        if self._tunnel is not None:
            self._tunnel.pause(self.transport)
        elif self.exchange is not None:
            self.exchange.downstream.reading.hold(Hold.PEER)

    def resume_writing(self) -> None:
        """The tenant has caught up."""
        if self._tunnel is not None:
            self._tunnel.resume(self.transport)
        elif self.exchange is not None:
            self.exchange.downstream.reading.release(Hold.PEER)

    def data_received(self, data: bytes) -> None:
        """Bytes of the response: each feed is at most one write to the visitor, or two where chunks begin."""
        exchange = self.exchange
        if exchange is None or self._closing:
            if self._tunnel is not None:
                self._tunnel.forward(self.transport, data)
            else:
                # Nobody asked: what comes now would be taken for the answer to the next request.
                self.discard()
            return
        if self._counted:
            self._count(exchange, data)
        elif not self._between or not self._recognise(exchange, data):
            self._feed(exchange, data)

    def _unsent(self) -> bool:
        """Whether the tenant has answered before it had read all of a request that has a body."""
        return self.transport.get_write_buffer_size() > 0

    # Ends.

    def _finish(self) -> None:
        """The response is complete: give the connection back, or close it, and end the exchange."""
        exchange, head = self.exchange, self._head
        assert exchange is not None  # noqa: S101 - the callers have checked
        assert head is not None  # noqa: S101 - ditto
        if not self._complete:
            self._complete = True
            if head.framing is Framing.CHUNKED:
                self._end_chunks()
            if self._out:
                out, self._out = self._out, []
                exchange.write(b"".join(out))
        keep_alive = head.keep_alive
        reusable = self._keep_alive and not self._surplus and exchange.request_done and not self._closing
        if exchange.sent and self._unsent():
            reusable = False
        self.exchange = None
        if reusable:
            self._complete = self._keep_alive = False
            self._head = None
            self._line = b""
            self._between = True
            self._fruitless = self._heralds = 0
            self.silent = True
            if self._bodiless:
                self._bodiless = False
                self._parser = None
            self.park(self.proxy.now)
        else:
            self.discard()
        exchange.complete(keep_alive=keep_alive)

    def park(self, now: float) -> None:
        """Wait in the pool for the next exchange; closed when there is no place."""
        if self.reading.holds:
            self.reading.release(Hold.PEER)
        self.reused = True
        if not self.pool.give(self, now):
            self.discard()

    def unspoiled(self) -> bool:
        """Whether nothing has come while it was idle, not even what the loop has not told us yet.

        Bytes that wait to be read would pass for the next answer; a request sent behind the tenant's goodbye is lost.
        """
        return not self._events.poll(0)

    def was_reset(self) -> bool:
        """Whether the tenant has broken it off, although the loop may not have told us yet."""
        return any(events & _BROKEN for _, events in self._events.poll(0))

    def _switch(self, exchange: Exchange, rest: bytes) -> None:
        downstream = exchange.downstream
        self.exchange = None
        exchange.upstream = None
        proxy = self.proxy
        proxy.tunnel_begun(exchange)
        tunnel = Tunnel(
            downstream.transport,
            self.transport,
            {downstream.transport: downstream.reading, self.transport: self.reading},
            on_end=lambda: proxy.tunnel_ended(exchange),
            websocket=exchange.head.upgrade.lower() == b"websocket",
        )
        self._tunnel = tunnel
        proxy.quiet.opened(exchange)
        self.reading.release(Hold.PEER)
        if rest:
            tunnel.forward(self.transport, rest)
        tunnel.join(self.transport, self)
        downstream.open_tunnel(tunnel)

    def _refuse(self, exchange: Exchange, refusal: RefusedError) -> None:
        logger.info("%s: %s", exchange.entry, refusal)
        self.discard()
        exchange.failed(refusal.reason)

    def discard(self) -> None:
        """Close it; whatever it still says is not read."""
        self._closing = True
        if self.exchange is None:
            # Nobody may take it between now and its end, which the loop tells a turn later.
            self.pool.drop(self)
        self.transport.abort()
