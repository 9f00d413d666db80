"""A tenant's bytes become responses, judged and written anew.

One half of ``UpstreamConnection``: this one reads, and hands on; the other owns the connection.

As for requests there are two ways in: a whole head in the ordinary form is taken as it is, and a body of known length
is counted. llhttp reads heads that come in pieces or look in any way unusual, chunks, and bodies without a length. Any
anomaly, or one byte too many, costs the connection and never another visitor's answer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import httptools

from gogeta.core.field_lines import Field, Pairs
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import trailers
from gogeta.core.response import ORDINARY_LINE, SWITCHING, Framing, ResponseHead, interim
from gogeta.net.reading import ReadGate

if TYPE_CHECKING:
    from gogeta.core.pool import Pool
    from gogeta.net.exchange import Exchange
    from gogeta.net.forwarder import Proxy
    from gogeta.net.upstream import UpstreamConnection

_FIRST_FINAL: Final = 200
_PROTOCOL: Final = b"HTTP/1."
_VERSIONS: Final = ("1.1", "1.0")
_NOTHING_SAID: Final = b"-"
"""No head begins so."""
_MAX_HERALDS: Final = 100
"""Most 1xx responses to one request."""
_CHUNK_FRAME: Final = 24
"""What a chunk may take for itself without being counted: its size and two line ends."""
_RESUMED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
"""What llhttp is told of a head that it has not read."""


class ResponseParsing(asyncio.Protocol, ABC):
    """The reading half of a connection to a tenant."""

    __slots__ = (
        "_between",
        "_bodiless",
        "_closing",
        "_complete",
        "_counted",
        "_fields",
        "_fruitless",
        "_head",
        "_heralds",
        "_keep_alive",
        "_known",
        "_line",
        "_out",
        "_parser",
        "_phrase",
        "_refusal",
        "_resumed",
        "_said",
        "_surplus",
        "_tail",
        "_trailers",
        "exchange",
        "pool",
        "proxy",
        "reading",
        "reused",
        "silent",
        "transport",
    )

    # The owning half's, which this one looks at.
    exchange: Exchange | None
    pool: Pool[UpstreamConnection]
    proxy: Proxy
    reading: ReadGate
    reused: bool
    silent: bool
    transport: asyncio.Transport
    _closing: bool

    def __init__(self) -> None:
        """Between two responses."""
        self._parser: httptools.HttpResponseParser | None = None
        self._between = True
        """Whether the next byte begins a message: nothing of one is in the parser."""
        self._counted = 0
        """How many bytes are to come of a body that is counted here."""
        self._tail = b""
        """The last bytes of a head that llhttp has begun: its end may lie between two feeds."""
        self._line = b""
        """What has been fed of the status line that llhttp reads, at least its protocol."""
        self._resumed = False
        """The head being parsed is our own, to have the body parsed of one that was judged here."""
        self._heralds = 0
        """1xx responses to the request under way."""
        self._phrase = b""
        self._fields: Pairs = []
        self._trailers: Pairs | None = None
        self._head: ResponseHead | None = None
        self._out: list[bytes] = []
        self._fruitless = 0
        """Bytes fed of a head; behind it those fed that were no body: a bound for what llhttp keeps to itself."""
        self._complete = False
        self._surplus = False
        self._keep_alive = False
        self._bodiless = False
        self._refusal: RefusedError | None = None
        self._said = _NOTHING_SAID
        """The last head that is remembered, as it came: often the next one is the same, and comparing is cheaper than
        looking up."""
        self._known: ResponseHead
        """What it means."""

    @abstractmethod
    def _finish(self) -> None:
        """The response is complete: give the connection back, or close it, and end the exchange."""

    @abstractmethod
    def _switch(self, exchange: Exchange, rest: bytes) -> None:
        """The tenant has switched protocols; ``rest`` is what the new one begins with."""

    @abstractmethod
    def _refuse(self, exchange: Exchange, refusal: RefusedError) -> None:
        """What was read cannot be an answer."""

    @abstractmethod
    def _unsent(self) -> bool:
        """Whether the tenant has answered before it had read all of a request that has a body."""

    @abstractmethod
    def park(self, now: float) -> None:
        """The connection is free for the next exchange."""

    def _recognise(self, exchange: Exchange, data: bytes) -> bool:
        """Take a read that begins with a whole ordinary head; False when llhttp has to look.

        As for requests, the first empty line ends it for every parser. What a head means for the visitor depends on the
        request, too: known by their bytes are only heads that answered an ordinary one, to ordinary ones.
        """
        proxy = self.proxy
        usual = exchange.head.plain and exchange.request_done and exchange.method != b"HEAD" and not proxy.draining
        if usual and data.startswith(self._said):
            end = len(self._said)
            head = self._known
        else:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                return False
            try:
                judged = self._know(exchange, data[:end]) if usual else self._judge(exchange, data[:end])
            except RefusedError as refusal:
                self._refuse(exchange, refusal)
                return True
            if judged is None:
                return False
            head = judged
        size = head.size
        if size is None:
            # llhttp knows chunks, and what may go wrong with them; of the head it is told their coding alone.
            exchange.begin_answer(head)
            self._head = head
            self._out.append(head.serialise(proxy.date))
            self._line = _PROTOCOL
            self._resumed = True
            self._parse(_RESUMED)
            self._feed(exchange, data[end:])
            return True
        out = head.lines + data[end:] if head.dated else b"".join((head.lines, proxy.date, b"\r\n", data[end:]))
        left = size - len(data) + end
        if left == 0 and head.reusable and exchange.request_done and not (exchange.sent and self._unsent()):
            self.exchange = None
            self.park(proxy.now)
            exchange.whole(head, out)
            return True
        self.silent = False
        self._head = head
        self._keep_alive = head.reusable
        exchange.begin_answer(head)
        exchange.sent_bytes = len(data) - end
        self._count_down(exchange, out, left)
        return True

    def _know(self, exchange: Exchange, said: bytes) -> ResponseHead | None:
        """What a head means to any usual request; None when it is not an ordinary one. Raises RefusedError."""
        heads = self.proxy.response_heads
        head = heads.get(said) or heads.recall(said)
        if head is not None:
            self._said, self._known = said, head
        elif (head := self._judge(exchange, said)) is not None:
            heads.learn(said, head)
        return head

    def _judge(self, exchange: Exchange, said: bytes) -> ResponseHead | None:
        """What a head means to this request; None when it is not an ordinary one. Raises RefusedError."""
        proxy = self.proxy
        line = said.find(b"\r\n")
        if len(said) > proxy.max_header_bytes or (match := ORDINARY_LINE(said, 0, line)) is None:
            return None
        fields = proxy.response_fields.read(said[line + 2 : -4])
        if fields is None or len(fields) > proxy.settings.max_header_fields:
            return None
        head = self._head_of(exchange, int(match[2]), match[3], fields, http11=match[1] == b"1")
        # A body that ends with its connection has no other end: llhttp is asked for its pieces.
        return None if head.until_close else head

    def _head_of(
        self, exchange: Exchange, status: int, phrase: bytes, fields: list[Field], *, http11: bool
    ) -> ResponseHead:
        request, proxy = exchange.head, self.proxy
        return ResponseHead(
            status,
            phrase,
            fields,
            request,
            method=exchange.method,
            keep_alive=request.keep_alive and exchange.request_done and not proxy.draining,
            upstream_http11=http11,
            via=b"" if proxy.via is None else proxy.via[http11],
        )

    def _count(self, exchange: Exchange, data: bytes) -> None:
        exchange.sent_bytes += len(data)
        self._count_down(exchange, data, self._counted - len(data))

    def _count_down(self, exchange: Exchange, out: bytes, left: int) -> None:
        """Send on bytes of a counted body, of which so many are left; fewer than none is a surplus."""
        if left > 0:
            self._counted = left
            exchange.write(out)
            return
        self._counted = 0
        self._complete = True
        if left < 0:
            self._surplus = True
            out = out[:left]
        exchange.write(out)
        self._finish()

    def _feed(self, exchange: Exchange, data: bytes) -> None:
        """Have llhttp read a head that is not ordinary or comes in pieces, chunks, or a body without a length."""
        self.silent = False
        while data and not self._closing:
            if len(self._line) < len(_PROTOCOL) and not self._speaks_http(data):
                self._refuse(exchange, RefusedError(Reason.UPSTREAM_INVALID, "it does not begin with a status line"))
                return
            rest = b""
            if self._head is None:
                data, rest = self._to_the_heads_end(data)
            self._parse(data)
            if self._refusal is not None:
                self._refuse(exchange, self._refusal)
                return
            head = self._head
            out, self._out = self._out, []
            if head is not None and head.size and not self._complete:
                # Its body is counted like any other's.
                self._parser = None
                self._keep_alive = head.reusable
                exchange.sent_bytes = len(rest)
                self._count_down(exchange, b"".join((*out, rest)), head.size - len(rest))
                return
            if out:
                exchange.write(out[0] if len(out) == 1 else b"".join(out))
            if self._complete:
                self._completed(exchange, data, rest)
                return
            # Behind a 1xx response, or behind the head of a body that llhttp reads.
            data = rest

    def _to_the_heads_end(self, data: bytes) -> tuple[bytes, bytes]:
        """What llhttp may have of this read, and what is behind the head, where it skips line ends of all kinds."""
        piece = self._tail + data
        found = piece.find(b"\r\n\r\n")
        if found < 0:
            self._tail = piece[-3:]
            return data, b""
        end = found + 4 - len(self._tail)
        self._tail = b""
        return data[:end], data[end:]

    def _new_parser(self) -> httptools.HttpResponseParser:
        self._parser = httptools.HttpResponseParser(self)
        return self._parser

    def _parse(self, data: bytes) -> None:
        parser = self._parser or self._new_parser()
        self._between = False
        self._fruitless += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It stops at the head's end, where this feed ends as well.
            pass
        except httptools.HttpParserError as error:
            if self._complete:
                self._surplus = True
            elif self._refusal is None:
                self._refusal = RefusedError(Reason.UPSTREAM_INVALID, str(error))
        if self._fruitless > self.proxy.max_header_bytes and not self._complete:
            self._refusal = RefusedError(Reason.UPSTREAM_INVALID, "a head, trailers or a chunk's extension is too long")

    def _completed(self, exchange: Exchange, data: bytes, rest: bytes) -> None:
        """The response has been read, in a feed that ended with ``data``; ``rest`` begins a new protocol."""
        head = self._head
        assert head is not None  # noqa: S101 - what is complete had a head
        if head.status == SWITCHING:
            self._switch(exchange, rest)
            return
        if rest or (head.framing is Framing.CHUNKED and not _ends_there(data)):
            self._surplus = True
        self._finish()

    def _speaks_http(self, data: bytes) -> bool:
        """Whether the response begins as one: llhttp skips line ends before it, and knows other protocols."""
        self._line += data[: len(_PROTOCOL)]
        return self._line.startswith(_PROTOCOL[: len(self._line)])

    # Parsing.

    def on_message_begin(self) -> None:
        """llhttp: a response begins."""
        if self._complete:
            self._surplus = True
        self._phrase = b""
        self._fields = []
        self._trailers = None

    def on_status(self, phrase: bytes) -> None:
        """llhttp: (a part of) the reason phrase."""
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a field, of the head or after the body."""
        fields = self._fields if self._trailers is None else self._trailers
        if len(fields) >= self.proxy.settings.max_header_fields:
            self._refusal = self._refusal or RefusedError(Reason.UPSTREAM_INVALID, "too many fields")
            return
        fields.append((name, value))

    def on_headers_complete(self) -> None:
        """llhttp: the head is complete."""
        exchange = self.exchange
        if self._resumed:
            self._resumed = False
            self._fruitless = 0
            self._trailers = []
            return
        if self._complete or self._refusal is not None or exchange is None:
            return
        parser = self._parser
        assert parser is not None  # noqa: S101 - it is calling
        status = parser.get_status_code()
        request = exchange.head
        limit = self.proxy.max_header_bytes
        try:
            if parser.get_http_version() not in _VERSIONS:
                raise RefusedError(Reason.UPSTREAM_INVALID, "another version")  # noqa: TRY301 - told as the others
            if self._fruitless > limit and sum(len(name) + len(value) + 4 for name, value in self._fields) > limit:
                raise RefusedError(Reason.UPSTREAM_INVALID, "the head is too long")  # noqa: TRY301 - told as the others
            self._fruitless = 0
            if status < _FIRST_FINAL and status != SWITCHING:
                self._trailers = []
                self._line = b""
                self._heralds += 1
                if self._heralds > _MAX_HERALDS:
                    raise RefusedError(Reason.UPSTREAM_INVALID, "too many 1xx responses")  # noqa: TRY301 - told as the others
                herald = interim(status, self._phrase, self._fields)
                if request.http11:
                    exchange.herald(herald)
                return
            head = self._head_of(
                exchange,
                status,
                self._phrase,
                self.proxy.response_fields.fields(self._fields),
                http11=parser.get_http_version() == "1.1",
            )
        except RefusedError as error:
            self._refusal = error
            return
        exchange.begin_answer(head)
        self._head = head
        self._trailers = []
        self._out.append(head.serialise(self.proxy.date))
        if exchange.method == b"HEAD":
            # The parser does not know the request and would wait for a body.
            self._bodiless = self._complete = True
            self._keep_alive = head.reusable

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body."""
        self._fruitless -= len(body) + _CHUNK_FRAME
        if self.exchange is not None:
            self.exchange.sent_bytes += len(body)
        head = self._head
        if self._complete or self._refusal is not None or head is None:
            self._surplus = True
        elif head.framing is Framing.CHUNKED:
            self._out += (b"%x\r\n" % len(body), body, b"\r\n")
        else:
            self._out.append(body)

    def on_message_complete(self) -> None:
        """llhttp: the response is complete (or one of its 1xx heralds)."""
        head = self._head
        if head is None or self._bodiless or self._complete:
            return
        self._complete = True
        self._keep_alive = head.reusable and self._parser is not None and self._parser.should_keep_alive()
        if head.framing is Framing.CHUNKED:
            self._end_chunks()

    def _end_chunks(self) -> None:
        exchange = self.exchange
        self._out.append(b"0\r\n")
        if self._trailers and exchange is not None and exchange.head.wants_trailers:
            self._out.append(trailers(self._trailers))
        self._out.append(b"\r\n")


def _ends_there(data: bytes) -> bool:
    """Whether chunks that end in this read leave nothing behind: llhttp skips line ends there without a word."""
    return b"\r\n\r\n".endswith(data[-4:]) and not data.endswith(b"\n\r\n\r\n")
