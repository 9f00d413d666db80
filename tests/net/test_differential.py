"""Bytes put together from hostile fragments: what a tenant reads is what h11 reads in the visitor's own stream.

We may refuse more, so the tenant may have read less; but never another request, another body or one more of them, nor
anything that h11 calls malformed.
"""

from __future__ import annotations

import asyncio

import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.net.stage import stage
from tests.net.strict import Strict

HOST = b"Host: acme.test\r\n"
LINES = [
    b"GET / HTTP/1.1\r\n",
    b"POST /p HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET http://acme.test/ HTTP/1.1\r\n",
]
FIELDS = [
    HOST,
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 33\r\n",
    b"content-length : 5\r\n",
    b"Content-Length: 5\r\n\t\r\n",
    b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\tchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Content-Length\r\n",
    b"Connection: Transfer-Encoding\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"X: a\rb\r\n",
    b"X: a\n",
    b"X: \0\r\n",
    b"X: a\r\n",
]
BODIES = [
    b"hello",
    b"5\r\nhello\r\n",
    b"5;x=y\r\nhello\r\n",
    b"5\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: 1\r\n\r\n",
    b"0\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: acme.test\r\n\r\n",
    b"0;\n\r\n",
]
HEADS = st.builds(
    lambda line, host, fields, end: line + host + b"".join(fields) + end,
    st.sampled_from(LINES),
    st.sampled_from([HOST, HOST, HOST, b""]),
    st.lists(st.sampled_from(FIELDS), max_size=3),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b""]),
)
REQUESTS = st.builds(lambda head, bodies: head + b"".join(bodies), HEADS, st.lists(st.sampled_from(BODIES), max_size=3))
STREAMS = st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join)


def reference(data: bytes) -> list[tuple[str, str, bytes]]:
    """What h11 reads in the visitor's own stream, pipelined, up to the first thing it does not understand.

    Empty lines between requests are such a thing (RFC 9112 section 2.2 lets them be skipped), so no fragment makes one.
    """
    strict = Strict()
    strict.take(data)
    return [(method, target.removeprefix("http://acme.test"), body) for method, target, body in strict.read]


async def play(data: bytes, cuts: list[int]) -> None:
    """Send it in pieces, and judge what arrived."""
    async with stage() as on:
        app = Strict()
        await on.serve(app)
        async with on.visitor() as visitor:
            connection = await visitor.other_side()
            places = sorted({cut % (len(data) + 1) for cut in cuts})
            for begin, end in zip([0, *places], [*places, len(data)], strict=True):
                if begin < end:
                    connection.data_received(data[begin:end])
                    await asyncio.sleep(0)
            visitor.writer.write_eof()
            answers = await visitor.everything()
        await on.quiet()
    assert app.error is None
    assert app.read == reference(data)[: len(app.read)]
    assert answers.count(b"HTTP/1.1 200 OK") == len(app.read)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STREAMS, st.lists(st.integers(0, 500), max_size=3))
def test_what_goes_on_is_what_h11_reads(data: bytes, cuts: list[int]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(data, cuts))
