"""Ordinary heads are what llhttp takes for heads, too: the reader of field lines may be stricter, never laxer."""

from __future__ import annotations

import contextlib

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogeta.core.field_lines import Field, FieldLines, Pairs
from gogeta.core.fields import REQUEST, RESPONSE, KindCache
from gogeta.core.refusal import RefusedError
from gogeta.core.request import ORDINARY_LINE as REQUEST_LINE
from gogeta.core.request import RequestHead
from gogeta.core.response import ORDINARY_LINE as STATUS_LINE
from gogeta.core.response import ResponseHead

PIECES = st.one_of(
    st.sampled_from(
        [
            *(b"Host: a.test", b"X-A: b", b"X-A:b", b"Cookie: a=b; c=d", b"Content-Length: 0", b"Connection: close"),
            *(b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"\0", b"\x7f", b"\x0b", b"\xe9", b"X : y", b" folded", b""),
        ]
    ),
    st.binary(max_size=3),
)
BLOCKS = st.lists(PIECES, max_size=12).map(b"".join)


class Seen:
    """What llhttp calls."""

    def __init__(self) -> None:
        self.pairs: Pairs = []
        self.heads = 0
        self.messages = 0

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.heads:
            self.pairs.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.heads += 1


def by_llhttp(head: bytes, kind: type[httptools.HttpRequestParser | httptools.HttpResponseParser]) -> Seen:
    """What llhttp makes of a head; raises what it raises."""
    seen = Seen()
    with contextlib.suppress(httptools.HttpParserUpgrade):
        kind(seen).feed_data(head)
    return seen


ASKS = RequestHead("1.1", FieldLines(KindCache(REQUEST)).fields([(b"Host", b"a.test")]))


def goes_on(fields: list[Field], *, request: bool) -> bool:
    """Whether a head of these fields is accepted."""
    try:
        if request:
            RequestHead("1.1", fields)
        else:
            ResponseHead(200, b"OK", fields, ASKS, method=b"GET", keep_alive=True)
    except RefusedError:
        return False
    return True


@settings(max_examples=1500, deadline=None)
@given(BLOCKS)
def test_what_is_read_here_llhttp_reads_in_the_same_way(block: bytes) -> None:
    if b"\r\n\r\n" in block:
        # The first empty line is the end of what is read.
        return
    for kinds, line, parser in (
        (REQUEST, b"GET / HTTP/1.1", httptools.HttpRequestParser),
        (RESPONSE, b"HTTP/1.1 200 OK", httptools.HttpResponseParser),
    ):
        reader = FieldLines(KindCache(kinds))
        first, again, third = (reader.read(block) for _ in range(3))
        assert first == again == third
        if first is None or not goes_on(first, request=kinds is REQUEST):
            continue
        seen = by_llhttp(line + b"\r\n" + block + b"\r\n\r\n", parser)
        assert (seen.messages, seen.heads) == (1, 1)
        assert seen.pairs == [(name, value) for name, value, _, _ in first]


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"get", b"BREW", b"CONNECT", b""]),
    st.sampled_from([b" ", b"  ", b"\t", b""]),
    st.one_of(st.sampled_from([b"/", b"*", b"/a?b", b"/#", b"http://a/"]), st.binary(max_size=4).map(b"/".__add__)),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" http/1.1", b"  HTTP/1.1", b" HTTP/1.1 ", b""]),
)
def test_an_ordinary_request_line_is_one_for_llhttp(method: bytes, blank: bytes, target: bytes, version: bytes) -> None:
    line = method + blank + target + version
    match = REQUEST_LINE(line)
    if match is not None:
        seen = by_llhttp(line + b"\r\nHost: a\r\n\r\n", httptools.HttpRequestParser)
        assert (seen.messages, seen.heads) == (1, 1)
        assert match.groups() == (method, target, version[-1:])


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/1.2 ", b"HTTP/1.1  ", b"http/1.1 "]),
    st.sampled_from([b"200", b"404", b"599", b"099", b"600", b"2000", b"20", b"+20"]),
    st.one_of(st.sampled_from([b" OK", b" ", b"", b" Not Found"]), st.binary(max_size=4).map(b" ".__add__)),
)
def test_an_ordinary_status_line_is_one_for_llhttp(version: bytes, status: bytes, phrase: bytes) -> None:
    line = version + status + phrase
    match = STATUS_LINE(line)
    if match is not None:
        seen = by_llhttp(line + b"\r\nContent-Length: 0\r\n\r\n", httptools.HttpResponseParser)
        assert (seen.messages, seen.heads) == (1, 1)


@pytest.mark.parametrize(
    "line", [b"X : a", b" X: a", b"X", b": a", b"X\t: a", b"X: a\0", b"X: a\rb", b"X: \x7f", b"X[: a", b"X\xe9: a", b""]
)
def test_what_is_not_ordinary_is_left_to_llhttp(line: bytes) -> None:
    reader = FieldLines(KindCache(REQUEST))
    assert reader.read(b"Host: a\r\n" + line) is None
    assert reader.read(b"Host: a\r\n" + line) is None
