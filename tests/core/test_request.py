"""What becomes of a request's head. Each refusal names the section that it rests on."""

from __future__ import annotations

import pytest

from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.request import trailers
from tests.core.heads import head, request, sent

REFUSED = [
    ("RFC 9112 2.3 another version", "GET / 2.0", "", Reason.VERSION),
    ("RFC 9112 2.3 a version that never was", "GET / 1.2", "", Reason.VERSION),
    ("RFC 9112 3.2 no Host", "GET / 1.1", "-host", Reason.HOST_INVALID),
    ("RFC 9112 3.2 two Hosts", "GET / 1.1", "Host: a.test", Reason.HOST_INVALID),
    ("RFC 9112 3.2.2 Host differs from the target", "GET http://b.test/ 1.1", "", Reason.HOST_INVALID),
    ("RFC 9112 3.2.2 ... also by its port", "GET http://a.test:81/ 1.1", "", Reason.HOST_INVALID),
    ("RFC 9110 4.2.4 userinfo in the target", "GET http://u@a.test/ 1.1", "", Reason.HOST_INVALID),
    ("RFC 9110 4.2.1 empty authority", "GET http:///x 1.1", "", Reason.HOST_INVALID),
    ("RFC 9112 3.2 another scheme", "GET ftp://a.test/ 1.1", "", Reason.MALFORMED),
    ("RFC 9112 3.2 neither path nor URL", "GET x 1.1", "", Reason.MALFORMED),
    ("RFC 9112 3.2.4 * is for OPTIONS", "GET * 1.1", "", Reason.MALFORMED),
    ("RFC 9112 3.2 a fragment", "GET /#a 1.1", "", Reason.MALFORMED),
    ("RFC 9112 3.2 raw non-ASCII", "GET /\xe9 1.1", "", Reason.MALFORMED),
    ("RFC 9112 3.2 a control character", "GET /\x01 1.1", "", Reason.MALFORMED),
    ("RFC 9110 9.3.6 CONNECT", "CONNECT a.test:443 1.1", "", Reason.METHOD),
    ("RFC 9112 6.1 a coding besides chunked", "POST / 1.1", "Transfer-Encoding: gzip, chunked", Reason.CODING),
    ("RFC 9112 6.1 chunked is not alone", "POST / 1.1", "Transfer-Encoding: chunked, identity", Reason.CODING),
    ("RFC 9112 6.1 identity is none", "POST / 1.1", "Transfer-Encoding: identity", Reason.CODING),
    (
        "RFC 9112 7.1 twice",
        "POST / 1.1",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        Reason.CODING,
    ),
    ("RFC 9112 7 a parameter of chunked", "POST / 1.1", "Transfer-Encoding: chunked;a=b", Reason.CODING),
    ("RFC 9112 6.1 a coding in HTTP/1.0", "POST / 1.0", "Transfer-Encoding: chunked", Reason.FRAMING),
    ("RFC 9112 6.3 coding and length", "POST / 1.1", "Content-Length: 5\nTransfer-Encoding: chunked", Reason.FRAMING),
    (
        "RFC 9112 6.3 ... the other way",
        "POST / 1.1",
        "Transfer-Encoding: chunked\nContent-Length: 5",
        Reason.FRAMING,
    ),
    ("RFC 9112 6.3 ... even of nothing", "POST / 1.1", "Content-Length: 0\nTransfer-Encoding: chunked", Reason.FRAMING),
    ("RFC 9110 8.6 two lengths", "POST / 1.1", "Content-Length: 5\nContent-Length: 6", Reason.FRAMING),
    ("RFC 9110 8.6 the same length twice", "POST / 1.1", "Content-Length: 5\nContent-Length: 5", Reason.FRAMING),
    ("RFC 9110 8.6 a list of lengths", "POST / 1.1", "Content-Length: 5, 5", Reason.FRAMING),
    ("RFC 9110 8.6 a sign", "POST / 1.1", "Content-Length: +5", Reason.FRAMING),
    ("RFC 9110 8.6 what Python takes for a number", "POST / 1.1", "Content-Length: 1_0", Reason.FRAMING),
    ("RFC 9110 8.6 hexadecimal", "POST / 1.1", "Content-Length: 0x5", Reason.FRAMING),
    ("RFC 9110 8.6 nothing", "POST / 1.1", "Content-Length:", Reason.FRAMING),
    ("RFC 9110 8.6 beyond any body", "POST / 1.1", "Content-Length: 99999999999999999999", Reason.FRAMING),
    ("RFC 9110 10.1.1 another expectation", "POST / 1.1", "Expect: 200-ok", Reason.EXPECTATION),
    ("RFC 9112 3.2 HTTP/1.0 that names no host", "GET / 1.0", "-host", Reason.HOST_UNKNOWN),
]


