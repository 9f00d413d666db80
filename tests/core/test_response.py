"""How a tenant's answer is framed for its visitor: the table of RFC 9112 section 6.3, and what is refused."""

from __future__ import annotations

import pytest

from gogeta.core.field_lines import FieldLines
from gogeta.core.fields import RESPONSE_KINDS
from gogeta.core.refusal import Reason, RefusedError
from gogeta.core.response import Framing, ResponseHead, interim
from tests.core.heads import fields
from tests.core.heads import head as asked

DATE = b"Date: now\r\n"
ASKS = "Connection: Upgrade\nUpgrade: websocket"


def answer(
    status: int, more: str = "", *, to: str = "GET / 1.1", asks: str = "", keep_alive: bool = True, http11: bool = True
) -> ResponseHead:
    method = to.split(maxsplit=1)[0].encode()
    return ResponseHead(
        status,
        b"",
        FieldLines(RESPONSE_KINDS).fields(fields(more)),
        asked(to, asks),
        method=method,
        keep_alive=keep_alive,
        upstream_http11=http11,
    )


def lines(head: ResponseHead) -> list[str]:
    return head.serialise(DATE).decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")


LENGTH = "Content-Length: 5"
CODED = "Transfer-Encoding: chunked"
CLOSE = "Connection: close"
FRAMED = [
    # status, fields, request -> framing, our fields, keep alive, ends with its connection
    (200, LENGTH, "GET / 1.1", Framing.LENGTH, [LENGTH], True, False),
    (200, "Content-Length: 0", "GET / 1.1", Framing.NONE, ["Content-Length: 0"], True, False),
    (200, CODED, "GET / 1.1", Framing.CHUNKED, [CODED], True, False),
    (200, "", "GET / 1.1", Framing.CHUNKED, [CODED], True, True),
    (200, LENGTH, "GET / 1.0", Framing.LENGTH, [LENGTH, "Connection: keep-alive"], True, False),
    (200, CODED, "GET / 1.0", Framing.CLOSE, [CLOSE], False, False),
    (200, "", "GET / 1.0", Framing.CLOSE, [CLOSE], False, True),
    (200, LENGTH, "HEAD / 1.1", Framing.NONE, [LENGTH], True, False),
    (200, CODED, "HEAD / 1.1", Framing.NONE, [CODED], True, False),
    (200, CODED, "HEAD / 1.0", Framing.NONE, ["Connection: keep-alive"], True, False),
    (200, "", "HEAD / 1.1", Framing.NONE, [], True, False),
    (204, "", "GET / 1.1", Framing.NONE, [], True, False),
    (204, LENGTH, "GET / 1.1", Framing.NONE, [], True, False),
    (204, CODED, "GET / 1.1", Framing.NONE, [], True, False),
    (304, LENGTH, "GET / 1.1", Framing.NONE, [LENGTH], True, False),
    (304, "", "GET / 1.1", Framing.NONE, [], True, False),
]


@pytest.mark.parametrize(("status", "more", "to", "framing", "ours", "stays", "until_close"), FRAMED)
def test_framing_follows_rfc_9112_section_6_3(
    status: int,
    more: str,
    to: str,
    framing: Framing,
    ours: list[str],
    stays: bool,  # noqa: FBT001 - a table's column
    until_close: bool,  # noqa: FBT001 - a table's column
) -> None:
    head = answer(status, more, to=to)
    assert head.framing is framing
    assert lines(head)[1:] == [*ours, "Date: now"]
    assert head.keep_alive is stays
    assert head.until_close is until_close


@pytest.mark.parametrize("to", ["GET / 1.1", "GET / 1.0"])
def test_a_connection_that_will_close_says_so(to: str) -> None:
    assert lines(answer(200, LENGTH, to=to, keep_alive=False))[1:] == [LENGTH, "Connection: close", "Date: now"]


