"""Requests on the wire, each with the section it rests on and what must become of it.

``expected`` is a status when the request must be refused and not reach the tenant, or the list of what the tenant must
read (method, target, body) when it goes on. Cases stand as they are sent: no helper hides a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: acme.test\r\n"
CODED = HOST + b"Transfer-Encoding: chunked\r\n"


@dataclass(frozen=True)
class Case:
    """One case. ``also``: another status that is as good (the reason depends on how the bytes arrive)."""

    section: str
    data: bytes
    expected: int | list[tuple[str, str, bytes]]
    also: int = 0


def _refused(section: str, data: bytes, status: int = 400, also: int = 0) -> Case:
    return Case(section, data, status, also)


def _passed(section: str, data: bytes, *messages: tuple[str, str, bytes]) -> Case:
    return Case(section, data, list(messages))


def _get(more: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + more + b"\r\n"


def _chunks(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + CODED + b"\r\n" + body


ROOT = ("GET", "/", b"")

CASES = (
    # Start line.
    _passed("RFC 9112 2.2 an empty line before", b"\r\n" + _get(b""), ROOT),
    _refused("RFC 9112 2.2 bare LF behind the start line", b"GET / HTTP/1.1\n" + HOST + b"\r\n"),
    _refused("RFC 9112 2.2 bare LF behind a field", b"GET / HTTP/1.1\r\nHost: acme.test\n\r\n"),
    _refused("RFC 9112 2.2 bare LF at the end", b"GET / HTTP/1.1\r\n" + HOST + b"\n"),
    _refused("RFC 9112 2.2 bare CR in the start line", b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 2.2 bare CR for CRLF", b"GET / HTTP/1.1\r" + HOST + b"\r\n"),
    _refused("RFC 9112 2.2 blank before the first field", b"GET / HTTP/1.1\r\n " + HOST + b"\r\n"),
    _refused("RFC 9112 2.2 fields behind an empty line", b"GET / HTTP/1.1\r\n\r\n" + HOST + b"\r\n"),
    _passed("RFC 9112 3 two blanks are written as one", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", ROOT),
    _refused("RFC 9112 3 a tab", b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    _refused("RFC 9112 3 a blank in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, 505),
    _refused("RFC 9112 3 a blank at the end", b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3 no target", b"GET HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.1 a lower-case method", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    _refused("RFC 9110 9.1 an unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 501, 400),
    _refused("RFC 9110 9.3.6 CONNECT", b"CONNECT acme.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    _refused("RFC 9112 2.3 HTTP/0.9", b"GET /\r\n\r\n", 505),
    _refused("RFC 9112 2.3 HTTP/2.0", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    _refused("RFC 9112 2.3 HTTP/1.2", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    _refused("RFC 9112 2.3 http/1.1", b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, 505),
    _refused("RFC 9112 2.3 HTTP/1.10", b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400, 505),
    _refused("RFC 9113 3.4 the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    # Target.
    _passed(
        "RFC 9110 7.7 nothing is normalised",
        b'GET /a/../%2e%2e//;b?c=%zz&d={|}\\^`[]" HTTP/1.1\r\n' + HOST + b"\r\n",
        ("GET", '/a/../%2e%2e//;b?c=%zz&d={|}\\^`[]"', b""),
    ),
    _passed("RFC 9112 3.2.1 an empty query", b"GET /? HTTP/1.1\r\n" + HOST + b"\r\n", ("GET", "/?", b"")),
    _passed("RFC 9112 3.2.1 two slashes", b"GET //x HTTP/1.1\r\n" + HOST + b"\r\n", ("GET", "//x", b"")),
    _passed(
        "RFC 9112 3.2.2 absolute form", b"GET http://acme.test/x HTTP/1.1\r\n" + HOST + b"\r\n", ("GET", "/x", b"")
    ),
    _passed("RFC 9112 3.2.4 asterisk form", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", ("OPTIONS", "*", b"")),
    _refused("RFC 9112 3.2.4 asterisk form of GET", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.2 a fragment", b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.2 raw UTF-8", b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.2 NUL", b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.2 a relative path", b"GET x HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.2.2 another scheme", b"GET ftp://acme.test/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9112 3.2.2 another authority", b"GET http://other.test/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    _refused("RFC 9110 4.2.4 userinfo", b"GET http://a@acme.test/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    # Host.
    _refused("RFC 9112 3.2 no Host", b"GET / HTTP/1.1\r\n\r\n"),
    _refused("RFC 9112 3.2 Host twice", _get(HOST)),
    _refused("RFC 9112 3.2 Host twice, in another case", _get(b"HOST: other.test\r\n")),
    _refused("RFC 9112 3.2 an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    _refused("RFC 9112 3.2 a list of Hosts", b"GET / HTTP/1.1\r\nHost: acme.test, b.test\r\n\r\n"),
    _refused("RFC 9112 3.2 userinfo in Host", b"GET / HTTP/1.1\r\nHost: a@acme.test\r\n\r\n"),
    _refused("RFC 9112 3.2 a path in Host", b"GET / HTTP/1.1\r\nHost: acme.test/x\r\n\r\n"),
    _refused("RFC 9112 3.2 a blank in Host", b"GET / HTTP/1.1\r\nHost: acme .test\r\n\r\n"),
    _passed("RFC 9112 5.1 blanks around a value", b"GET / HTTP/1.1\r\nHost: \t acme.test \t\r\n\r\n", ROOT),
    # Fields.
    _refused("RFC 9112 5.1 a blank before the colon", _get(b"X : a\r\n")),
    _refused("RFC 9112 5.1 a tab before the colon", _get(b"X\t: a\r\n")),
    _refused("RFC 9112 5.1 no colon", _get(b"X\r\n")),
    _refused("RFC 9110 5.1 no name", _get(b": a\r\n")),
    _refused("RFC 9110 5.1 a blank within a name", _get(b"X Y: a\r\n")),
    _refused("RFC 9110 5.6.2 a name that is no token", _get(b"X[: a\r\n")),
    _refused("RFC 9110 5.1 a name beyond ASCII", _get(b"X\xe9: a\r\n")),
    _refused("RFC 9112 5.2 obs-fold", _get(b"X: a\r\n b\r\n")),
    _refused("RFC 9112 5.2 obs-fold with a tab", _get(b"X: a\r\n\tb\r\n")),
    _refused("RFC 9112 5.2 a length in a fold", _get(b"X: a\r\n Content-Length: 5\r\n")),
    _refused("RFC 9110 5.5 NUL", _get(b"X: a\0b\r\n")),
    _refused("RFC 9110 5.5 bare CR", _get(b"X: a\rb\r\n")),
    _refused("RFC 9110 5.5 a control character", _get(b"X: a\x01b\r\n")),
    _refused("RFC 9110 5.5 DEL", _get(b"X: a\x7fb\r\n")),
    _passed("RFC 9110 5.5 an empty value, a tab, obs-text", _get(b"X:\r\nY: a\tb\r\nZ: \xe9\r\n"), ROOT),
    # Length.
    _passed(
        "RFC 9112 6.2 a body", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nok", ("POST", "/", b"ok")
    ),
    _passed("RFC 9110 9.3.1 a body of GET", _get(b"Content-Length: 2\r\n") + b"ok", ("GET", "/", b"ok")),
    _refused("RFC 9112 6.3 two lengths", _get(b"Content-Length: 2\r\nContent-Length: 3\r\n") + b"okk"),
    _refused("RFC 9112 6.3 the same length twice", _get(b"Content-Length: 2\r\nContent-Length: 2\r\n") + b"ok"),
    _refused("RFC 9112 6.3 a list", _get(b"Content-Length: 2, 2\r\n") + b"ok"),
    _refused("RFC 9110 8.6 a plus", _get(b"Content-Length: +2\r\n") + b"ok"),
    _refused("RFC 9110 8.6 a minus", _get(b"Content-Length: -2\r\n") + b"ok"),
    _refused("RFC 9110 8.6 hexadecimal", _get(b"Content-Length: 0x2\r\n") + b"ok"),
    _refused("RFC 9110 8.6 an underscore", _get(b"Content-Length: 1_0\r\n") + b"ok"),
    _refused("RFC 9110 8.6 a fraction", _get(b"Content-Length: 2.0\r\n") + b"ok"),
    _refused("RFC 9110 8.6 nothing", _get(b"Content-Length:\r\n")),
    _refused("RFC 9110 8.6 two numbers", _get(b"Content-Length: 2 2\r\n") + b"ok"),
    _refused("RFC 9110 8.6 overflow", _get(b"Content-Length: 18446744073709551618\r\n") + b"ok"),
    # Coding.
    _refused(
        "RFC 9112 6.3 length, then coding", _get(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n"
    ),
    _refused(
        "RFC 9112 6.3 coding, then length", _get(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + b"0\r\n\r\n"
    ),
    _refused("RFC 9112 6.1 a coding in HTTP/1.0", b"POST / HTTP/1.0\r\n" + CODED + b"\r\n0\r\n\r\n"),
    _refused("RFC 9112 6.1 another coding", _get(b"Transfer-Encoding: gzip\r\n"), 400, 501),
    _refused("RFC 9112 6.1 chunked is not the last", _get(b"Transfer-Encoding: chunked, gzip\r\n"), 400, 501),
    _refused("RFC 9112 7 more than chunked", _get(b"Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n", 501),
    _refused("RFC 9112 6.1 identity", _get(b"Transfer-Encoding: identity\r\n"), 400, 501),
    _refused("RFC 9112 6.1 nothing", _get(b"Transfer-Encoding:\r\n")),
    _refused("RFC 9112 6.1 xchunked", _get(b"Transfer-Encoding: xchunked\r\n") + b"0\r\n\r\n", 400, 501),
    _refused(
        "RFC 9112 7.1 chunked twice", _get(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, 501
    ),
    _refused("RFC 9112 6.1 a vertical tab", _get(b"Transfer-Encoding: \x0bchunked\r\n")),
    _passed(
        "RFC 9112 7 in capitals", _get(b"Transfer-Encoding: CHUNKED\r\n") + b"2\r\nok\r\n0\r\n\r\n", ("GET", "/", b"ok")
    ),
    # Chunks.
    _passed(
        "RFC 9112 7.1 chunks", _chunks(b"2\r\nok\r\n00A\r\n0123456789\r\n000\r\n\r\n"), ("POST", "/", b"ok0123456789")
    ),
    _passed("RFC 9112 7.1.1 extensions end here", _chunks(b'2;a="b;c"\r\nok\r\n0;d\r\n\r\n'), ("POST", "/", b"ok")),
    _passed("RFC 9112 7.1.2 trailers", _chunks(b"2\r\nok\r\n0\r\nX: 1\r\n\r\n"), ("POST", "/", b"ok")),
    _refused("RFC 9112 7.1 no size", _chunks(b"\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 a size that is no number", _chunks(b"xy\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 a sign", _chunks(b"+2\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 0x", _chunks(b"0x2\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 an underscore", _chunks(b"1_0\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 a blank behind the size", _chunks(b"2 \r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 overflow", _chunks(b"10000000000000002\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 bare LF behind the size", _chunks(b"2\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 bare CR behind the size", _chunks(b"2\rok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 bare LF behind the data", _chunks(b"2\r\nok\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 data longer than its size", _chunks(b"2\r\nokk\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1 bare LF behind the last chunk", _chunks(b"2\r\nok\r\n0\n\r\n")),
    _refused("RFC 9112 7.1.1 bare LF in an extension", _chunks(b"2;a\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1.1 bare CR in an extension", _chunks(b"2;a\rb\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1.1 NUL in an extension", _chunks(b"2;\0\r\nok\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1.2 a trailer with a blank before its colon", _chunks(b"0\r\nX : 1\r\n\r\n")),
    _refused("RFC 9112 7.1.2 a trailer of framing", _chunks(b"0\r\nContent-Length: 5\r\n\r\n")),
    # Expect, Connection, Upgrade.
    _refused("RFC 9110 10.1.1 another expectation", _get(b"Expect: 42\r\n"), 417),
    _passed("RFC 9110 7.6.1 an empty Connection", _get(b"Connection: ,\r\n"), ROOT),
    _passed("RFC 9110 7.8 an upgrade nobody knows of", _get(b"Upgrade: x\r\n"), ROOT),
    _passed(
        "RFC 9110 7.8 h2c", _get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n"), ROOT
    ),
    # More than one.
    _passed("RFC 9112 9.3.2 two", _get(b"") + b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n", ROOT, ("GET", "/2", b"")),
    _passed(
        "RFC 9112 9.3.2 behind a body",
        _chunks(b"2\r\nok\r\n0\r\n\r\n") + _get(b""),
        ("POST", "/", b"ok"),
        ROOT,
    ),
    _passed(
        "RFC 9110 9.3.1 a request within a body",
        _get(b"Content-Length: 27\r\n") + b"GET /no HTTP/1.1\r\nHost: a\r\n",
        ("GET", "/", b"GET /no HTTP/1.1\r\nHost: a\r\n"),
    ),
    _passed("RFC 9112 9.6 nothing behind close", _get(b"Connection: close\r\n") + _get(b""), ROOT),
    _passed("RFC 9112 9.3 nothing behind HTTP/1.0", b"GET / HTTP/1.0\r\n" + HOST + b"\r\n" + _get(b""), ROOT),
)
