"""The visitor's bytes become requests: llhttp's callbacks, and the bounds that llhttp does not keep.

One half of ``DownstreamConnection``: this one reads, and never writes; the other answers.

There are two ways in. A read that begins with a whole head in the ordinary form is taken as it is (``_recognise``), and
a body of known length is counted. Everything else goes through llhttp: heads that come in pieces or look in any way
unusual, chunks, and whatever is wrong. Both ways give the same, byte for byte.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Final

import httptools

from gogeta.core.field_lines import Pairs
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import ORDINARY_LINE, RequestHead, judge_target, trailers
from gogeta.net.exchange import Exchange
from gogeta.net.explaining import explain

if TYPE_CHECKING:
    from gogeta.net.forwarder import Proxy


_RESUMED: Final = b"POST / HTTP/1.1\r\nHost: resumed\r\n%b\r\n\r\n"
"""What llhttp is told of a head that it has not read, or that it stopped behind: how the body is framed."""


_CR: Final = 13
_LF: Final = 10
_LINE_ENDS: Final = frozenset({_CR, _LF})
_MAX_EMPTY_LINES: Final = 8
"""Most empty lines before one request."""
_VERSIONS: Final = (b" HTTP/1.1", b" HTTP/1.0")
"""llhttp takes some other protocols for HTTP/1.0."""
_NOTHING_SAID: Final = b"-"
"""No version ends so."""
_PIECE: Final = 16 * 1024
"""Most bytes that llhttp is fed at once."""
_MAX_OVERHEAD: Final = 16 * 1024
"""Most bytes of chunk extensions and trailers in one request (RFC 9112 section 7.1.1 asks for a limit)."""
_CHUNK_FRAME: Final = 24
"""What a chunk may take for itself without being counted: its size and two line ends."""


class RequestParsing(asyncio.Protocol, ABC):
    """The reading half of a visitor's connection."""

    __slots__ = (
        "_broken",
        "_closing",
        "_counted",
        "_current",
        "_empty_lines",
        "_feeding",
        "_fields",
        "_fresh",
        "_fruitless",
        "_half_line",
        "_head",
        "_in_head",
        "_later",
        "_line",
        "_parser",
        "_queue",
        "_receiving",
        "_resumed",
        "_said",
        "_stopping",
        "_tail",
        "_target",
        "_trailers",
        "blocked",
        "deadline",
        "proxy",
    )

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
        self._counted = 0
        """How many bytes are to come of a body that is counted here."""
        self._empty_lines = 0
        """Before the next request, so far."""
        self._half_line = False
        """A CR has come before a request, and its LF has not yet."""
        self._tail = b""
        """The last bytes of a head that llhttp has begun: its end may lie between two feeds."""
        self._line: bytes | None = None
        """What has been fed of the request line that llhttp reads; None where that is not known."""
        self._target = b""
        self._fields: Pairs = []
        self._trailers: Pairs | None = None
        self._in_head = False
        self._feeding = 0
        """Bytes in the feed under way."""
        self._fruitless = 0
        """Bytes fed of the head; behind it those fed that were no body: a bound for what llhttp keeps to itself."""
        self._fresh = False
        """The next head begins where the feed under way does."""
        self._stopping = False
        """llhttp will stop behind this head, because it asks for an upgrade."""
        self._resumed = False
        """The head being parsed is our own, to read on behind an upgrade that is not passed on."""
        self._receiving: Exchange | None = None
        self._said = _NOTHING_SAID
        """What the last head that is remembered looked like, from the version's last digit to its end: mostly, the next
        one is the same, and comparing is cheaper than looking up."""
        self._head: RequestHead
        """What it means."""

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

    def _read(self, data: bytes) -> None:
        """Bytes that are not to wait: of the request under way, or of the next ones, one after the other."""
        size = len(data)
        place = 0
        while place < size and not (self._broken or self._closing):
            if self._counted:
                place = self._count(data, place)
            elif self._in_head or self._receiving is not None:
                place = self._feed(data, place)
            elif self._half_line or not (behind := self._recognise(data, place)):
                if self._half_line or data[place] in _LINE_ENDS:
                    place = self._skip_empty_lines(data, place)
                else:
                    self._line = b""
                    place = self._feed(data, place)
            else:
                place = behind
        if (current := self._current) is not None:
            if current.pending:
                current.flush()
        elif self._later or self._queue:
            self._next()

    def _skip_empty_lines(self, data: bytes, place: int) -> int:
        """The place behind empty lines, which may stand before a request (RFC 9112 section 2.2): a few, and whole."""
        size = len(data)
        while place < size:
            byte = data[place]
            if self._half_line:
                self._half_line = False
                self._empty_lines += 1
                if byte != _LF or self._empty_lines > _MAX_EMPTY_LINES:
                    self._refuse_later(RefusedError(Reason.MALFORMED, "a bare CR, or too many empty lines"))
                    return size
            elif byte == _CR:
                self._half_line = True
            elif byte == _LF:
                self._refuse_later(RefusedError(Reason.MALFORMED, "a bare LF before a request"))
                return size
            else:
                break
            place += 1
        return place

    def _recognise(self, data: bytes, start: int) -> int:
        """Take one request that begins there with a whole ordinary head; the place behind what was taken of it.

        0 when llhttp has to look from there on. A request line that is ordinary and field lines that are ordinary end
        the same for every parser, so the first empty line is the head's end, and fields that are known by their bytes
        mean what they meant before.
        """
        line = data.find(b"\r\n", start)
        match = ORDINARY_LINE(data, start, line)
        if match is None:
            return 0
        proxy = self.proxy
        version = line - 1
        again = data.startswith(self._said, version)
        end = version + len(self._said) if again else data.find(b"\r\n\r\n", line) + 4
        if end < 4 or end - start - 4 > proxy.max_header_bytes:
            return 0
        method, target, _ = match.groups()
        if again:
            head = self._head
        else:
            try:
                known = self._know(data[version:end])
            except RefusedError as error:
                error.bodiless = method == b"HEAD"
                self._refuse_later(error)
                return len(data)
            if known is None:
                return 0
            head = known
        self._begin(method, target, head)
        if head.over:
            self._receiving = None
            return end
        length = head.length
        if length:
            self._counted = length
            self.deadline = proxy.now + proxy.body_timeout
            return end
        if length is None:
            # llhttp knows chunks, and what may go wrong with them; of the head it is told their coding alone.
            self._resumed = True
            self._feed_piece(_RESUMED % b"Transfer-Encoding: chunked")
            return end
        return self._request_is_over(head, data, end)

    def _know(self, said: bytes) -> RequestHead | None:
        """What a head means that says this behind ``HTTP/1.``; None when it is not an ordinary one.

        Raises RefusedError.
        """
        proxy = self.proxy
        heads = proxy.request_heads
        head = heads.get(said) or heads.recall(said)
        if head is not None:
            self._said, self._head = said, head
            return head
        fields = proxy.request_fields.read(said[3:-4])
        if fields is None or len(fields) > proxy.settings.max_header_fields:
            return None
        head = RequestHead("1.1" if said[:1] == b"1" else "1.0", fields)
        heads.learn(said, head)
        return head

    def _request_is_over(self, head: RequestHead, data: bytes, place: int) -> int:
        """A request has been read up to there; the place from which on the next one is looked for."""
        self._receiving = None
        if head.keep_alive and not head.upgrade:
            return place
        if head.upgrade and place < len(data):
            # What the new protocol begins with. Behind a request that is the last one, nothing is looked at.
            self._put_off(data[place:])
        return len(data)

    def _count(self, data: bytes, place: int) -> int:
        """Bytes of a body of known length; the place behind them."""
        proxy = self.proxy
        self.deadline = proxy.now + proxy.body_timeout
        end = min(place + self._counted, len(data))
        self._counted -= end - place
        receiving = self._receiving
        if receiving is None:
            return len(data)
        receiving.body(data if end - place == len(data) else data[place:end])
        if self._counted or self._receiving is None:
            return end
        receiving.end_of_request(b"")
        return self._request_is_over(receiving.head, data, end)

    def _begin(self, method: bytes, target: bytes, head: RequestHead) -> None:
        """A head is complete and judged: it is this connection's turn, or waits for it."""
        proxy = self.proxy
        clock = proxy.clock
        self._empty_lines = 0
        # The other half is there: this class is never used without it.
        exchange = Exchange(self, method, target, head, clock())  # type: ignore[arg-type]
        self._receiving = exchange
        if self._current is None and not self.blocked and not self._queue:
            self._current = exchange
            proxy.begin(exchange)
        else:
            self._enqueue(exchange)

    def _feed(self, data: bytes, place: int) -> int:
        """Have llhttp read on, a little at a time and never beyond a request's end; the place behind what it has read.

        What it keeps to itself is judged after each piece. What is behind a head or behind chunks is not for it to see:
        it skips line ends of all kinds there. Both end with an empty line, as other places do.
        """
        end = min(place + _PIECE, len(data))
        receiving = self._receiving
        if receiving is None or receiving.head.chunked:
            tail = self._tail
            across = (tail + data[place : place + 3]).find(b"\r\n\r\n") if tail else -1
            if across >= 0:
                end = place + across + 4 - len(tail)
            elif (found := data.find(b"\r\n\r\n", place, end)) >= 0:
                end = found + 4
            self._tail = (tail + data[max(place, end - 3) : end])[-3:]
        elif (length := receiving.head.length) is not None:
            end = min(end, place + max(length - receiving.received, 1))
        stopped = self._feed_piece(data if end - place == len(data) else data[place:end])
        if receiving is not self._receiving:
            self._tail = b""
        if stopped is None:
            return end
        return self._after_upgrade(data, place + stopped)

    def _feed_piece(self, data: bytes) -> int | None:
        """Feed once; where llhttp stopped, behind a head that asks for an upgrade."""
        proxy = self.proxy
        parser = self._parser or self._new_parser()
        if self._current is not None:
            self.deadline = proxy.now + proxy.body_timeout
        elif not self._in_head:
            self.deadline = proxy.now + proxy.settings.header_timeout
        if self._line is not None and b"\r\n" not in self._line:
            self._line += data
        self._feeding = len(data)
        self._fruitless += len(data)
        self._fresh = self._receiving is None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        except httptools.HttpParserError as error:
            if not self._broken and not self._closing:
                self._refuse_later(explain(error, data, in_fields=bool(self._fields)))
        else:
            if self._in_head:
                if self._fruitless + len(data) > proxy.max_header_bytes:
                    self._size_is_allowed(whole=False)
            elif self._fruitless > _MAX_OVERHEAD and self._receiving is not None:
                self._refuse_later(RefusedError(Reason.HEAD_TOO_LARGE, "trailers, or the extensions of chunks"))
        return None

    def _new_parser(self) -> httptools.HttpRequestParser:
        self._parser = httptools.HttpRequestParser(self)
        return self._parser

    def _size_is_allowed(self, *, whole: bool) -> bool:
        """Judge the head's size, and refuse one that is too long; ``whole``: all of it has been read.

        What preceded the head in its first feed is not known, so it is counted where that feed could have been too
        much.
        """
        limit = self.proxy.max_header_bytes
        if whole or self._fruitless <= limit:
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
            if size <= limit:
                return True
        reason = Reason.TARGET_TOO_LONG if len(self._target) > limit // 2 else Reason.HEAD_TOO_LARGE
        self._refuse_later(RefusedError(reason, f"more than {limit} bytes"))
        return False

    def _after_upgrade(self, data: bytes, place: int) -> int:
        # The parser stops behind every head that asks for an upgrade, wanted or not. Where it goes on as an ordinary
        # request, a fresh parser is told of the same framing, and reads on.
        self._stopping = False
        exchange = self._receiving
        if exchange is None or self._broken or self._closing:
            return len(data)
        parser = self._new_parser()
        head = exchange.head
        if head.upgrade:
            return self._request_is_over(head, data, place)
        self._resumed = True
        framing = b"Transfer-Encoding: chunked" if head.chunked else b"Content-Length: %d" % (head.length or 0)
        parser.feed_data(_RESUMED % framing)
        return place

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
        suspicious = self._fruitless + self._feeding > self.proxy.max_header_bytes
        if suspicious and not self._size_is_allowed(whole=True):
            return
        self._in_head = False
        self._fruitless = 0
        self._trailers = []
        if self._resumed:
            return
        parser = self._parser
        assert parser is not None  # noqa: S101 - it is calling
        self._stopping = parser.should_upgrade()
        method = parser.get_method()
        line, self._line = self._line, None
        try:
            if line is not None and not line.partition(b"\r\n")[0].endswith(_VERSIONS):
                raise RefusedError(Reason.VERSION, "another protocol")  # noqa: TRY301 - told as the others
            target, authority = judge_target(method, self._target)
            fields = self.proxy.request_fields.fields(self._fields)
            head = RequestHead(parser.get_http_version(), fields, authority)
        except RefusedError as error:
            error.bodiless = method == b"HEAD"
            self._refuse_later(error)
            return
        self._begin(method, target, head)

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body."""
        self._fruitless -= len(body) + _CHUNK_FRAME
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
