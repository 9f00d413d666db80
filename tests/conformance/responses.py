"""What tenants send, and what the visitor reads of it: the same, or a 502, or a message that is visibly broken.

Each case stands as it is sent. ``reads`` is what the visitor reads in its strictest form, in one chunk where it is
chunked and without the ``Date`` that the proxy adds; how large the chunks are depends on how the bytes arrive.
"""

# ruff: noqa: E501 - tables: a case is one line, as it is one message

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: acme.test\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
HEAD = b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n"
OLD = b"GET / HTTP/1.0\r\n" + HOST + b"\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n"
WANTS_TRAILERS = b"GET / HTTP/1.1\r\n" + HOST + b"TE: trailers\r\nConnection: TE\r\n\r\n"
UPGRADES = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CLOSES = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Answer:
    """One answer of a tenant. ``ends``: what it does behind it, ``end`` or ``reset``.

    ``refused``: the visitor reads a 502. ``broken``: or, where it has read a part already, a message that never becomes
    complete; which of both depends on how the bytes arrive. ``kept``: the tenant's connection is used again.
    ``over``: the visitor's connection ends.
    """

    section: str
    data: bytes
    reads: bytes = b""
    request: bytes = GET
    ends: str = ""
    refused: bool = False
    broken: bool = False
    kept: bool = True
    over: bool = False


def _same(section: str, data: bytes, request: bytes = GET, *, kept: bool = True) -> Answer:
    return Answer(section, data, data, request, kept=kept)


def _reads(
    section: str,
    data: bytes,
    reads: bytes,
    request: bytes = GET,
    *,
    ends: str = "",
    kept: bool = True,
    over: bool = False,
) -> Answer:
    return Answer(section, data, reads, request, ends=ends, kept=kept, over=over)


def _refused(section: str, data: bytes, request: bytes = GET, *, ends: str = "") -> Answer:
    return Answer(section, data, request=request, ends=ends, refused=True, kept=False)


def _broken(section: str, data: bytes, request: bytes = GET, *, ends: str = "") -> Answer:
    return Answer(section, data, request=request, ends=ends, broken=True, kept=False)


def _ok(fields: bytes, body: bytes = b"ok") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body


def _line(line: bytes) -> bytes:
    return line + b"\r\nContent-Length: 2\r\n\r\nok"


SIZED = b"Content-Length: 2\r\n"
CODED = b"Transfer-Encoding: chunked\r\n"
CHUNKED = _ok(CODED, b"2\r\nok\r\n0\r\n\r\n")
PLAIN = _ok(SIZED)
CLOSING = _ok(b"Content-Length: 2\r\nConnection: close\r\n")


def _chunks(body: bytes) -> bytes:
    return _ok(CODED, body)


