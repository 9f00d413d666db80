"""The visitor's side: one connection, its requests in order, its answers in the same order.

It parses, it queues what was pipelined, it closes in the right way; what a request means is the proxy's business. One
request is forwarded at a time: while it is being answered, later bytes wait unread (bounded by one read).
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from gogeta.core.access_record import Ending
from gogeta.core.census import UNCOUNTED
from gogeta.core.pages import Page, problem
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import RequestHead
from gogeta.net.breaking import break_off
from gogeta.net.exchange import Exchange
from gogeta.net.parsing import RequestParsing
from gogeta.net.reading import Hold, ReadGate
from gogeta.net.tunnel import Tunnel

if TYPE_CHECKING:
    from gogeta.net.forwarder import Proxy
    from gogeta.net.listener import Listener

WRITE_HIGH: Final = 64 * 1024
"""Bytes waiting for a slow reader before the other side is paused."""
BUFFER_LIMIT: Final = 64 * 1024
"""Bytes of later requests kept before the client is not read any more."""
LINGER_SECONDS: Final = 2.0
_GONE_SECONDS: Final = 0.15
"""How long nothing may be sent, twice, to a visitor who has ended his direction, once his answer has begun."""
_UNMOVED: Final = float("inf")


class DownstreamConnection(RequestParsing):
    """One visitor's connection (see the module's docstring)."""

    __slots__ = (
        "_advancing",
        "_beneath",
        "_eof",
        "_later_bytes",
        "_patient",
        "counted_under",
        "forwarding",
        "forwarding_host",
        "listener",
        "peer",
        "reading",
        "transport",
        "tunnel",
    )

    def __init__(
        self, proxy: Proxy, listener: Listener, peer: str = "", beneath: asyncio.Transport | None = None
    ) -> None:
        """``proxy`` holds what all connections share.

        ``peer`` is who the visitor is, where the transport does not know; ``beneath`` the transport under TLS.
        """
        super().__init__()
        self.proxy = proxy
        self.listener = listener
        self._beneath = beneath
        self.deadline = proxy.now + proxy.keep_alive_timeout
        """When the sweep ends what is going on, on the proxy's coarse clock."""
        self.transport: asyncio.Transport
        self.reading: ReadGate
        self.peer = peer
        self.counted_under = UNCOUNTED
        self.forwarding = self.forwarding_host = b""
        """The forwarding fields of the last request, serialised, and the host that they are for: mostly the next one's,
        too, where nothing else went into them."""
        self._broken = False
        """Nothing more is parsed: a request was refused in a way that ends the connection, or it became a tunnel."""
        # Answering.
        self._current: Exchange | None = None
        self._queue: deque[Exchange | RefusedError] | None = None
        """What was read behind the current request; there is a queue only where somebody pipelines."""
        self._later: list[bytes] = []
        """Bytes that wait until the current exchange is answered."""
        self._later_bytes = 0
        self._advancing = False
        self.blocked = False
        """The visitor reads slowly: nothing more is begun."""
        self._closing = False
        self._patient = False
        """It has been given more time to take our last words."""
        self._eof = False
        self.tunnel: Tunnel | None = None

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Downstream {self.peer} {self._current or 'idle'}{' closing' if self._closing else ''}>"

    @property
    def idle(self) -> bool:
        """Whether no exchange is under way."""
        return self._current is None and self.tunnel is None and not self._queue

    def forwarding_fields(self, head: RequestHead) -> bytes:
        """The forwarding fields of a request, serialised."""
        fields = self.listener.forwarding.fields(self.peer, head)
        if head.direct:
            self.forwarding_host, self.forwarding = head.host, fields
        return fields

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A visitor has come."""
        # uvloop's transports are asyncio's in behaviour, not by inheritance.
        self.transport = cast("asyncio.Transport", transport)
        self.reading = ReadGate(self.transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        if not self.peer:
            peer = transport.get_extra_info("peername")
            self.peer = peer[0] if isinstance(peer, tuple) else "unix"
        if (reason := self.proxy.opened(self)) is not None:
            self.refuse(RefusedError(reason, "limit reached"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor is gone."""
        self._closing = True
        self.proxy.closed(self)
        if self.tunnel is not None:
            self.tunnel.lost(self.transport, exc)
        for exchange in (self._current, *(self._queue or ())):
            if isinstance(exchange, Exchange):
                if exchange.answered and not exchange.ended:
                    self.proxy.tally.broken["client"] += 1
                exchange.abandon()
        self._current = None
        self._queue = None
        self._later.clear()

    def eof_received(self) -> bool:
        """The visitor will send no more; what was asked completely is still answered."""
        self._eof = True
        self.reading.over()
        if self.tunnel is not None:
            return self.tunnel.eof(self.transport)
        if self._closing or self.listener.secure:
            # The loop ends TLS as a whole: nothing more could be answered.
            return False
        if self._current is not None and not self._current.request_done:
            self._current.abandon()
            return False
        if self._current is None and not (self._queue or self._later):
            return False
        asyncio.get_running_loop().call_later(_GONE_SECONDS, self._look_for_visitor)
        return True

    def _look_for_visitor(self) -> None:
        """Tell who has only said all from who has left: both look the same until something is sent to them.

        Whoever waits for an answer is waited for. Once one has begun, each piece of it would be answered by a reset of
        somebody who is gone; a pause tells nothing, so a visitor who cannot be asked is taken for gone.
        """
        current = self._current
        if self._closing or current is None:
            return
        if current.answered and self.deadline == _UNMOVED and not self.transport.get_write_buffer_size():
            self.proxy.tally.broken["client"] += 1
            current.abandon()
            self.abort()
            return
        if current.answered:
            # Whatever is written puts an ordinary deadline in its place.
            self.deadline = _UNMOVED
        asyncio.get_running_loop().call_later(_GONE_SECONDS, self._look_for_visitor)

    def pause_writing(self) -> None:
        """The visitor reads slowly: the upstream waits."""
        self.blocked = True
        if self.tunnel is not None:
            self.tunnel.pause(self.transport)
        elif self._current is not None and self._current.upstream is not None:
            self._current.upstream.reading.hold(Hold.PEER)

    def resume_writing(self) -> None:
        """The visitor has caught up."""
        self.blocked = False
        if self.tunnel is not None:
            self.tunnel.resume(self.transport)
            return
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.reading.release(Hold.PEER)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Bytes of the visitor: of this request, or of later ones."""
        current = self._current
        if self._closing or self._broken:
            if self.tunnel is not None:
                self.tunnel.forward(self.transport, data)
            return
        if self._queue or self._later or self.blocked or (current is not None and current.request_done):
            self._put_off(data)
        else:
            self._read(data)

    def _put_off(self, data: bytes) -> None:
        """Keep bytes until what came before them is answered."""
        self._later.append(data)
        self._later_bytes += len(data)
        if self._later_bytes > BUFFER_LIMIT:
            self.reading.hold(Hold.ORDER)

    def _enqueue(self, item: Exchange | RefusedError) -> None:
        """Keep what was read until what came before it is answered."""
        if self._queue is None:
            self._queue = deque()
        self._queue.append(item)

    def _refuse_later(self, error: RefusedError) -> None:
        """Refuse what was just read, after everything before it is answered; nothing more is read."""
        if self._broken or self._closing:
            return
        self._broken = True
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._current:
            # The body of the request under way is broken: it cannot be completed, and the upstream must not think so.
            if receiving.answered:
                receiving.abandon()
                self.break_off()
            else:
                receiving.refuse(error.reason)
            return
        if receiving is not None and self._queue and receiving in self._queue:
            self._queue.remove(receiving)
        if self._current is None and not self._queue:
            self.refuse(error)
        else:
            self._enqueue(error)

    # Answering.

    def expect_response(self, *, request_done: bool) -> None:
        """The request is on its way to a tenant: its rest is waited for, or the answer."""
        proxy = self.proxy
        self.deadline = proxy.now + (proxy.response_timeout if request_done else proxy.body_timeout)

    def write(self, data: bytes) -> None:
        """Bytes of the current response."""
        self.deadline = self.proxy.now + self.proxy.body_timeout
        self.transport.write(data)

    def write_page(self, page: Page, *, keep_alive: bool, bodiless: bool) -> None:
        """A whole answer of our own."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in page.fields)
        connection = "" if keep_alive and not self.proxy.draining else "Connection: close\r\n"
        # RFC 9110 section 8.6: 204 has none.
        length = "" if page.status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(page.body)}\r\n"
        head = f"HTTP/1.1 {page.status} {_phrase(page.status)}\r\n{fields}{length}{connection}"
        self.transport.write(head.encode() + self.proxy.date + b"\r\n" + (b"" if bodiless else page.body))

    def refuse(self, error: RefusedError) -> None:
        """Refuse what could not become a request, and close."""
        if self._closing:
            return
        self._broken = True
        self.proxy.tally.refusals[error.reason.value] += 1
        self.proxy.tally.answers[error.status // 100] += 1
        request_id = next(self.proxy.ids)
        page = problem(error.reason, request_id.decode())
        self.write_page(page, keep_alive=False, bodiless=error.bodiless)
        self.proxy.note_refusal(self, request_id, page, error.reason)
        self._linger()

    def finish(self, exchange: Exchange, keep_alive: bool) -> None:  # noqa: FBT001 - by place: a name costs a request's share
        """The exchange is answered: go on with the next, or close."""
        if exchange is not self._current:
            return
        self._current = None
        if self.reading.holds:
            self.reading.release(Hold.PEER | Hold.PENDING)
        if self._closing:
            return
        proxy = self.proxy
        if not keep_alive or proxy.draining:
            if exchange.request_done and not (self._later or self._queue or self._in_head):
                self._closing = True
                self.transport.close()
            else:
                self._linger()
            return
        patience = proxy.settings.header_timeout if self._in_head else proxy.keep_alive_timeout
        self.deadline = proxy.now + patience
        if self._queue or self._later or self._eof:
            self._next()

    def _next(self) -> None:
        # A request that is refused at once ends here again, from within: the loop below goes on with the one after it.
        if self._advancing:
            return
        self._advancing = True
        try:
            self._advance()
        finally:
            self._advancing = False

    def _advance(self) -> None:
        while not self._closing and self.tunnel is None:
            current = self._current
            if current is not None and current.request_done:
                return
            if current is not None and not self._later:
                if self._eof:
                    # The rest of this request never comes.
                    current.abandon()
                    self.break_off()
                return
            if current is None and self.blocked:
                return
            if current is None and self._queue:
                item = self._queue.popleft()
                if isinstance(item, RefusedError):
                    self.refuse(item)
                    return
                self._current = item
                self.proxy.begin(item)
                item.flush()
            elif self._later:
                later, self._later, self._later_bytes = self._later, [], 0
                self.reading.release(Hold.ORDER)
                self._read(b"".join(later))
            elif self._eof:
                self._closing = True
                self.transport.close()
            else:
                return

    def _linger(self) -> None:
        """Close so that the answer arrives although the client still sends (RFC 9112 section 9.6)."""
        self._closing = True
        self.deadline = self.proxy.now + LINGER_SECONDS
        self._receiving = None
        self._later.clear()
        if not self.transport.is_closing():
            self.reading.release(Hold.PEER | Hold.PENDING | Hold.ORDER)
            if self._eof:
                self.transport.close()
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                # TLS, without a half-close: it says goodbye, and drops what still comes until the peer has, too.
                self.transport.close()

    def open_tunnel(self, tunnel: Tunnel) -> None:
        """The upstream has switched protocols: from now on bytes go through both ways."""
        self.tunnel = tunnel
        self._broken = True
        self._current = None
        self.deadline = float("inf")
        later, self._later, self._later_bytes = self._later, [], 0
        self.reading.release(Hold.PEER | Hold.PENDING | Hold.ORDER)
        if later:
            tunnel.forward(self.transport, b"".join(later))
        tunnel.join(self.transport, self)
        if self._eof:
            tunnel.eof(self.transport)

    def break_off(self) -> None:
        """End it so that nobody takes what was sent for complete."""
        self._closing = True
        break_off(self.transport)

    def abort(self) -> None:
        """End it at once: nothing is under way any more."""
        self._closing = True
        self.transport.abort()

    def _unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        beneath = self._beneath
        return self.transport.get_write_buffer_size() + (beneath.get_write_buffer_size() if beneath is not None else 0)

    def expired(self) -> None:
        """The sweep: the deadline has passed."""
        current = self._current
        if self._closing:
            if self._unsent() and not self._patient:
                # Our last words are still on their way to a slow reader.
                self._patient = True
                self.deadline = self.proxy.now + self.proxy.body_timeout
            else:
                self.transport.abort()
        elif current is not None or self.blocked:
            if current is None or current.answered:
                self.proxy.tally.broken["timeout"] += 1
                if current is not None:
                    current.abandon(Ending.TIMEOUT)
                self.break_off()
            elif current.upstream is None:
                # Held or connecting: those have deadlines of their own.
                self.deadline = self.proxy.now + self.proxy.body_timeout
            else:
                tenants_turn = current.request_done or self.reading.holds & Hold.PEER
                current.refuse(Reason.UPSTREAM_TIMEOUT if tenants_turn else Reason.BODY_TIMEOUT)
        elif self._in_head:
            self.refuse(RefusedError(Reason.HEAD_TIMEOUT, "the head did not arrive in time"))
        else:
            self._closing = True
            self.transport.close()

    def give_up(self) -> None:
        """The end of a drain: an answer for who has none yet, a visible break for who has a part of one."""
        if self.tunnel is not None and self.tunnel.say_goodbye(self.proxy.clock()):
            return
        if self._current is not None and not self._current.answered:
            self._current.refuse(Reason.DRAINING)
        elif not self._closing:
            if self._current is not None:
                self._current.abandon(Ending.DRAIN)
            self.break_off()

    def prepare_end(self) -> None:
        """A drain begins."""
        if self.tunnel is not None:
            self.tunnel.listen(self.proxy.clock)

    def drain(self) -> None:
        """No new requests: close now if idle, else after the current one."""
        if self.idle and not self._in_head and not self._closing:
            self._closing = True
            # TLS waits for the peer's goodbye as well.
            self.deadline = min(self.deadline, self.proxy.now + LINGER_SECONDS)
            self.transport.close()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
