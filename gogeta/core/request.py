"""A request head: from parsed fields to one that may be sent on, in one pass.

The parser (llhttp) has judged the grammar: tokens, control characters, line ends, repeated lengths. What it lets
through and a proxy must not is refused here, by RFC 9112 and stricter: a request that two parsers could read in two
ways is not forwarded. What is sent on is written anew from the model; nothing is copied raw.
"""

from __future__ import annotations

import re
from typing import Final

from gogeta.core.field_lines import Field, Pairs
from gogeta.core.fields import NOT_IN_TRAILERS, Kind, taken_out, tokens, without
from gogeta.core.refusal import Reason, RefusedError

_TARGET: Final = re.compile(rb"[!-\"$-~]+").fullmatch
"""Visible ASCII without ``#`` (RFC 9112 section 3.2; a fragment never travels)."""
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL).fullmatch
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}").fullmatch
_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
_MAX_LENGTH_DIGITS: Final = 19
ORDINARY_LINE: Final = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (/[!-\"$-~]*) HTTP/1\.([01])").fullmatch
"""A request line in its one ordinary form: method, target, and the version behind its point (RFC 9112 section 3)."""
_REFUSED_UPGRADES: Final = frozenset({b"h2c", b"h2"})


class RequestHead:
    """What the fields of one request's head say, judged; method and target are the exchange's.

    So one value serves every request with the same fields (``core/memory.py``); nothing may change it once it is made.
    ``length`` is the body's length, None when it is chunked; 0 without a body. ``upgrade`` is the protocol asked for,
    empty when none (or one that is not passed on). ``lines`` are the fields to send on, serialised, in their order, and
    ``ends`` what stands behind our own fields. ``plain``: HTTP/1.1 on a connection that stays open, and nothing asked
    beyond an ordinary answer. ``direct``: no proxy before us has left its mark, so that what we say of the visitor
    depends on nothing but the host. ``over``: the request ends with its head, and another one may follow.
    """

    __slots__ = (
        "chunked",
        "direct",
        "ends",
        "expects_continue",
        "fields",
        "forwarding",
        "host",
        "http11",
        "keep_alive",
        "length",
        "lines",
        "over",
        "plain",
        "request_id",
        "upgrade",
        "wants_trailers",
    )

    def __init__(  # noqa: C901, PLR0912, PLR0915 - one pass over the fields, one branch for each kind
        self, version: str, fields: list[Field], authority: bytes | None = None
    ) -> None:
        """Judge parsed fields; ``authority`` is that of a target in absolute form. Raises RefusedError."""
        self.fields = fields
        self.http11 = version == "1.1"
        self.expects_continue = False
        self.wants_trailers = False
        self.length: int | None = 0
        self.request_id = b""
        self.forwarding: Pairs = []
        if not self.http11 and version != "1.0":
            raise RefusedError(Reason.VERSION, f"version {version}")
        host: bytes | None = None
        connection: tuple[bytes, ...] = ()
        upgrade = b""
        coding = sized = False
        pieces: list[bytes] = []
        for name, value, kind, line in fields:
            if not kind:
                pieces.append(line)
            elif kind == Kind.HOST:
                if host is not None:
                    raise RefusedError(Reason.HOST_INVALID, "Host is repeated")
                host = value.strip(b" \t")
                pieces.append(line)
            elif kind == Kind.LENGTH:
                if sized:
                    raise RefusedError(Reason.FRAMING, "Content-Length is repeated")
                sized = True
                self.length = content_length(value, Reason.FRAMING)
                pieces.append(b"%b: %d\r\n" % (name, self.length))
            elif kind == Kind.CODING:
                if value.strip(b" \t").lower() != b"chunked" or coding:
                    # One that is unknown is not implemented; none at all is no coding (RFC 9112 section 6.1).
                    reason = Reason.CODING if value else Reason.FRAMING
                    raise RefusedError(reason, "the only transfer coding is one chunked")
                if not self.http11:
                    raise RefusedError(Reason.FRAMING, "Transfer-Encoding in HTTP/1.0")
                coding = True
                pieces.append(name + b": chunked\r\n")
            elif kind == Kind.CONNECTION:
                connection += tokens(value)
            elif kind == Kind.UPGRADE:
                upgrade = upgrade + b", " + value if upgrade else value
            elif kind == Kind.TE:
                self.wants_trailers = self.wants_trailers or b"trailers" in tokens(value)
            elif kind == Kind.EXPECT:
                if value.strip(b" \t").lower() != b"100-continue":
                    raise RefusedError(Reason.EXPECTATION, "an expectation other than 100-continue")
                self.expects_continue = self.http11
                if self.http11:
                    pieces.append(b"Expect: 100-continue\r\n")
            elif kind == Kind.FORWARDING:
                self.forwarding.append((name, value))
            elif kind == Kind.REQUEST_ID:
                if _REQUEST_ID(value):
                    self.request_id = value
            elif kind == Kind.TRAILER:
                pieces.append(line)
        if coding:
            if sized:
                raise RefusedError(Reason.FRAMING, "Content-Length with Transfer-Encoding")
            self.length = None
        self.chunked = coding
        self.direct = self.http11 and not self.forwarding
        self.host = self._judge_host(host, authority, pieces)
        self.keep_alive = self.http11 if not connection else self._stays(connection)
        # A body under an upgrade can be read in two ways, so such a request goes on without its upgrade, as RFC 9110
        # section 7.8 lets a server do; so does h2c, which would take the connection out of our sight.
        self.upgrade = b""
        if b"upgrade" in connection and upgrade and self.http11 and self.length == 0:
            wanted = [token for token in upgrade.split(b",") if token.strip().lower() not in _REFUSED_UPGRADES]
            self.upgrade = b",".join(wanted).strip()
        if names := taken_out(connection):
            pieces = without(pieces, names)
        self.lines = b"".join(pieces)
        if self.upgrade:
            self.ends = b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % self.upgrade
        else:
            # RFC 9110 section 10.1.4: TE travels with its connection option.
            self.ends = b"TE: trailers\r\nConnection: TE\r\n\r\n" if self.wants_trailers else b"\r\n"
        self.over = self.keep_alive and self.length == 0 and not self.upgrade
        self.plain = self.http11 and self.keep_alive and not (self.upgrade or self.wants_trailers)

    def _stays(self, connection: tuple[bytes, ...]) -> bool:
        """Whether the visitor wants the connection to stay open (RFC 9112 section 9.3)."""
        return b"close" not in connection and (self.http11 or b"keep-alive" in connection)

    def _judge_host(self, host: bytes | None, authority: bytes | None, pieces: list[bytes]) -> bytes:
        """RFC 9112 sections 3.2 and 3.2.2."""
        if host is None:
            if self.http11:
                raise RefusedError(Reason.HOST_INVALID, "Host is missing")
            if authority is None:
                raise RefusedError(Reason.HOST_UNKNOWN, "HTTP/1.0 without a Host")
            pieces.insert(0, b"Host: " + authority + b"\r\n")
            return authority
        if authority is not None and authority.lower() != host.lower():
            raise RefusedError(Reason.HOST_INVALID, "Host differs from the target's authority")
        return host

    def field(self, name: bytes) -> bytes:
        """The first value of a field by its lower-case name; empty when it is not there. Not for the warm path."""
        return next((value for key, value, _, _ in self.fields if key.lower() == name), b"")

    def replayable(self, method: bytes) -> bool:
        """Whether a request may be sent a second time when a reused connection died under it.

        That is an idempotent method without a body (RFC 9110 section 9.2.2).
        """
        return self.length == 0 and method in _IDEMPOTENT and not self.upgrade

    def navigation(self, method: bytes) -> bool:
        """Whether a person's browser is going to this page: fetch metadata when there is any, else what it accepts.

        HEAD asks for the head of what GET would get.
        """
        return method in (b"GET", b"HEAD") and not self.upgrade and self._for_reading()

    def reads_pages(self, method: bytes) -> bool:
        """Whether an error of ours is read by a person: then it is a page. No preflight and no script gets one."""
        return method != b"OPTIONS" and not self.upgrade and self._for_reading()

    @property
    def framed(self) -> bool:
        """Whether it is for a frame of another page."""
        return self.field(b"sec-fetch-dest") in (b"iframe", b"frame")

    def _for_reading(self) -> bool:
        mode = self.field(b"sec-fetch-mode")
        if mode:
            return mode == b"navigate" and self.field(b"sec-fetch-dest") in (b"document", b"iframe", b"frame", b"")
        return b"text/html" in self.field(b"accept")

    def with_lines(self, lines: bytes) -> RequestHead:
        """The same with further fields, serialised: for one exchange."""
        more = object.__new__(RequestHead)
        # One by one: copy.copy takes five times as long, and this is done for each request that is traced.
        more.chunked = self.chunked
        more.direct = self.direct
        more.ends = self.ends
        more.expects_continue = self.expects_continue
        more.fields = self.fields
        more.forwarding = self.forwarding
        more.host = self.host
        more.http11 = self.http11
        more.keep_alive = self.keep_alive
        more.length = self.length
        more.lines = self.lines + lines
        more.over = self.over
        more.plain = self.plain
        more.request_id = self.request_id
        more.upgrade = self.upgrade
        more.wants_trailers = self.wants_trailers
        return more

    def serialise(self, method: bytes, target: bytes, forwarding: bytes, request_id: bytes) -> bytes:
        """The head for the upstream; ``forwarding`` are the forwarding fields, serialised."""
        return b"".join(
            (
                method,
                b" ",
                target,
                b" HTTP/1.1\r\n",
                self.lines,
                forwarding,
                b"X-Request-Id: ",
                request_id,
                b"\r\n",
                self.ends,
            )
        )


def judge_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The target to send on, and the authority when it came in absolute form (RFC 9112 section 3.2).

    Raises RefusedError.
    """
    if not _TARGET(target):
        raise RefusedError(Reason.MALFORMED, "the target has characters that may not stand there")
    if method == b"CONNECT":
        raise RefusedError(Reason.METHOD, "CONNECT")
    if target[:1] == b"/":
        return target, None
    if target == b"*":
        if method != b"OPTIONS":
            raise RefusedError(Reason.MALFORMED, "the target * belongs to OPTIONS")
        return target, None
    if (match := _ABSOLUTE(target)) is None:
        raise RefusedError(Reason.MALFORMED, "the target is neither a path nor an http URL")
    authority, path = match.groups()
    if b"@" in authority or not authority:
        raise RefusedError(Reason.HOST_INVALID, "the target's authority")
    if path[:1] == b"/":
        return path, authority
    return b"*" if method == b"OPTIONS" and not path else b"/" + path, authority


def trailers(fields: Pairs) -> bytes:
    """The trailer section, serialised, without what may not stand in one."""
    return b"".join(
        name + b": " + value + b"\r\n"
        for name, value in fields
        if name.lower().replace(b"_", b"-") not in NOT_IN_TRAILERS
    )


def content_length(value: bytes, otherwise: Reason) -> int:
    """The number of a Content-Length: digits alone (RFC 9110 section 8.6). Raises RefusedError for ``otherwise``."""
    digits = value.strip(b" \t")
    if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
        raise RefusedError(otherwise, "Content-Length is no number")
    return int(digits)