STATUS_LINE = (
    _same("RFC 9112 4 a status that nobody knows", _line(b"HTTP/1.1 299 Well")),
    _same("RFC 9112 4 a phrase of its own", _line(b"HTTP/1.1 200 All is \t well; (really)")),
    _same("RFC 9112 4 obs-text in a phrase", _line(b"HTTP/1.1 200 \xc3\xa9t\xe9")),
    _same("RFC 9110 15.5 a client's error", _line(b"HTTP/1.1 404 Not Found")),
    _same("RFC 9110 15.6 a server's error", _line(b"HTTP/1.1 503 Service Unavailable")),
    _same("RFC 9110 15.4 a redirection", _ok(b"", b"").replace(b"200 OK\r\n", b"302 Found\r\nLocation: //b.test/?a#b\r\nContent-Length: 0\r\n")),
    _reads("RFC 9112 4 no phrase", _line(b"HTTP/1.1 200 "), _line(b"HTTP/1.1 200 OK")),
    _reads("RFC 9112 4 no blank for the phrase", _line(b"HTTP/1.1 200"), _line(b"HTTP/1.1 200 OK")),
    _reads("RFC 9112 4 no phrase of a status that nobody knows", _line(b"HTTP/1.1 299 "), _line(b"HTTP/1.1 299 ")),
    _refused("RFC 9112 4 a status of two digits", _line(b"HTTP/1.1 20 OK")),
    _refused("RFC 9112 4 a status of four digits", _line(b"HTTP/1.1 2000 OK")),
    _refused("RFC 9112 4 a status that is no number", _line(b"HTTP/1.1 2OO OK")),
    _refused("RFC 9112 4 no status", _line(b"HTTP/1.1 OK")),
    _refused("RFC 9112 4 nothing behind the version", _line(b"HTTP/1.1")),
    _refused("RFC 9112 4 two blanks", _line(b"HTTP/1.1  200 OK")),
    _refused("RFC 9110 15 status 600", _line(b"HTTP/1.1 600 Too Much")),
    _refused("RFC 9110 15 status 999", _line(b"HTTP/1.1 999 X")),
    _refused("RFC 9110 15 status 099", _line(b"HTTP/1.1 099 X")),
    _refused("RFC 9110 15 status 000", _line(b"HTTP/1.1 000 X")),
    _refused("RFC 9112 2.2 bare LF behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
    _refused("RFC 9112 2.2 bare CR in the phrase", _line(b"HTTP/1.1 200 O\rK")),
    _refused("RFC 9112 4 NUL in the phrase", _line(b"HTTP/1.1 200 O\0K")),
    _refused("RFC 9112 4 a control character in the phrase", _line(b"HTTP/1.1 200 O\x01K")),
    _refused("RFC 9112 4 DEL in the phrase", _line(b"HTTP/1.1 200 O\x7fK")),
    _refused("RFC 9112 2.3 HTTP/0.9", b"<html>ok</html>", ends="end"),
    _refused("RFC 9112 2.3 HTTP/2.0", _line(b"HTTP/2.0 200 OK")),
    _refused("RFC 9112 2.3 HTTP/1.2", _line(b"HTTP/1.2 200 OK")),
    _refused("RFC 9112 2.3 HTTP/0.9 by name", _line(b"HTTP/0.9 200 OK")),
    _refused("RFC 9112 2.3 http in lower case", _line(b"http/1.1 200 OK")),
    _refused("RFC 9112 2.3 another protocol", _line(b"ICY 200 OK")),
    _refused("RFC 9112 2.3 RTSP", _line(b"RTSP/1.0 200 OK")),
    _refused("RFC 9112 4 garbage", b"\x00\xff\xfe\xfd"),
    _refused("RFC 9112 4 a request", GET),
    _refused("RFC 9113 3.4 frames of HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    _refused("RFC 9112 4 a blank before", b" " + PLAIN),
    _refused("RFC 9112 2.2 an empty line before", b"\r\n" + PLAIN),
    _refused("RFC 9112 2.2 bare LF before", b"\n" + PLAIN),
)  # fmt: skip

FIELDS = (
    _same("RFC 9110 5.3 order, case and repeats of fields", _ok(b"zEBRA: 1\r\nAlpha: 2\r\nX: 1\r\nx: 2\r\nContent-Length: 2\r\n")),
    _same("RFC 6265 3 two Set-Cookie fields", _ok(b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n" + SIZED)),
    _same("RFC 9110 5.5 obs-text, an empty value, an underscore", _ok(b"X: \xe9\r\nY:\r\nX_Own: 1\r\n" + SIZED)),
    _same("RFC 9110 6.6.1 the tenant's Date", _ok(b"Date: Fri, 02 Jan 1970 00:00:00 GMT\r\n" + SIZED)),
    _same("RFC 9110 10.2.4 the tenant's Server", _ok(b"Server: x/1\r\nVia: 1.1 y\r\n" + SIZED)),
    _same("RFC 9110 8.4 Content-Encoding is passed through", _ok(b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n" + SIZED)),
    _same("RFC 9111 5.2 caching is passed through", _ok(b'ETag: W/"a"\r\nCache-Control: no-store\r\nAge: 3\r\n' + SIZED)),
    _same("RFC 9110 11.6.1 two challenges", _ok(b'WWW-Authenticate: Basic realm="a"\r\nWWW-Authenticate: Negotiate\r\n' + SIZED)),
    _same("RFC 6797 6.1 security fields are the tenant's", _ok(b"Strict-Transport-Security: max-age=1\r\nX-Frame-Options: DENY\r\n" + SIZED)),
    _reads("RFC 9112 5.1 blanks around values", _ok(b"X:a\r\nY: \t b \r\n" + SIZED), _ok(b"X: a\r\nY: b\r\n" + SIZED)),
    _reads("RFC 9110 7.6.1 Connection and what it names", _ok(b"X-Hop: 1\r\nConnection: X-Hop, keep-alive\r\nx-hop: 2\r\n" + SIZED), PLAIN),
    _reads("RFC 9110 7.6.1 Keep-Alive", _ok(b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n" + SIZED), PLAIN),
    _reads("RFC 9110 7.6.1 TE", _ok(b"TE: trailers\r\n" + SIZED), PLAIN),
    _reads("RFC 9110 7.8 Upgrade of what is spoken elsewhere", _ok(b"Upgrade: h2c\r\nConnection: Upgrade\r\n" + SIZED), PLAIN),
    _reads("RFC 9110 6.6.2 Trailer to who does not want any", _ok(b"Trailer: X\r\n" + SIZED), PLAIN),
    _reads("RFC 9110 7.6.1 Connection cannot take the cookies out", _ok(b"Set-Cookie: a\r\nConnection: set-cookie\r\n" + SIZED), _ok(b"Set-Cookie: a\r\n" + SIZED)),
    _reads("RFC 9110 7.6.1 Connection cannot take caching out", _ok(b"Cache-Control: no-store\r\nConnection: cache-control\r\n" + SIZED), _ok(b"Cache-Control: no-store\r\n" + SIZED)),
    _reads("RFC 9110 7.6.1 Connection cannot take the length out", _ok(b"Connection: Content-Length\r\n" + SIZED), PLAIN),
    _reads("RFC 9112 9.6 a tenant that closes", CLOSING, PLAIN, ends="end", kept=False),
    _reads("RFC 9112 9.6 a tenant that says so and does not", CLOSING, PLAIN, kept=False),
    _reads("RFC 9112 9.6 close in a list", _ok(b"Connection: x, CLOSE\r\n" + SIZED), PLAIN, kept=False),
    _refused("RFC 9112 5.1 a blank before the colon", _ok(b"X : a\r\n" + SIZED)),
    _refused("RFC 9112 5.1 no colon", _ok(b"X\r\n" + SIZED)),
    _refused("RFC 9110 5.1 no name", _ok(b": a\r\n" + SIZED)),
    _refused("RFC 9110 5.6.2 a name that is no token", _ok(b"X[]: a\r\n" + SIZED)),
    _refused("RFC 9110 5.6.2 NUL in a name", _ok(b"X\0: a\r\n" + SIZED)),
    _refused("RFC 9110 5.1 a blank within a name", _ok(b"X Y: a\r\n" + SIZED)),
    _refused("RFC 9112 5.2 obs-fold", _ok(b"X: a\r\n b\r\n" + SIZED)),
    _refused("RFC 9112 5.2 obs-fold with a tab", _ok(b"X: a\r\n\tb\r\n" + SIZED)),
    _refused("RFC 9110 5.5 NUL", _ok(b"X: a\0b\r\n" + SIZED)),
    _refused("RFC 9110 5.5 bare CR", _ok(b"X: a\rb\r\n" + SIZED)),
    _refused("RFC 9110 5.5 bare CR, a field behind it", _ok(b"X: a\rSet-Cookie: b\r\n" + SIZED)),
    _refused("RFC 9112 2.2 bare LF behind a field", _ok(b"X: a\n" + SIZED)),
    _refused("RFC 9112 2.2 bare LF at the end of the head", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
    _refused("RFC 9112 2.2 bare LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    _refused("RFC 9110 5.5 a control character", _ok(b"X: \x01\r\n" + SIZED)),
    _refused("RFC 9110 5.5 DEL", _ok(b"X: \x7f\r\n" + SIZED)),
    _refused("RFC 9112 2.2 a blank before the first field", _ok(b" X: a\r\n" + SIZED)),
    _refused("RFC 9110 5.4 a head too large", _ok(b"X: " + b"x" * 40_000 + b"\r\n" + SIZED)),
    _refused("RFC 9110 5.4 a head without end", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000),
    _refused("RFC 9110 5.4 too many fields", _ok(b"X: 1\r\n" * 200 + SIZED)),
    _refused("RFC 9112 4 a phrase without end", b"HTTP/1.1 200 " + b"x" * 40_000),
)  # fmt: skip

FRAMING = (
    _same("RFC 9112 6.2 a length", PLAIN),
    _same("RFC 9112 6.2 a length of nothing", _ok(b"Content-Length: 0\r\n", b"")),
    _same("RFC 9112 7.1 chunks", CHUNKED),
    _same("RFC 9112 7.1 no chunk but the last", _chunks(b"0\r\n\r\n")),
    _reads("RFC 9112 7.1 chunks of every spelling", _chunks(b'002\r\nok\r\nA;a="b;c"\r\n0123456789\r\n000;d\r\n\r\n'), _chunks(b"c\r\nok0123456789\r\n0\r\n\r\n")),
    _reads("RFC 9112 6.3 a body until the end", _ok(b""), CHUNKED, ends="end", kept=False),
    _reads("RFC 9112 6.3 no body until the end", _ok(b"", b""), _chunks(b"0\r\n\r\n"), ends="end", kept=False),
    _reads("RFC 9112 6.3 a body until the end that says close", _ok(b"Connection: close\r\n"), CHUNKED, ends="end", kept=False),
    _reads("RFC 9110 8.6 zeros before a length", _ok(b"content-length: 0002\r\n"), PLAIN),
    _reads("RFC 9112 7 a coding in capitals", _ok(b"TRANSFER-ENCODING: Chunked\r\n", b"2\r\nok\r\n0\r\n\r\n"), CHUNKED),
    _refused("RFC 9112 6.3 two lengths", _ok(b"Content-Length: 2\r\nContent-Length: 3\r\n")),
    _refused("RFC 9112 6.3 the same length twice", _ok(SIZED + SIZED)),
    _refused("RFC 9112 6.3 a list of lengths", _ok(b"Content-Length: 2, 2\r\n")),
    _refused("RFC 9110 8.6 a signed length", _ok(b"Content-Length: +2\r\n")),
    _refused("RFC 9110 8.6 a negative length", _ok(b"Content-Length: -2\r\n")),
    _refused("RFC 9110 8.6 an empty length", _ok(b"Content-Length:\r\n")),
    _refused("RFC 9110 8.6 a length that is no number", _ok(b"Content-Length: two\r\n")),
    _refused("RFC 9110 8.6 a hexadecimal length", _ok(b"Content-Length: 0x2\r\n")),
    _refused("RFC 9110 8.6 overflow", _ok(b"Content-Length: 18446744073709551618\r\n")),
    _refused("RFC 9112 6.3 length and coding", _ok(SIZED + CODED, b"2\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 6.3 coding and length", _ok(CODED + SIZED, b"2\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 6.1 another coding", _ok(b"Transfer-Encoding: gzip\r\n"), ends="end"),
    _refused("RFC 9112 6.1 more than chunked", _ok(b"Transfer-Encoding: gzip, chunked\r\n", b"2\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 6.1 chunked is not the last", _ok(b"Transfer-Encoding: chunked, gzip\r\n"), ends="end"),
    _refused("RFC 9112 7.1 chunked twice", _ok(CODED + CODED, b"2\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 6.1 identity", _ok(b"Transfer-Encoding: identity\r\n"), ends="end"),
    _refused("RFC 9112 6.1 an empty coding", _ok(b"Transfer-Encoding:\r\n"), ends="end"),
    _refused("RFC 9112 6.1 a coding in HTTP/1.0", CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"), ends="end"),
    _refused("RFC 9112 5.1 a blank before the coding's colon", _ok(b"Transfer-Encoding : chunked\r\n", b"2\r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 a size that is no number", _chunks(b"xy\r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 no size", _chunks(b"\r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 a signed size", _chunks(b"-2\r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 a blank behind the size", _chunks(b"2 \r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 an overflowing size", _chunks(b"fffffffffffffffff\r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 bare LF behind the size", _chunks(b"2\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 bare LF behind the data", _chunks(b"2\r\nok\n0\r\n\r\n")),
    _broken("RFC 9112 7.1 data longer than its size", _chunks(b"1\r\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1.1 bare LF in an extension", _chunks(b"2;a\nok\r\n0\r\n\r\n")),
    _broken("RFC 9112 7.1.2 a trailer with a blank before its colon", _chunks(b"2\r\nok\r\n0\r\nX : 1\r\n\r\n")),
    _broken("RFC 9112 7.1.2 a trailer that is folded", _chunks(b"2\r\nok\r\n0\r\nX: 1\r\n 2\r\n\r\n")),
    _broken("RFC 9112 8 cut in the head", b"HTTP/1.1 200 OK\r\nContent-", ends="end"),
    _broken("RFC 9112 8 cut before the body", _ok(SIZED, b""), ends="end"),
    _broken("RFC 9112 8 cut in the body", _ok(SIZED, b"o"), ends="end"),
    _broken("RFC 9112 8 reset in the body", _ok(SIZED, b"o"), ends="reset"),
    _broken("RFC 9112 8 cut before the first chunk", _chunks(b""), ends="end"),
    _broken("RFC 9112 8 cut in a chunk", _chunks(b"4\r\nok"), ends="end"),
    _broken("RFC 9112 8 cut between chunks", _chunks(b"2\r\nok\r\n"), ends="end"),
    _broken("RFC 9112 8 cut behind the last chunk", _chunks(b"2\r\nok\r\n0\r\n"), ends="end"),
    _broken("RFC 9112 8 reset between chunks", _chunks(b"2\r\nok\r\n"), ends="reset"),
    _broken("RFC 9112 8 a body until the end that is reset", _ok(b""), ends="reset"),
    _broken("RFC 9112 8 cut before anything, after a body", b"", POST, ends="end"),
    _broken("RFC 9112 8 reset before anything, after a body", b"", POST, ends="reset"),
    _reads("RFC 9112 6.3 bytes behind a body", PLAIN + b"XX", PLAIN, kept=False),
    _reads("RFC 9112 6.3 a second answer", PLAIN + _ok(b"Content-Length: 6\r\n", b"poison"), PLAIN, kept=False),
    _reads("RFC 9112 6.3 a second answer behind chunks", CHUNKED + _ok(b"Content-Length: 6\r\n", b"poison"), CHUNKED, kept=False),
    _reads("RFC 9112 6.3 a second answer behind nothing", _ok(b"Content-Length: 0\r\n", b"") + PLAIN, _ok(b"Content-Length: 0\r\n", b""), kept=False),
    _reads("RFC 9112 6.3 an empty line behind", PLAIN + b"\r\n", PLAIN, kept=False),
    _reads("RFC 9112 6.3 a herald behind", PLAIN + b"HTTP/1.1 100 Continue\r\n\r\n", PLAIN, kept=False),
)  # fmt: skip


def _status(status: bytes, fields: bytes = b"", body: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n" + body


BODILESS = (
    _same("RFC 9110 9.3.2 HEAD keeps the length", _ok(b"Content-Length: 1234\r\n", b""), HEAD),
    _same("RFC 9110 9.3.2 HEAD keeps the coding", _ok(CODED, b""), HEAD),
    _same("RFC 9110 9.3.2 HEAD of nothing", _ok(b"Content-Length: 0\r\n", b""), HEAD),
    _reads("RFC 9110 9.3.2 a body for HEAD", PLAIN, _ok(SIZED, b""), HEAD, kept=False),
    _reads("RFC 9110 9.3.2 a chunked body for HEAD", CHUNKED, _ok(CODED, b""), HEAD, kept=False),
    _reads("RFC 9110 9.3.2 a second answer for HEAD", _ok(SIZED, b"") + PLAIN, _ok(SIZED, b""), HEAD, kept=False),
    _reads("RFC 9110 9.3.2 HEAD without framing", _ok(b"", b""), _ok(b"", b""), HEAD, kept=False),
    _refused("RFC 9112 6.3 HEAD with two lengths", _ok(SIZED + b"Content-Length: 3\r\n", b""), HEAD),
    _refused("RFC 9112 6.3 HEAD with length and coding", _ok(SIZED + CODED, b""), HEAD),
    _same("RFC 9110 15.3.5 204", _status(b"204 No Content")),
    _reads("RFC 9110 8.6 204 has no length", _status(b"204 No Content", b"Content-Length: 0\r\n"), _status(b"204 No Content")),
    _reads("RFC 9110 15.3.5 a length in 204", _status(b"204 No Content", SIZED), _status(b"204 No Content")),
    _reads("RFC 9110 15.3.5 a body in 204", _status(b"204 No Content", SIZED, b"ok"), _status(b"204 No Content"), kept=False),
    _reads("RFC 9112 6.1 a coding in 204", _status(b"204 No Content", CODED, b"0\r\n\r\n"), _status(b"204 No Content"), kept=False),
    _same("RFC 9110 15.4.5 304", _status(b"304 Not Modified", b'ETag: "a"\r\n')),
    _same("RFC 9110 15.4.5 304 keeps the length", _status(b"304 Not Modified", b"Content-Length: 1234\r\n")),
    _reads("RFC 9110 15.4.5 a body in 304", _status(b"304 Not Modified", SIZED, b"ok"), _status(b"304 Not Modified", SIZED), kept=False),
    _same("RFC 9110 15.3.6 205 of nothing", _status(b"205 Reset Content", b"Content-Length: 0\r\n")),
    _same("RFC 9110 15.3.6 205 in chunks of nothing", _status(b"205 Reset Content", CODED, b"0\r\n\r\n")),
)  # fmt: skip

HERALDS = (
    _reads("RFC 9110 15.2.1 100", _status(b"100 Continue") + PLAIN, _status(b"100 Continue") + PLAIN),
    _reads("RFC 9110 15.2.2 102", _status(b"102 Processing") + PLAIN, _status(b"102 Processing") + PLAIN),
    _reads(
        "RFC 8297 2 103 and its fields",
        _status(b"103 Early Hints", b"Link: </a>; rel=preload\r\nLink: </b>\r\nConnection: x\r\nX: 1\r\n") + PLAIN,
        _status(b"103 Early Hints", b"Link: </a>; rel=preload\r\nLink: </b>\r\n") + PLAIN,
    ),
    _reads("RFC 8297 2 103 twice", _status(b"103 Early Hints") * 2 + CHUNKED, _status(b"103 Early Hints") * 2 + CHUNKED),
    _refused("RFC 9112 4 a control character in the phrase of a herald", _status(b"103 \x01") + PLAIN),
    _reads("RFC 9110 15.2 a herald without a phrase", _status(b"103 ") + PLAIN, _status(b"103 Early Hints") + PLAIN),
    _reads("RFC 9110 15.2 a herald that nobody knows", _status(b"199 Yo", b"X: a\r\n") + PLAIN, _status(b"199 Yo", b"X: a\r\n") + PLAIN),
    _reads("RFC 9110 15.2 HTTP/1.0 gets no herald", _status(b"103 Early Hints") + PLAIN, _ok(SIZED + b"Connection: close\r\n"), OLD, over=True),
    _reads("RFC 9110 15.2 a herald for HEAD", _status(b"103 Early Hints") + _ok(SIZED, b""), _status(b"103 Early Hints") + _ok(SIZED, b""), HEAD),
    _refused("RFC 9110 15 a herald below 100", _status(b"003 X", b"X: a\r\n") + PLAIN),
    _refused("RFC 9112 6.3 a herald with a length", _status(b"103 Early Hints", SIZED, b"ok") + PLAIN),
    _refused("RFC 9112 6.1 a herald with a coding", _status(b"103 Early Hints", CODED, b"0\r\n\r\n") + PLAIN),
    _broken("RFC 9112 8 nothing behind a herald", _status(b"103 Early Hints"), POST, ends="end"),
    _refused("RFC 9110 7.8 101 that nobody asked for", _status(b"101 Switching Protocols", b"Connection: Upgrade\r\nUpgrade: websocket\r\n")),
    _refused("RFC 9110 7.8 101 to another protocol", _status(b"101 Switching Protocols", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), UPGRADES),
    _refused("RFC 9110 7.8 101 without Upgrade", _status(b"101 Switching Protocols", b"Connection: Upgrade\r\n"), UPGRADES),
    _refused("RFC 9110 7.8 101 without Connection", _status(b"101 Switching Protocols", b"Upgrade: websocket\r\n"), UPGRADES),
    _refused("RFC 9110 7.8 101 to a body", _status(b"101 Switching Protocols", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), POST),
    _same("RFC 9110 7.8 an upgrade that is declined", PLAIN, UPGRADES),
    _same("RFC 9110 15.5.22 an upgrade that is refused", _line(b"HTTP/1.1 426 Upgrade Required"), UPGRADES),
)  # fmt: skip

CLOSED = b"Connection: close\r\n"
VERSIONS = (
    _reads("RFC 9112 9.3 HTTP/1.0 with a length", PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), PLAIN, ends="end", kept=False),
    _reads("RFC 9112 9.3 HTTP/1.0 with a length that does not end", PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), PLAIN, kept=False),
    _reads("RFC 9112 9.3 HTTP/1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nok", CHUNKED, ends="end", kept=False),
    _reads("RFC 9112 9.3 HTTP/1.0 that stays", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", PLAIN),
    _reads("RFC 9112 6.1 no chunks to an HTTP/1.0 visitor", CHUNKED, _ok(CLOSED), OLD, over=True),
    _reads("RFC 9112 6.1 no chunks to an HTTP/1.0 visitor who would stay", CHUNKED, _ok(CLOSED), OLD_KEPT, over=True),
    _reads("RFC 9112 6.3 until the end to an HTTP/1.0 visitor", _ok(b""), _ok(CLOSED), OLD, ends="end", kept=False, over=True),
    _reads("RFC 9112 9.3 a length to an HTTP/1.0 visitor", PLAIN, _ok(SIZED + CLOSED), OLD, over=True),
    _reads("RFC 9112 9.3 a length to an HTTP/1.0 visitor who stays", PLAIN, _ok(SIZED + b"Connection: keep-alive\r\n"), OLD_KEPT),
    _broken("RFC 9112 8 a cut body until the end to HTTP/1.0", _ok(CODED, b"2\r\nok\r\n"), OLD, ends="end"),
    _reads("RFC 9112 9.6 a visitor who closes", PLAIN, _ok(SIZED + CLOSED), CLOSES, over=True),
    _reads("RFC 9112 9.6 chunks to a visitor who closes", CHUNKED, _ok(CODED + CLOSED, b"2\r\nok\r\n0\r\n\r\n"), CLOSES, over=True),
)  # fmt: skip

TAILED = _chunks(b"2\r\nok\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n")
TRAILERS = (
    _same("RFC 9110 6.5 trailers to who wants them", TAILED, WANTS_TRAILERS),
    _reads("RFC 9110 6.6.2 and their announcement", TAILED.replace(CODED, b"Trailer: X-Sum\r\n" + CODED), TAILED.replace(CODED, CODED + b"Trailer: X-Sum\r\n"), WANTS_TRAILERS),
    _reads("RFC 9110 6.5.1 trailers to who does not", TAILED.replace(CODED, b"Trailer: X-Sum\r\n" + CODED), CHUNKED),
    _reads("RFC 9110 6.5.1 trailers to HTTP/1.0", TAILED, _ok(CLOSED), OLD, over=True),
    _reads("RFC 9110 6.5.1 what may not come behind", _chunks(b"2\r\nok\r\n0\r\nSet-Cookie: a\r\nX: 1\r\nConnection: x\r\n\r\n"), _chunks(b"2\r\nok\r\n0\r\nX: 1\r\n\r\n"), WANTS_TRAILERS),
    _broken("RFC 9112 7.1.2 a length as a trailer", _chunks(b"2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n"), WANTS_TRAILERS),
    _broken("RFC 9112 7.1.2 trailers without end", _chunks(b"2\r\nok\r\n0\r\nX: " + b"x" * 70_000)),
    _broken("RFC 9112 7.1.2 too many trailers", _chunks(b"2\r\nok\r\n0\r\n" + b"X: 1\r\n" * 200 + b"\r\n")),
    _broken("RFC 9112 7.1.1 an extension without end", _chunks(b"2;" + b"x" * 70_000)),
)  # fmt: skip

CASES: tuple[Answer, ...] = (*STATUS_LINE, *FIELDS, *FRAMING, *BODILESS, *HERALDS, *VERSIONS, *TRAILERS)
