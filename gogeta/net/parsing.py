"""The visitor's bytes become requests: llhttp's callbacks, and the bounds that llhttp does not keep.

One half of ``DownstreamConnection``: this one reads, and never writes; the other answers.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import Fields, RequestHead, trailers
from gogeta.net.exchange import Exchange
from gogeta.net.explaining import explain

if TYPE_CHECKING:
    from gogeta.net.downstream import DownstreamConnection
    from gogeta.net.forwarder import Proxy


class RequestParsing(asyncio.Protocol, ABC):
    """The reading half of a visitor's connection."""

    # The answering half's, which this one looks at.
    proxy: Proxy
    deadline: float
    blocked: bool
    _broken: bool
    _closing: bool
    _current: Exchange | None
    _queue: deque[Exchange | RefusedError]
    _later: list[bytes]

    def __init__(self) -> None:
        """Nothing read yet."""
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: Fields = []
        self._trailers: Fields | None = None
        self._in_head = False
        self._feeding = 0
        """Bytes in the feed under way."""
        self._fruitless = 0
        """Bytes fed since the head began or its body last grew: a bound for what the parser keeps to itself."""
        self._fresh = False
        """The next head begins where the feed under way does."""
        self._stopping = False
        """llhttp will stop behind this head, because it asks for an upgrade."""
        self._resumed = False
        """The head being parsed is our own, to read on behind an upgrade that is not passed on."""
        self._receiving: Exchange | None = None

    @abstractmethod
    def _refuse_later(self, error: RefusedError) -> None:
        """Refuse what was just read, in its turn, and read nothing more."""

    @abstractmethod
    def _put_off(self, data: bytes) -> None:
        """Keep bytes that come behind a request which is being answered."""

    @abstractmethod
    def _next(self) -> None:
        """Go on with what waits, when nothing is being answered."""

    def _feed(self, data: bytes) -> None:
        proxy = self.proxy
        if self._current is not None:
            self.deadline = proxy.now + proxy.settings.body_timeout
        elif not self._in_head:
            self.deadline = proxy.now + proxy.settings.header_timeout
        self._feeding = len(data)
        self._fruitless += len(data)
        self._fresh = self._receiving is None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._broken and not self._closing:
                self._refuse_later(explain(error, data, in_fields=bool(self._fields)))
        else:
            if self._in_head:
                if self._fruitless + len(data) > proxy.settings.max_header_bytes:
                    self._size_is_allowed(whole=False)
            elif self._fruitless > proxy.settings.max_header_bytes and self._receiving is not None:
                self._refuse_later(RefusedError(Reason.HEAD_TOO_LARGE, "trailers, or a chunk's extension"))
        if (current := self._current) is not None:
            current.flush()
        elif self._later or self._queue:
            self._next()

    def _size_is_allowed(self, *, whole: bool) -> bool:
        """Judge the head's size, and refuse one that is too long; ``whole``: all of it has been read.

        What preceded the head in its first feed is not known, so it is counted where that feed could have been too
        much.
        """
        limit = self.proxy.settings.max_header_bytes
        if whole or self._fruitless <= limit:
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
            if size <= limit:
                return True
        reason = Reason.TARGET_TOO_LONG if len(self._target) > limit // 2 else Reason.HEAD_TOO_LARGE
        self._refuse_later(RefusedError(reason, f"more than {limit} bytes"))
        return False

    def _after_upgrade(self, rest: bytes) -> None:
        # The parser stops behind every head that asks for an upgrade, wanted or not. Where it goes on as an ordinary
        # request, a fresh parser is told of the same framing, and reads on.
        self._stopping = False
        exchange = self._receiving
        if exchange is None or self._broken or self._closing:
            return
        self._parser = httptools.HttpRequestParser(self)
        if exchange.head.upgrade:
            self._receiving = None
        else:
            framing = (
                b"Transfer-Encoding: chunked\r\n"
                if exchange.head.chunked
                else b"Content-Length: %d\r\n" % (exchange.head.length or 0)
            )
            self._resumed = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: resumed\r\n" + framing + b"\r\n")
        if rest:
            if self._receiving is None:
                self._put_off(rest)
            else:
                self._feed(rest)

    def on_message_begin(self) -> None:
        """llhttp: a request begins."""
        self._in_head = True
        self._fruitless = self._feeding if self._fresh else 0
        self._fresh = False
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
        if self._broken or self._closing:
            return
        suspicious = self._fruitless + self._feeding > self.proxy.settings.max_header_bytes
        if suspicious and not self._size_is_allowed(whole=True):
            return
        self._in_head = False
        self._fruitless = 0
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
        exchange = Exchange(head, cast("DownstreamConnection", self), self.proxy.loop_time())
        self._receiving = exchange
        if self._current is None and not self.blocked and not self._queue:
            self._current = exchange
            self.proxy.begin(exchange)
        else:
            self._queue.append(exchange)

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body."""
        self._fruitless = 0
        exchange = self._receiving
        if exchange is not None and not self._broken:
            exchange.body(body)
            if exchange.body_limit and exchange.received > exchange.body_limit and not exchange.ended:
                self._broken = True
                exchange.cut(Reason.BODY_TOO_LARGE)

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