REFUSED = [
    ("RFC 9112 6.3 length and coding", 200, f"{LENGTH}\n{CODED}", ""),
    ("RFC 9112 6.3 coding and length", 200, f"{CODED}\n{LENGTH}", ""),
    ("RFC 9110 8.6 two lengths", 200, f"{LENGTH}\nContent-Length: 6", ""),
    ("RFC 9110 8.6 no number", 200, "Content-Length: five", ""),
    ("RFC 9112 6.1 another coding", 200, "Transfer-Encoding: gzip, chunked", ""),
    ("RFC 9112 7.1 chunked twice", 200, f"{CODED}\n{CODED}", ""),
    ("RFC 9110 15 status 600", 600, LENGTH, ""),
    ("RFC 9110 7.8 101 that nobody asked for", 101, ASKS, ""),
    ("RFC 9110 7.8 101 without Upgrade", 101, "Connection: Upgrade", ASKS),
    ("RFC 9110 7.8 101 without the connection option", 101, "Upgrade: websocket", ASKS),
    ("RFC 9110 7.8 101 to another protocol", 101, "Connection: Upgrade\nUpgrade: h2c", ASKS),
]


@pytest.mark.parametrize(("status", "more", "asks"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_is_refused(status: int, more: str, asks: str) -> None:
    with pytest.raises(RefusedError) as refused:
        answer(status, more, asks=asks)
    assert refused.value.reason is Reason.UPSTREAM_INVALID


def test_a_coding_in_http_10_is_refused() -> None:
    with pytest.raises(RefusedError):
        answer(200, CODED, http11=False)


def test_fields_pass_in_order_and_hop_by_hop_ones_end_here() -> None:
    head = answer(
        200,
        f"Server: x\nSet-Cookie: a\nset-cookie: b\nConnection: keep-alive, X-Hop, Set-Cookie\nX-Hop: 1\n"
        f"Keep-Alive: 5\nProxy-Connection: y\nDate: then\nTrailer: X-Sum\nUpgrade: h2c\n{LENGTH}",
    )
    assert lines(head) == [
        "HTTP/1.1 200 OK",
        "Server: x",
        "Set-Cookie: a",
        "set-cookie: b",
        "Date: then",
        LENGTH,
    ]


def test_a_date_that_connection_takes_out_is_made_good() -> None:
    head = answer(200, f"Date: then\nConnection: Date\n{LENGTH}")
    assert lines(head) == ["HTTP/1.1 200 OK", LENGTH, "Date: now"]


def test_trailers_are_announced_to_those_who_take_them() -> None:
    announced = f"Trailer: X-Sum\n{CODED}"
    assert "Trailer: X-Sum" in lines(answer(200, announced, asks="TE: trailers"))
    assert "Trailer: X-Sum" not in lines(answer(200, announced))
    assert "Trailer: X-Sum" not in lines(answer(200, f"Trailer: X-Sum\n{LENGTH}", asks="TE: trailers"))


def test_switching_protocols_keeps_its_upgrade() -> None:
    head = answer(101, "Connection: upgrade\nUpgrade: WebSocket\nSec-WebSocket-Accept: x", asks=ASKS)
    assert lines(head)[0] == "HTTP/1.1 101 Switching Protocols"
    assert lines(head)[1:4] == ["Sec-WebSocket-Accept: x", "Connection: Upgrade", "Upgrade: WebSocket"]
    assert head.framing is Framing.NONE


def test_the_phrase_is_kept_or_made() -> None:
    assert lines(answer(299, LENGTH))[0] == "HTTP/1.1 299 "
    head = ResponseHead(200, b"Fine", [], asked(), method=b"GET", keep_alive=True)
    assert lines(head)[0] == "HTTP/1.1 200 Fine"


def test_an_interim_response_passes_without_its_hop_by_hop_fields() -> None:
    early = interim(103, b"", fields("Link: </a>; rel=preload\nConnection: X-Hop\nX-Hop: 1\nContent-Length: 0"))
    assert early == b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


@pytest.mark.parametrize("more", [LENGTH, CODED])
def test_an_interim_response_with_a_body_is_refused(more: str) -> None:
    with pytest.raises(RefusedError):
        interim(103, b"", fields(more))