@pytest.mark.parametrize(("line", "more", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_is_refused(line: str, more: str, reason: Reason) -> None:
    with pytest.raises(RefusedError) as refused:
        request(line, more.removeprefix("-host"), host=None if more == "-host" else "a.test")
    assert refused.value.reason is reason


def test_an_ordinary_request_goes_on_byte_for_byte_and_in_order() -> None:
    judged = request("GET /a/../b//c;d?x=%2F&y=| 1.1", "aCCept: */*\nX-B: 1\nX-A: 2\nX-B: 3\nCookie: a=b; c=d")
    assert sent(judged) == [
        "GET /a/../b//c;d?x=%2F&y=| HTTP/1.1",
        "Host: a.test",
        "aCCept: */*",
        "X-B: 1",
        "X-A: 2",
        "X-B: 3",
        "Cookie: a=b; c=d",
    ]
    assert judged.head.keep_alive
    assert judged.head.length == 0


def test_hop_by_hop_fields_and_those_that_connection_names_end_here() -> None:
    judged = request(
        more="Connection: X-Secret, keep-alive\nX-Secret: 1\nKeep-Alive: timeout=5\nProxy-Connection: x\n"
        "Proxy-Authorization: y\nHTTP2-Settings: z\nX-Kept: 2\nConnection: x-more\nX-MORE: 3"
    )
    assert sent(judged) == ["GET / HTTP/1.1", "Host: a.test", "X-Kept: 2"]


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Cookie", "Authorization", "Content-Type", "Cache-Control"])
def test_connection_cannot_take_out_what_the_application_relies_on(name: str) -> None:
    value = {"Host": "a.test", "Content-Length": "5"}.get(name, "v")
    more = f"Connection: {name}" + ("" if name == "Host" else f"\n{name}: {value}")
    assert f"{name}: {value}" in sent(request("POST / 1.1", more))


@pytest.mark.parametrize(
    "name",
    [
        "X_Forwarded_For",
        "X_Forwarded-For",
        "x-forwarded_proto",
        "X_REAL_IP",
        "X_Request_Id",
        "Content_Length",
        "Transfer_Encoding",
    ],
)
def test_twins_that_wsgi_would_fold_into_our_fields_are_dropped(name: str) -> None:
    assert sent(request(more=f"{name}: 1\nX_Own_Field: 2")) == ["GET / HTTP/1.1", "Host: a.test", "X_Own_Field: 2"]


def test_forwarding_fields_are_set_aside() -> None:
    judged = request(more="X-Forwarded-For: 1.2.3.4\nForwarded: for=x\nX-Real-IP: 9\nX-Forwarded-Server: s")
    assert sent(judged) == ["GET / HTTP/1.1", "Host: a.test"]
    assert [name for name, _ in judged.head.forwarding] == [
        b"X-Forwarded-For",
        b"Forwarded",
        b"X-Real-IP",
        b"X-Forwarded-Server",
    ]


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2~3", b"abc-1.2~3"), ("a b", b""), ("x" * 129, b""), ('"', b"")])
def test_a_request_id_is_kept_when_it_is_harmless(given: str, kept: bytes) -> None:
    assert head(more=f"X-Request-Id: {given}").request_id == kept


@pytest.mark.parametrize(
    ("line", "more", "framing", "length"),
    [
        ("POST / 1.1", "Content-Length: 5", "Content-Length: 5", 5),
        ("POST / 1.1", "content-length: 0005", "content-length: 5", 5),
        ("POST / 1.0", "Content-Length: 5", "Content-Length: 5", 5),
        ("POST / 1.1", "Transfer-Encoding: CHUNKED", "Transfer-Encoding: chunked", None),
        ("POST / 1.1", "", None, 0),
    ],
)
def test_framing_is_written_anew(line: str, more: str, framing: str | None, length: int | None) -> None:
    judged = request(line, more)
    assert sent(judged)[2:] == ([framing] if framing else [])
    assert judged.head.length == length
    assert judged.head.chunked is (length is None)


@pytest.mark.parametrize(
    ("target", "sent_target"),
    [
        ("http://a.test/x?y", "/x?y"),
        ("HTTP://A.test/x", "/x"),
        ("http://a.test", "/"),
        ("http://a.test?y", "/?y"),
    ],
)
def test_absolute_form_becomes_origin_form(target: str, sent_target: str) -> None:
    assert sent(request(f"GET {target} 1.1"))[0] == f"GET {sent_target} HTTP/1.1"


def test_options_of_the_whole_server() -> None:
    assert sent(request("OPTIONS * 1.1"))[0] == "OPTIONS * HTTP/1.1"
    assert sent(request("OPTIONS http://a.test 1.1"))[0] == "OPTIONS * HTTP/1.1"


def test_http_10_is_sent_on_as_11_and_closes_unless_it_asks() -> None:
    assert sent(request("GET / 1.0"))[0] == "GET / HTTP/1.1"
    assert not head("GET / 1.0").keep_alive
    assert head("GET / 1.0", "Connection: keep-alive").keep_alive
    assert not head("GET / 1.0", "Connection: keep-alive, close").keep_alive
    assert not head("GET / 1.1", "Connection: Close").keep_alive
    assert sent(request("GET http://a.test/ 1.0", host=None)) == ["GET / HTTP/1.1", "Host: a.test"]


def test_an_upgrade_is_passed_on_only_without_a_body() -> None:
    asks = "Connection: Upgrade\nUpgrade: websocket"
    assert sent(request(more=asks))[2:] == ["Connection: Upgrade", "Upgrade: websocket"]
    for body in ("Content-Length: 5", "Transfer-Encoding: chunked"):
        assert head("POST / 1.1", f"{asks}\n{body}").upgrade == b""
    assert head("GET / 1.0", asks).upgrade == b""
    assert head(more="Upgrade: websocket").upgrade == b""
    assert sent(request(more="Upgrade: websocket"))[2:] == []


@pytest.mark.parametrize(("asked", "passed"), [("h2c", b""), ("H2C, websocket", b"websocket"), ("h2", b"")])
def test_h2c_is_never_passed_on(asked: str, passed: bytes) -> None:
    judged = request(more=f"Connection: Upgrade, HTTP2-Settings\nUpgrade: {asked}\nHTTP2-Settings: x")
    assert judged.head.upgrade == passed
    assert "h2" not in " ".join(sent(judged)).lower()


def test_te_goes_on_as_trailers_alone_with_its_option() -> None:
    assert sent(request(more="TE: gzip, trailers"))[2:] == ["TE: trailers", "Connection: TE"]
    assert sent(request(more="TE: gzip"))[2:] == []


def test_expect_goes_on_and_is_nothing_to_http_10() -> None:
    assert "Expect: 100-continue" in sent(request("POST / 1.1", "Expect: 100-Continue\nContent-Length: 5"))
    assert sent(request("POST / 1.0", "Expect: 100-continue\nContent-Length: 5"))[2:] == ["Content-Length: 5"]


@pytest.mark.parametrize(
    ("line", "more", "replayable"),
    [
        ("GET / 1.1", "", True),
        ("DELETE / 1.1", "", True),
        ("POST / 1.1", "", False),
        ("PUT / 1.1", "Content-Length: 5", False),
        ("GET / 1.1", "Transfer-Encoding: chunked", False),
        ("GET / 1.1", "Connection: Upgrade\nUpgrade: websocket", False),
    ],
)
def test_only_idempotent_requests_without_a_body_are_replayable(line: str, more: str, replayable: bool) -> None:  # noqa: FBT001 - a table's column
    assert head(line, more).replayable(line.split(maxsplit=1)[0].encode()) is replayable


@pytest.mark.parametrize(
    ("line", "more", "navigation"),
    [
        ("GET / 1.1", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", True),
        ("GET / 1.1", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", True),
        ("GET / 1.1", "Sec-Fetch-Mode: cors\nAccept: text/html", False),
        ("GET / 1.1", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: object", False),
        ("GET / 1.1", "Accept: text/html,*/*", True),
        ("GET / 1.1", "Accept: */*", False),
        ("GET / 1.1", "", False),
        ("HEAD / 1.1", "Accept: text/html", True),
        ("HEAD / 1.1", "Accept: */*", False),
        ("OPTIONS / 1.1", "Accept: text/html", False),
        ("POST / 1.1", "Sec-Fetch-Mode: navigate\nAccept: text/html", False),
        ("GET / 1.1", "Accept: text/html\nConnection: Upgrade\nUpgrade: websocket", False),
    ],
)
def test_a_navigation_is_told_by_fetch_metadata_then_by_accept(line: str, more: str, navigation: bool) -> None:  # noqa: FBT001 - a table's column
    assert head(line, more).navigation(line.split(maxsplit=1)[0].encode()) is navigation


@pytest.mark.parametrize(
    ("line", "more", "page"),
    [
        ("GET / 1.1", "Accept: text/html", True),
        ("POST / 1.1", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nAccept: text/html", True),
        ("GET / 1.1", "Sec-Fetch-Mode: cors\nAccept: text/html", False),
        ("OPTIONS / 1.1", "Accept: text/html\nAccess-Control-Request-Method: PUT", False),
        ("GET / 1.1", "Accept: text/html\nConnection: Upgrade\nUpgrade: websocket", False),
        ("GET / 1.1", "Accept: application/json", False),
    ],
)
def test_an_error_is_a_page_only_for_who_reads_it(line: str, more: str, page: bool) -> None:  # noqa: FBT001 - a table's column
    assert head(line, more).reads_pages(line.split(maxsplit=1)[0].encode()) is page


def test_trailers_lose_what_may_not_come_after_a_body() -> None:
    given = [
        (b"X-Sum", b"1"),
        (b"Content-Length", b"9"),
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"X_Forwarded-For", b"1.2.3.4"),
        (b"Set-Cookie", b"a"),
        (b"Authorization", b"b"),
        (b"Host", b"c"),
    ]
    assert trailers(given) == b"X-Sum: 1\r\n"
