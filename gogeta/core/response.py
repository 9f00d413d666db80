"""A response head: from what an upstream said to what the visitor gets, in one pass.

The same strictness as for requests: what could be read in two ways is refused (502), and that connection is not used
again. How the body is framed is decided here (RFC 9112 section 6.3), once, and written anew.
"""

from __future__ import annotations

import re
from enum import IntEnum
from http import HTTPStatus
from typing import Final

from gogeta.core.fields import RESPONSE_KINDS, Kind, taken_out, tokens, without
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import Fields, RequestHead, content_length

_BODILESS: Final = frozenset({204, 304})
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_PHRASE: Final = re.compile(rb"[\t -~\x80-\xff]*").fullmatch
"""RFC 9112 section 4; the parser lets anything pass but CR and LF."""
SWITCHING: Final = 101
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


class ResponseHead:
    """One response's head, judged. ``head`` is what the visitor gets, serialised and complete.

    ``until_close``: the upstream's body ends with its connection.
    """

    __slots__ = ("framing", "head", "keep_alive", "length", "status", "until_close")

    def __init__(  # noqa: PLR0912, PLR0915, C901 - one pass over the fields, one branch each
        self,
        status: int,
        phrase: bytes,
        fields: Fields,
        request: RequestHead,
        *,
        keep_alive: bool,
        date: bytes,
        upstream_http11: bool = True,
    ) -> None:
        """Judge a parsed head for ``request``.

        ``keep_alive``: whether the visitor's connection may stay open; ``date``: a Date field to add when there is
        none. Raises RefusedError with ``UPSTREAM_INVALID``.
        """
        self.status = status
        self.length: int | None = None
        self.until_close = False
        coding = dated = False
        connection: list[bytes] = []
        trailer = b""
        pieces: list[bytes] = []
        upgrade = b""
        kinds = RESPONSE_KINDS
        for name, value in fields:
            kind = kinds[name]
            if not kind:
                pieces.append(name + b": " + value + b"\r\n")
            elif kind == Kind.LENGTH:
                if self.length is not None:
                    raise RefusedError(Reason.UPSTREAM_INVALID, "Content-Length is repeated")
                self.length = content_length(value, Reason.UPSTREAM_INVALID)
            elif kind == Kind.CODING:
                if value.strip(b" \t").lower() != b"chunked" or coding:
                    raise RefusedError(Reason.UPSTREAM_INVALID, "a transfer coding other than one chunked")
                coding = True
            elif kind == Kind.CONNECTION:
                connection += tokens(value)
            elif kind == Kind.DATE:
                dated = True
                pieces.append(name + b": " + value + b"\r\n")
            elif kind == Kind.TRAILER:
                trailer = name + b": " + value + b"\r\n"
            elif kind == Kind.UPGRADE:
                upgrade = value
        if status > _LAST_STATUS:
            raise RefusedError(Reason.UPSTREAM_INVALID, f"status {status}")
        if not _PHRASE(phrase):
            raise RefusedError(Reason.UPSTREAM_INVALID, "control characters in the reason phrase")
        if coding and (not upstream_http11 or self.length is not None):
            raise RefusedError(Reason.UPSTREAM_INVALID, "Transfer-Encoding with Content-Length, or in HTTP/1.0")
        if names := taken_out(connection):
            pieces = without(pieces, names)
        if status == SWITCHING:
            # RFC 9110 section 7.8: only to what was asked for. Anything else would open a tunnel nobody knows of.
            if not upgrade or b"upgrade" not in connection or not set(tokens(upgrade)) <= set(tokens(request.upgrade)):
                raise RefusedError(Reason.UPSTREAM_INVALID, "101 to a request that did not ask for this upgrade")
            self.framing, self.keep_alive = Framing.NONE, False
            pieces.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
        else:
            self._frame(request, coding=coding, keep_alive=keep_alive, pieces=pieces)
            if trailer and self.framing is Framing.CHUNKED and request.wants_trailers:
                pieces.append(trailer)
            if not self.keep_alive:
                pieces.append(b"Connection: close\r\n")
            elif not request.http11:
                pieces.append(b"Connection: keep-alive\r\n")
        if not dated:
            pieces.append(date)
        self.head = b"".join((b"HTTP/1.1 %d " % status, phrase or _PHRASES.get(status, b""), b"\r\n", *pieces, b"\r\n"))

    def _frame(self, request: RequestHead, *, coding: bool, keep_alive: bool, pieces: list[bytes]) -> None:
        """RFC 9112 section 6.3, in its order."""
        status = self.status
        self.keep_alive = keep_alive
        if request.method == b"HEAD" or status in _BODILESS:
            self.framing = Framing.NONE
            # A HEAD or 304 tells what a GET would have; a 204 has no length (RFC 9110 section 8.6).
            if self.length is not None and status != HTTPStatus.NO_CONTENT:
                pieces.append(b"Content-Length: %d\r\n" % self.length)
            elif coding and status != HTTPStatus.NO_CONTENT and request.http11:
                pieces.append(b"Transfer-Encoding: chunked\r\n")
        elif not coding and self.length is not None:
            self.framing = Framing.LENGTH if self.length else Framing.NONE
            pieces.append(b"Content-Length: %d\r\n" % self.length)
        else:
            self.until_close = not coding
            if request.http11:
                self.framing = Framing.CHUNKED
                pieces.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self.framing, self.keep_alive = Framing.CLOSE, False


def interim(status: int, phrase: bytes, fields: Fields) -> bytes:
    """A 1xx response for the visitor, serialised (RFC 9110 section 15.2): its fields without the hop-by-hop ones.

    Raises RefusedError for one that says it has a body (RFC 9112 section 6.3): where it ends could be read in two ways.
    """
    if status < _FIRST_STATUS:
        raise RefusedError(Reason.UPSTREAM_INVALID, f"status {status}")
    if not _PHRASE(phrase):
        raise RefusedError(Reason.UPSTREAM_INVALID, "control characters in the reason phrase")
    connection: list[bytes] = []
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
    return b"".join((b"HTTP/1.1 %d " % status, phrase or _PHRASES.get(status, b""), b"\r\n", *pieces, b"\r\n"))
