"""What visitors send that must reach the tenant unchanged, and the fields that are the proxy's to write.

Each case gives the whole request as the tenant must read it. Where the proxy's own fields are the point
(``whole_heads``), every byte of the head is given but the request's id, which the visitor chose.
"""

# ruff: noqa: E501 - tables: a case is one line, as it is one message

from __future__ import annotations

from gogeta.core.refusal import Reason
from tests.conformance.case import Case, passed, refused
from tests.conformance.world import STRANGER, TRUSTED

HOST = b"Host: acme.test\r\n"
ID = b"X-Request-Id: mine-1\r\n"
OF_STRANGER = (
    b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: acme.test\r\n"
    b'X-Forwarded-Port: 80\r\nForwarded: for=198.51.100.7;host="acme.test";proto=http\r\n'
)


def _get(fields: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n"


def _same(section: str, data: bytes) -> Case:
    return passed(section, data, data)


def _dropped(section: str, fields: bytes, left: bytes = b"") -> Case:
    return passed(section, _get(fields), _get(left))


def _heads(section: str, fields: bytes, *, ours: bytes, peer: str = STRANGER) -> Case:
    """``ours``: the forwarding fields that the tenant reads behind Host."""
    return Case(section, _get(fields + ID), (_get(ours + ID),), peer=peer, whole_heads=True)


def _method(method: bytes) -> Case:
    return _same(f"RFC 9110 9.1 {method.decode()}", method + b" /x HTTP/1.1\r\n" + HOST + b"\r\n")


_METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PROPFIND", b"MKCOL", b"LOCK")
_FORWARDING = (
    b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 443\r\n"
    b"X-Forwarded-Server: s\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4;proto=https\r\n"
)

UNCHANGED = (
    *map(_method, _METHODS),
    _same("RFC 9110 5.3 order and case of fields", _get(b"zEBRA: 1\r\nAlpha: 2\r\nx-y: 3\r\nMIDDLE: 4\r\n")),
    _same("RFC 9110 5.3 repeated fields", _get(b"X: 1\r\nY: a\r\nX: 2\r\nx: 3\r\n")),
    _same("RFC 6265 5.4 two Cookie fields", _get(b"Cookie: a=1\r\nX: y\r\nCookie: b=2\r\n")),
    _same("RFC 9110 5.6.2 every character of a token", _get(b"!#$%&'*+-.^`|~09azAZ: x\r\n")),
    _same("RFC 9110 5.1 an underscore in a name", _get(b"X_Own_Name: 1\r\n")),
    _same("RFC 9110 5.5 obs-text", _get(b"X: \x80\xc3\xa9\xff\r\n")),
    _same("RFC 9110 5.5 commas, quotes, tabs and blanks within", _get(b'X: a , "b\\",c" ,,\td  e\r\n')),
    _same("RFC 9110 5.5 empty values", _get(b"X:\r\nY:\r\n")),
    _same("RFC 9110 5.5 colons within a value", _get(b"X: a:b: c\r\n")),
    _same("RFC 9110 8.4 Content-Encoding is the tenant's", _get(b"Content-Encoding: gzip\r\nAccept-Encoding: br\r\n")),
    _same("RFC 9110 10.1.5 no User-Agent is added, none is taken", _get(b"User-Agent: x/1 (y)\r\n")),
    _same("RFC 9110 14.2 ranges", _get(b'Range: bytes=0-1,5-\r\nIf-Range: W/"a"\r\n')),
    _same("RFC 9110 13.1 conditions", _get(b'If-None-Match: "a", W/"b"\r\nIf-Modified-Since: x\r\n')),
    _same("RFC 9110 11.6.2 credentials", _get(b"Authorization: Basic YTpi\r\n")),
    _same("RFC 9110 7.6.2 Max-Forwards", _get(b"Max-Forwards: 3\r\n")),
    passed("RFC 9112 5.1 blanks around values are not the value's", _get(b"X:a\r\nY: \t b \r\n"), _get(b"X: a\r\nY: b\r\n")),
    passed(
        "RFC 9112 6.3 a body byte by byte",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 256\r\n\r\n" + bytes(range(256)),
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 256\r\n\r\n" + bytes(range(256)),
    ),
    passed(
        "RFC 9112 7.1 a chunked body stays one, in chunks of our own",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n003;a=b\r\n\0\r\n\r\n0;x\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n\0\r\n\r\n0\r\n\r\n",
    ),
    passed(
        "RFC 9110 8.6 a length is written without its zeros",
        b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 002\r\n\r\nok",
        b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 2\r\n\r\nok",
    ),
    passed(
        "RFC 9112 2.3 our own version is told", b"GET / HTTP/1.0\r\n" + HOST + b"X: a\r\n\r\n", _get(b"X: a\r\n"), closes=True
    ),
    passed(
        "RFC 9112 3.2.2 the authority becomes Host",
        b"GET http://ACME.test/x HTTP/1.0\r\nX: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: ACME.test\r\nX: a\r\n\r\n",
        closes=True,
    ),
)  # fmt: skip

HOP_BY_HOP = (
    _dropped("RFC 9110 7.6.1 Connection", b"Connection: keep-alive\r\n"),
    _dropped("RFC 9110 7.6.1 Keep-Alive", b"Keep-Alive: timeout=5\r\n"),
    _dropped("RFC 9110 7.6.1 Proxy-Connection", b"Proxy-Connection: keep-alive\r\n"),
    _dropped("RFC 9110 11.7.2 Proxy-Authorization", b"Proxy-Authorization: Basic x\r\n"),
    _dropped("RFC 9110 7.8 Upgrade without its Connection", b"Upgrade: websocket\r\n"),
    _dropped("RFC 9113 3.1 HTTP2-Settings", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"),
    _dropped("RFC 9110 7.6.1 what Connection names", b"X-Hop: 1\r\nConnection: X-Hop\r\nX: a\r\n", b"X: a\r\n"),
    _dropped("RFC 9110 7.6.1 what Connection names, behind it", b"Connection: x-hop\r\nX-HOP: 1\r\nX-Hop: 2\r\n"),
    _dropped("RFC 9110 7.6.1 what two Connection fields name", b"A: 1\r\nConnection: a\r\nB: 2\r\nConnection: ,b ,\r\nC: 3\r\n", b"C: 3\r\n"),
    _dropped("RFC 9110 7.6.1 Connection with close and names", b"A: 1\r\nConnection: keep-alive, a\r\n"),
    _dropped("RFC 9110 7.6.1 names that are no fields", b"Connection: nothing, \xff, a b\r\nX: 1\r\n", b"X: 1\r\n"),
    _dropped("RFC 9110 10.1.4 TE", b"TE: gzip;q=0.5, deflate\r\nConnection: TE\r\n"),
    _dropped("RFC 9110 10.1.4 TE: trailers goes on with its option", b"TE: trailers\r\nConnection: TE\r\n", b"TE: trailers\r\nConnection: TE\r\n"),
    _dropped("RFC 9110 10.1.4 TE: trailers among others", b"TE: gzip, Trailers\r\nConnection: TE\r\n", b"TE: trailers\r\nConnection: TE\r\n"),
    _dropped("RFC 9110 7.6.1 Connection cannot take Host out", b"Connection: Host\r\n"),
    _dropped("RFC 9110 7.6.1 Connection cannot take Cookie out", b"Cookie: a=1\r\nConnection: cookie\r\n", b"Cookie: a=1\r\n"),
    _dropped("RFC 9110 7.6.1 Connection cannot take credentials out", b"Authorization: x\r\nConnection: authorization\r\n", b"Authorization: x\r\n"),
    _dropped("RFC 9110 7.6.1 Connection cannot take caching out", b"Cache-Control: no-store\r\nConnection: cache-control\r\n", b"Cache-Control: no-store\r\n"),
    passed(
        "RFC 9110 7.6.1 Connection cannot take the length out",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nConnection: Content-Length\r\n\r\nok",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nok",
    ),
    passed(
        "RFC 9110 7.6.1 Connection cannot take the coding out",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    passed(
        "RFC 9110 7.8 an upgrade goes on",
        _get(b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: x\r\n"),
        _get(b"Sec-WebSocket-Key: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
    ),
    passed(
        "RFC 9110 7.8 an upgrade to several",
        _get(b"Upgrade: foo/2, h2c, Bar\r\nConnection: upgrade\r\n"),
        _get(b"Connection: Upgrade\r\nUpgrade: foo/2, Bar\r\n"),
    ),
    _dropped("RFC 9110 7.8 an upgrade that is listed, and nothing to upgrade to", b"Connection: upgrade\r\n"),
    passed(
        "RFC 9110 10.1.1 an expectation goes on",
        b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nok",
        b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    ),
    passed(
        "RFC 9110 10.1.1 HTTP/1.0 expects nothing",
        b"POST / HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nok",
        closes=True,
    ),
)  # fmt: skip

BEHIND = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"


def _trailers(section: str, sent: bytes, left: bytes) -> Case:
    return passed(f"RFC 9110 6.5.1 {section}", BEHIND + sent + b"\r\n", BEHIND + left + b"\r\n")


TRAILERS = (
    passed(
        "RFC 9110 6.6.2 trailers and their announcement",
        BEHIND.replace(HOST, HOST + b"Trailer: X-Sum\r\n") + b"X-Sum: 1\r\nx-sum: 2\r\n\r\n",
        BEHIND.replace(HOST, HOST + b"Trailer: X-Sum\r\n") + b"X-Sum: 1\r\nx-sum: 2\r\n\r\n",
    ),
    _trailers("trailers that nobody announced", b"X-Sum: 1\r\n", b"X-Sum: 1\r\n"),
    _trailers("a trailer of routing", b"Host: b.test\r\nX: 1\r\n", b"X: 1\r\n"),
    _trailers("a trailer of credentials", b"authorization: x\r\nCookie: a\r\n", b""),
    _trailers("a trailer of the connection", b"Connection: close\r\nKeep-Alive: x\r\nUpgrade: x\r\n", b""),
    _trailers("a trailer of the proxy's own", b"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nX-Request-Id: x\r\n", b""),
    _trailers("a trailer of the proxy's own in another spelling", b"X_Forwarded_For: 1.2.3.4\r\n", b""),
    _trailers("a trailer of content", b"Content-Type: x\r\nContent-Encoding: gzip\r\nContent-Range: x\r\n", b""),
    _trailers("a trailer of control", b"Cache-Control: x\r\nExpect: 100-continue\r\nTE: x\r\nMax-Forwards: 1\r\n", b""),
    _trailers("a trailer of cookies to set", b"Set-Cookie: a=1\r\n", b""),
)  # fmt: skip

FORWARDING = (
    _heads("RFC 7239 5 who it is", b"", ours=OF_STRANGER),
    _heads("RFC 7239 8.1 what a stranger says of himself", _FORWARDING, ours=OF_STRANGER),
    _heads("RFC 7239 8.1 twice, in other cases", b"x-forwarded-for: 1.2.3.4\r\nX-FORWARDED-FOR: 5.6.7.8\r\n", ours=OF_STRANGER),
    _heads("RFC 7239 8.1 in other spellings", b"X_Forwarded_For: 1.2.3.4\r\nX-Forwarded_Proto: https\r\nX_REAL_IP: 1\r\n", ours=OF_STRANGER),
    _heads("RFC 9110 7.6.1 Connection cannot take them out", b"Connection: X-Forwarded-For, Forwarded, X-Real-Ip, X-Request-Id\r\n", ours=OF_STRANGER),
    _heads(
        "RFC 7239 5 a trusted proxy's word",
        _FORWARDING,
        peer=TRUSTED,
        ours=b"X-Forwarded-For: 1.2.3.4, 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 443\r\n"
        b'Forwarded: for=1.2.3.4;proto=https, for=10.1.1.1;host="acme.test";proto=http\r\n',
    ),
    _heads(
        "RFC 7239 5 a trusted proxy that says nothing",
        b"",
        peer=TRUSTED,
        ours=OF_STRANGER.replace(STRANGER.encode(), TRUSTED.encode()),
    ),
    _heads(
        "RFC 7239 7.1 a trusted proxy's chain",
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n",
        peer=TRUSTED,
        ours=OF_STRANGER.replace(STRANGER.encode(), TRUSTED.encode()).replace(
            b"For: 10.1.1.1", b"For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.1.1.1"
        ),
    ),
    _heads(
        "RFC 7239 6 a visitor by IPv6",
        b"",
        peer="2001:db8::7",
        ours=b"X-Forwarded-For: 2001:db8::7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: acme.test\r\n"
        b'X-Forwarded-Port: 80\r\nForwarded: for="[2001:db8::7]";host="acme.test";proto=http\r\n',
    ),
    _heads("RFC 4291 2.5.5.2 a visitor by IPv4 in IPv6", b"", peer="::ffff:198.51.100.7", ours=OF_STRANGER),
)  # fmt: skip

UNDERSCORES = (
    _dropped("RFC 3875 4.1.18 a twin of the length", b"Content_Length: 5\r\n"),
    _dropped("RFC 3875 4.1.18 a twin of the coding", b"Transfer_Encoding: chunked\r\n"),
    _dropped("RFC 3875 4.1.18 a twin of the upgrade's settings", b"HTTP2_Settings: x\r\n"),
    _dropped("RFC 3875 4.1.18 twins in capitals", b"X_FORWARDED_FOR: 1\r\nPROXY_AUTHORIZATION: 1\r\n"),
    _dropped("RFC 3875 4.1.18 a twin of the request's id", b"X_Request_Id: 1\r\n"),
    _dropped("RFC 3875 4.1.18 a name that has no such twin", b"X_Sum: 1\r\n", b"X_Sum: 1\r\n"),
)  # fmt: skip

IDS = (
    Case("RFC 9110 16.3.2 the visitor's id of the request", _get(ID), (_get(OF_STRANGER + ID),), whole_heads=True),
    Case(
        "RFC 9110 5.5 blanks behind an id are none of it",
        _get(b"X-Request-Id: mine-1 \r\n"),
        (_get(OF_STRANGER + ID),),
        whole_heads=True,
    ),
    refused("RFC 9110 5.5 an id with a control character", _get(b"X-Request-Id: a\x01\r\n"), Reason.MALFORMED),
)

CASES: tuple[Case, ...] = (*UNCHANGED, *HOP_BY_HOP, *TRAILERS, *FORWARDING, *UNDERSCORES, *IDS)
