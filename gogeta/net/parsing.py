"""The visitor's bytes become requests: llhttp's callbacks, and the bounds that llhttp does not keep.

One half of ``DownstreamConnection``: this one reads, and never writes; the other answers.

There are two ways in. A read that is one whole request, in an ordinary line and with fields that were judged before,
is taken as it is (``_recognise``). Everything else goes through llhttp, and what comes out well is remembered. Both
give the same: tests/conformance feeds each what the other has seen.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import ORDINARY_LINE, Fields, RequestHead, judge_target, trailers
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
    _queue: deque[Exchange | RefusedError] | None
    _later: list[bytes]

    def __init__(self) -> None:
        """Nothing read yet."""
        self._parser: httptools.HttpRequestParser | None = None
        """Made when it is needed first: many connections never send what it is needed for."""
        self._unjudged = b""
        """The fields of the head that the feed under way begins with, as they came, when they may be remembered."""
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
    def _enqueue(self, item: Exchange | RefusedError) -> None:
        """Keep what was read until what came before it is answered."""

    @abstractmethod
    def _put_off(self, data: bytes) -> None:
        """Keep bytes that come behind a request which is being answered."""

    @abstractmethod
    def _next(self) -> None:
        """Go on with what waits, when nothing is being answered."""

    def _recognise(self, data: bytes) -> bool:
        """Take a read that is one whole request with fields that are known; False when llhttp has to look.

        For a connection on which nothing is under way, between two requests. A line that is ordinary ends the same for
        every parser, and fields that llhttp has accepted hold no other line end than CRLF: so the first empty line is
        the head's end, and the fields' bytes mean what they meant before.
        """
        line = data.find(b"\r\n")
        end = data.find(b"\r\n\r\n", line)
        if end < 0 or (match := ORDINARY_LINE(data, 0, line)) is None:
            return False
        proxy = self.proxy
        fields = data[line : end + 2]
        head = proxy.request_heads.get(fields) or proxy.request_heads.recall(fields)
        if head is None:
            self._unjudged = fields
            return False
        size = len(data) - end - 4
        if size != head.length or end > proxy.settings.max_header_bytes:
            return False
        exchange = self._current = Exchange(self, match[1], match[2], head, proxy.clock())  # type: ignore[arg-type] # the other half
        if size:
            exchange.pending.append(data[end + 4 :])
            exchange.pending_bytes = size
            exchange.request_done = True
        proxy.begin(exchange)
        if not exchange.ended:
            exchange.flush()
        return True

    def _feed(self, data: bytes) -> None:
        proxy = self.proxy
        parser = self._parser or self._new_parser()
        if self._current is not None:
            self.deadline = proxy.now + proxy.settings.body_timeout
        elif not self._in_head:
            self.deadline = proxy.now + proxy.settings.header_timeout
        self._feeding = len(data)
        self._fruitless += len(data)
        self._fresh = self._receiving is None
        try:
            parser.feed_data(data)
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

    def _new_parser(self) -> httptools.HttpRequestParser:
        self._parser = httptools.HttpRequestParser(self)
        return self._parser

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
        parser = self._new_parser()
        if exchange.head.upgrade:
            self._receiving = None
        else:
            framing = (
                b"Transfer-Encoding: chunked\r\n"
                if exchange.head.chunked
                else b"Content-Length: %d\r\n" % (exchange.head.length or 0)
            )
            self._resumed = True
            parser.feed_data(b"POST / HTTP/1.1\r\nHost: resumed\r\n" + framing + b"\r\n")
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
        unjudged, self._unjudged = self._unjudged, b""
        parser = self._parser
        assert parser is not None  # noqa: S101 - it is calling
        self._stopping = parser.should_upgrade()
        method = parser.get_method()
        try:
            target, authority = judge_target(method, self._target)
            head = RequestHead(parser.get_http_version(), self._fields, authority)
        except RefusedError as error:
            self._refuse_later(error)
            return
        if unjudged and head.plain:
            self.proxy.request_heads.learn(unjudged, head)
        exchange = Exchange(cast("DownstreamConnection", self), method, target, head, self.proxy.clock())
        self._receiving = exchange
        if self._current is None and not self.blocked and not self._queue:
            self._current = exchange
            self.proxy.begin(exchange)
        else:
            self._enqueue(exchange)

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body."""
        self._fruitless = 0
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
