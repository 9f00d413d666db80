"""A response head: from what an upstream said to what the visitor gets, in one pass.

The same strictness as for requests: what could be read in two ways is refused (502), and that connection is not used
again. How the body is framed is decided here (RFC 9112 section 6.3), once, and written anew.
"""

from __future__ import annotations

import re
from enum import IntEnum
from http import HTTPStatus
from typing import Final

from gogeta.core.field_lines import Field, Pairs
from gogeta.core.fields import RESPONSE_KINDS, Kind, taken_out, tokens, without
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import RequestHead, content_length

_NO_CONTENT: Final = 204
_BODILESS: Final = frozenset({_NO_CONTENT, 304})
_DATE: Final = Kind.DATE
_LENGTH: Final = Kind.LENGTH
_CONNECTION: Final = Kind.CONNECTION
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_PHRASE: Final = re.compile(rb"[\t -~\x80-\xff]*").fullmatch
"""RFC 9112 section 4; llhttp lets anything pass but CR and LF."""
SWITCHING: Final = 101
ORDINARY_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([2-5][0-9][0-9]) ([\t -~\x80-\xff]*)").fullmatch
"""The status line of a final response: the version behind its point, the status, the phrase (RFC 9112 section 4)."""
_FIRST_STATUS: Final = 100
_LAST_STATUS: Final = 599
"""RFC 9110 section 15: smaller and larger ones are invalid."""


