"""The visitor's side: one connection, its requests in order, its answers in the same order.

It parses, it queues what was pipelined, it closes in the right way; what a request means is the proxy's business. One
request is forwarded at a time: while it is being answered, later bytes wait unread (bounded by one read).
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

import httptools

from gogeta.core.pages import Page, problem
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import Fields, RequestHead, trailers
from gogeta.net.exchange import Exchange
from gogeta.net.reading import Hold, ReadGate
from gogeta.net.tunnel import Tunnel

if TYPE_CHECKING:
    from gogeta.net.forwarder import Proxy

WRITE_HIGH: Final = 64 * 1024
"""Bytes waiting for a slow reader before the other side is paused."""
BUFFER_LIMIT: Final = 64 * 1024
"""Bytes of later requests kept before the client is not read any more."""
LINGER_SECONDS: Final = 2.0
_PLAUSIBLE_METHOD: Final = re.compile(rb"\s*[A-Z][A-Z_-]{0,31} ").match
_PREFACE: Final = b"PRI * HTTP/2.0"


class DownstreamConnection(asyncio.Protocol):
    """One visitor's connection (see the module's docstring)."""

    def __init__(self, proxy: Proxy) -> None:
        """``proxy`` holds what all connections share."""
        self.proxy = proxy
        self.deadline = proxy.now + proxy.settings.keep_alive_timeout
        """When the sweep ends what is going on, on the proxy's coarse clock."""
        self.transport: asyncio.Transport
        self.reading: ReadGate
        self.peer = ""
        self.forwarding = b""
        """Our forwarding fields for this peer, serialised once."""
        # Parsing.
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: Fields = []
        self._trailers: Fields | None = None
        self._head_bytes = 0
        self._in_head = False
        self._feeding = 0
        self._stopping = False
        """llhttp will stop behind this head, because it asks for an upgrade."""
        self._resumed = False
        """The head being parsed is our own, to read on behind an upgrade that is not passed on."""
        self._receiving: Exchange | None = None
        self._broken = False
        """Nothing more is parsed: a request was refused in a way that ends the connection."""
        # Answering.
        self._current: Exchange | None = None
        self._queue: deque[Exchange | RefusedError] = deque()
        self._later: list[bytes] = []
        """Bytes that wait until the current exchange is answered."""
        self._later_bytes = 0
        self._advancing = False
        self._closing = False
        self._eof = False
        self.tunnel: Tunnel | None = None

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Downstream {self.peer} {self._current or 'idle'}{' closing' if self._closing else ''}>"

    @property
    def idle(self) -> bool:
        """Whether no exchange is under way."""
        return self._current is None and self.tunnel is None

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A visitor has come."""
        # uvloop's transports are asyncio's in behaviour, not by inheritance.
        self.transport = cast("asyncio.Transport", transport)
        self.reading = ReadGate(self.transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else "unix"
        if not self.proxy.opened(self):
            self.refuse(RefusedError(Reason.CONNECTIONS, "limit reached"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor is gone."""
        self._closing = True
        self.proxy.closed(self)
        if self.tunnel is not None:
            self.tunnel.lost(self.transport)
        for exchange in (self._current, *self._queue):
            if isinstance(exchange, Exchange):
                if exchange.answered and not exchange.ended:
                    self.proxy.tally.broken["client"] += 1
                exchange.abandon()
        self._current = None
        self._queue.clear()
        self._later.clear()

    def eof_received(self) -> bool:
        """The visitor will send no more; what was asked completely is still answered."""
        self._eof = True
        if self.tunnel is not None:
            return self.tunnel.eof(self.transport)
        if self._current is not None and not self._current.request_done:
            self._current.abandon()
            return False
        return self._current is not None

    def pause_writing(self) -> None:
        """The visitor reads slowly: the upstream waits."""
        if self.tunnel is not None:
            self.tunnel.pause(self.transport)
        elif self._current is not None and self._current.upstream is not None:
            self._current.upstream.reading.hold(Hold.PEER)

    def resume_writing(self) -> None:
        """The visitor has caught up."""
        if self.tunnel is not None:
            self.tunnel.resume(self.transport)
        elif self._current is not None and self._current.upstream is not None:
            self._current.upstream.reading.release(Hold.PEER)

    def data_received(self, data: bytes) -> None:
        """Bytes of the visitor: of this request, of later ones, or of a tunnel."""
        if self.tunnel is not None:
            self.tunnel.forward(self.transport, data)
        elif self._closing or self._broken:
            return
        elif self._current is not None and self._current.request_done:
            self._later.append(data)
            self._later_bytes += len(data)
            if self._later_bytes > BUFFER_LIMIT:
                self.reading.hold(Hold.ORDER)
        else:
            self._feed(data)

    # Parsing.

    def _feed(self, data: bytes) -> None:
        proxy = self.proxy
        if self._current is not None:
            self.deadline = proxy.now + proxy.settings.body_timeout
        elif not self._in_head:
            self.deadline = proxy.now + proxy.settings.header_timeout
        self._feeding = len(data)
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._broken:
                self._refuse_later(self._explain(error, data))
        else:
            if self._in_head and self._head_bytes > proxy.settings.max_header_bytes:
                self._size_is_allowed()
        if (current := self._current) is not None:
            current.flush()

    def _size_is_allowed(self) -> bool:
        """Judge the head's size exactly, and refuse it; asked only when more was read since its begin than is allowed."""
        limit = self.proxy.settings.max_header_bytes
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
        if len(self._target) > limit // 2:
            self._refuse_later(RefusedError(Reason.TARGET_TOO_LONG, f"more than {limit // 2} bytes"))
        elif size > limit or (self._in_head and self._head_bytes > 2 * limit):
            self._refuse_later(RefusedError(Reason.HEAD_TOO_LARGE, f"more than {limit} bytes"))
        return not self._broken

    def _after_upgrade(self, rest: bytes) -> None:
        # The parser stops behind every head that asks for an upgrade, wanted or not. Where it goes on as an ordinary
        # request, a fresh parser is told of the same framing, and reads on.
        self._stopping = False
        exchange = self._receiving
        if exchange is None or self._broken:
            return
        self._parser = httptools.HttpRequestParser(self)
        if exchange.head.upgrade:
            self._receiving = None
            exchange.end_of_request(b"")
            if rest:
                self._later.append(rest)
                self._later_bytes += len(rest)
            return
        framing = (
            b"Transfer-Encoding: chunked\r\n"
            if exchange.head.chunked
            else b"Content-Length: %d\r\n" % (exchange.head.length or 0)
        )
        self._resumed = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: resumed\r\n" + framing + b"\r\n")
        if rest:
            if exchange.request_done:
                self._later.append(rest)
                self._later_bytes += len(rest)
            else:
                self._feed(rest)

    def on_message_begin(self) -> None:
        """llhttp: a request begins."""
        self._in_head = True
        self._head_bytes = self._feeding
        self._target = b""
        self._fields = []
        self._trailers = None

    def on_url(self, target: bytes) -> None:
        """llhttp: (a part of) the request target."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a field, of the head or after the body."""
        fields = self._fields if self._trailers is None else self._trailers
        if len(fields) < self.proxy.settings.max_header_fields:
            fields.append((name, value))
        else:
            self._refuse_later(RefusedError(Reason.HEAD_TOO_LARGE, "too many fields"))

    def on_headers_complete(self) -> None:
        """llhttp: the head is complete."""
        if self._broken:
            return
        self._in_head = False
        if self._head_bytes > self.proxy.settings.max_header_bytes and not self._size_is_allowed():
            return
        self._trailers = []
        if self._resumed:
            return
        parser = self._parser
        self._stopping = parser.should_upgrade()
        try:
            head = RequestHead(parser.get_method(), self._target, parser.get_http_version(), self._fields)
        except RefusedError as error:
            self._refuse_later(error)
            return
        exchange = Exchange(head, self, self.proxy.loop_time())
        self._receiving = exchange
        if self._current is None:
            self._current = exchange
            self.proxy.begin(exchange)
        else:
            self._queue.append(exchange)

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body."""
        if self._receiving is not None and not self._broken:
            self._receiving.body(body)

    def on_message_complete(self) -> None:
        """llhttp: the request is complete."""
        if self._stopping:
            # Whether it is complete is decided when the parser has said where it stopped.
            return
        self._resumed = False
        exchange, self._receiving = self._receiving, None
        if exchange is None or self._broken:
            return
        exchange.end_of_request(trailers(self._trailers) if self._trailers else b"")

    def _explain(self, error: Exception, data: bytes) -> RefusedError:
        text = str(error)
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            plausible = _PLAUSIBLE_METHOD(data) if not self._fields else None
            return RefusedError(Reason.METHOD if plausible else Reason.MALFORMED, text)
        if "PRI" in text or data.startswith(_PREFACE):
            return RefusedError(Reason.VERSION, "the HTTP/2 preface")
        if "HTTP version" in text:
            return RefusedError(Reason.VERSION, text)
        if "Content-Length" in text or "Transfer-Encoding" in text:
            return RefusedError(Reason.FRAMING, text)
        return RefusedError(Reason.MALFORMED, text)

    def _refuse_later(self, error: RefusedError) -> None:
        """Refuse what was just read, after everything before it is answered; nothing more is read."""
        if self._broken:
            return
        self._broken = True
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._current:
            # The body of the request under way is broken: it cannot be completed, and the upstream must not think so.
            if receiving.answered:
                receiving.abandon()
                self.abort()
            else:
                receiving.refuse(error.reason)
            return
        if receiving is not None and receiving in self._queue:
            self._queue.remove(receiving)
        if self._current is None:
            self.refuse(error)
        else:
            self._queue.append(error)

    # Answering.

    def expect_response(self) -> None:
        """The request is on its way to a tenant."""
        self.deadline = self.proxy.now + self.proxy.settings.response_timeout

    def write(self, data: bytes) -> None:
        """Bytes of the current response."""
        self.deadline = self.proxy.now + self.proxy.settings.body_timeout
        self.transport.write(data)

    def write_page(self, page: Page, *, keep_alive: bool, bodiless: bool) -> None:
        """A whole answer of our own."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in page.fields)
        connection = "" if keep_alive and not self.proxy.draining else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {page.status} {_phrase(page.status)}\r\n{fields}Content-Length: {len(page.body)}\r\n{connection}"
        )
        self.transport.write(head.encode() + self.proxy.date + b"\r\n" + (b"" if bodiless else page.body))

    def refuse(self, error: RefusedError) -> None:
        """Refuse what could not become a request, and close."""
        self._broken = True
        self.proxy.tally.refusals[error.reason.value] += 1
        self.proxy.tally.answers[error.status // 100] += 1
        self.write_page(problem(error.reason, ""), keep_alive=False, bodiless=False)
        self._linger()

    def finish(self, exchange: Exchange, *, keep_alive: bool) -> None:
        """The exchange is answered: go on with the next, or close."""
        if exchange is not self._current:
            return
        self._current = None
        if self._closing:
            return
        if not keep_alive or self.proxy.draining:
            if exchange.request_done and not self._later:
                self._closing = True
                self.transport.close()
            else:
                self._linger()
            return
        settings = self.proxy.settings
        self.deadline = self.proxy.now + (settings.header_timeout if self._in_head else settings.keep_alive_timeout)
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
        while self._current is None and not self._closing:
            if self._queue:
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
                self._feed(b"".join(later))
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
            for hold in (Hold.PEER, Hold.PENDING, Hold.ORDER):
                self.reading.release(hold)
            if self.transport.can_write_eof():
                self.transport.write_eof()

    def open_tunnel(self, tunnel: Tunnel) -> None:
        """The upstream has switched protocols: from now on bytes go through both ways."""
        self.tunnel = tunnel
        self._current = None
        self.deadline = float("inf")
        later, self._later, self._later_bytes = self._later, [], 0
        for hold in (Hold.PEER, Hold.PENDING, Hold.ORDER):
            self.reading.release(hold)
        if later:
            tunnel.forward(self.transport, b"".join(later))
        if self._eof:
            tunnel.eof(self.transport)

    def abort(self) -> None:
        """Break off so that nobody takes what was sent for complete."""
        self._closing = True
        self.transport.abort()

    def expired(self) -> None:
        """The sweep: the deadline has passed."""
        current = self._current
        if self._closing:
            self.transport.abort()
        elif current is not None:
            if current.answered:
                self.proxy.tally.broken["timeout"] += 1
                current.abandon()
                self.abort()
            elif current.upstream is None:
                # Held or connecting: those have deadlines of their own.
                self.deadline = self.proxy.now + self.proxy.settings.body_timeout
            else:
                current.refuse(Reason.UPSTREAM_TIMEOUT if current.request_done else Reason.BODY_TIMEOUT)
        elif self._in_head:
            self.refuse(RefusedError(Reason.HEAD_TIMEOUT, "the head did not arrive in time"))
        else:
            self._closing = True
            self.transport.close()

    def drain(self) -> None:
        """No new requests: close now if idle, else after the current one."""
        if self.idle and not self._closing:
            self._closing = True
            self.transport.close()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