class Framing(IntEnum):
    """How the visitor finds the end of the body."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3
    """By the end of the connection: an HTTP/1.0 client, and no length."""


_NO_BODY: Final = Framing.NONE
_BY_LENGTH: Final = Framing.LENGTH
"""Looking up a member of an enumeration is dear."""


class ResponseHead:
    """One response's head, judged; nothing may change it once it is made (``core/memory.py``).

    ``lines`` is what the visitor gets, serialised: all of it when the upstream has told its Date (``dated``), else all
    but a Date and the empty line.
    ``until_close``: the upstream's body ends with its connection. ``reusable``: that connection stays open behind it.
    ``size`` is how many bytes of body follow, None when only their end tells.
    """

    __slots__ = ("dated", "framing", "keep_alive", "length", "lines", "reusable", "size", "status", "until_close")

    def __init__(  # noqa: PLR0912, PLR0913, PLR0915, C901 - one pass over the fields, one branch each
        self,
        status: int,
        phrase: bytes,
        fields: list[Field],
        request: RequestHead,
        *,
        method: bytes,
        keep_alive: bool,
        upstream_http11: bool = True,
        via: bytes = b"",
    ) -> None:
        """Judge a parsed head for ``request``.

        ``keep_alive``: whether the visitor's connection may stay open; ``via``: our own field, serialised. Raises
        RefusedError with ``UPSTREAM_INVALID``.
        """
        self.status = status
        self.keep_alive = keep_alive
        self.until_close = False
        length: int | None = None
        coding = dated = False
        connection: tuple[bytes, ...] = ()
        trailer = upgrade = b""
        pieces = [_STARTS.get((status, phrase)) or _start(status, phrase)]
        for _, value, kind, line in fields:
            if kind <= _DATE:
                pieces.append(line)
                if kind:
                    dated = True
            elif kind == _LENGTH:
                if length is not None:
                    raise RefusedError(Reason.UPSTREAM_INVALID, "Content-Length is repeated")
                length = content_length(value, Reason.UPSTREAM_INVALID)
            elif kind == _CONNECTION:
                connection += tokens(value)
            elif kind == Kind.CODING:
                if value.strip(b" \t").lower() != b"chunked" or coding:
                    raise RefusedError(Reason.UPSTREAM_INVALID, "a transfer coding other than one chunked")
                coding = True
            elif kind == Kind.TRAILER:
                trailer = line
            elif kind == Kind.UPGRADE:
                upgrade = value
        self.length = length
        if status > _LAST_STATUS:
            raise RefusedError(Reason.UPSTREAM_INVALID, f"status {status}")
        if coding and (not upstream_http11 or length is not None):
            raise RefusedError(Reason.UPSTREAM_INVALID, "Transfer-Encoding with Content-Length, or in HTTP/1.0")
        reusable = upstream_http11
        if connection:
            reusable = b"close" not in connection and (upstream_http11 or b"keep-alive" in connection)
            if names := taken_out(connection):
                pieces = without(pieces, names)
                dated = dated and b"date" not in names
        self.dated = dated
        if status == SWITCHING:
            # RFC 9110 section 7.8: only to what was asked for. Anything else would open a tunnel nobody knows of.
            if not upgrade or b"upgrade" not in connection or not set(tokens(upgrade)) <= set(tokens(request.upgrade)):
                raise RefusedError(Reason.UPSTREAM_INVALID, "101 to a request that did not ask for this upgrade")
            self.size: int | None = 0
            self.framing, self.keep_alive = Framing.NONE, False
            pieces.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
        else:
            self._frame(request, bodiless=method == b"HEAD" or status in _BODILESS, coding=coding, pieces=pieces)
            if trailer and self.framing is Framing.CHUNKED and request.wants_trailers:
                pieces.append(trailer)
            if not self.keep_alive:
                pieces.append(b"Connection: close\r\n")
            elif not request.http11:
                pieces.append(b"Connection: keep-alive\r\n")
        if via:
            pieces.append(via)
        # What HEAD is told without a length would end with its connection for GET: whether it goes on is not known.
        unframed = self.until_close or (method == b"HEAD" and length is None and not coding)
        self.reusable = reusable and status != SWITCHING and (not unframed or status in _BODILESS)
        if dated:
            pieces.append(b"\r\n")
        self.lines = b"".join(pieces)

    def serialise(self, date: bytes) -> bytes:
        """The head for the visitor; ``date`` is the Date field to add where there is none, serialised."""
        return self.lines if self.dated else b"".join((self.lines, date, b"\r\n"))

    def _frame(self, request: RequestHead, *, bodiless: bool, coding: bool, pieces: list[bytes]) -> None:
        """RFC 9112 section 6.3, in its order."""
        length = self.length
        if bodiless:
            self.framing, self.size = Framing.NONE, 0
            # A HEAD or 304 tells what a GET would have; a 204 has no length (RFC 9110 section 8.6).
            if self.status == _NO_CONTENT:
                return
            if length is not None:
                pieces.append(b"Content-Length: %d\r\n" % length)
            elif coding and request.http11:
                pieces.append(b"Transfer-Encoding: chunked\r\n")
        elif length is not None:
            self.framing, self.size = _BY_LENGTH if length else _NO_BODY, length
            pieces.append(b"Content-Length: %d\r\n" % length)
        else:
            self.until_close, self.size = not coding, None
            if request.http11:
                self.framing = Framing.CHUNKED
                pieces.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self.framing, self.keep_alive = Framing.CLOSE, False


def _start(status: int, phrase: bytes) -> bytes:
    """The status line: the upstream's phrase is kept, and made where there is none. Raises RefusedError."""
    if not _PHRASE(phrase):
        raise RefusedError(Reason.UPSTREAM_INVALID, "control characters in the reason phrase")
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase or _PHRASES.get(status, b""))


_STARTS: Final = {(status, phrase): _start(status, phrase) for status, phrase in _PHRASES.items()}
"""The usual ones."""


def interim(status: int, phrase: bytes, fields: Pairs) -> bytes:
    """A 1xx response for the visitor, serialised (RFC 9110 section 15.2): its fields without the hop-by-hop ones.

    Raises RefusedError for one that says it has a body (RFC 9112 section 6.3): where it ends could be read in two ways.
    """
    if status < _FIRST_STATUS:
        raise RefusedError(Reason.UPSTREAM_INVALID, f"status {status}")
    connection: tuple[bytes, ...] = ()
    for name, value in fields:
        kind = RESPONSE_KINDS[name]
        if kind == Kind.CODING or (kind == Kind.LENGTH and content_length(value, Reason.UPSTREAM_INVALID)):
            raise RefusedError(Reason.UPSTREAM_INVALID, "a 1xx response with a body")
        if kind == Kind.CONNECTION:
            connection += tokens(value)
    names = taken_out(connection)
    pieces = [
        name + b": " + value + b"\r\n"
        for name, value in fields
        if RESPONSE_KINDS[name] in (Kind.PASS, Kind.DATE) and name.lower() not in names
    ]
    return b"".join((_start(status, phrase), *pieces, b"\r\n"))
