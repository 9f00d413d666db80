"""Inputs for the fuzz: valid messages made of common parts, and what is left of them after a few strokes of malice.

Everything is drawn from one source of chance, so a seed tells the whole input, and Hypothesis, given its own source,
can shrink one. Heads are repeated on purpose, alike or nearly so, because a proxy may remember those it has judged.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

from tests.conformance import corpus, oracle, passing, requests, responses
from tests.conformance.pending import PENDING, PENDING_ANSWERS, PENDING_CORPUS
from tests.conformance.world import STRANGER, TRUSTED, Reply

HOST = b"Host: acme.test\r\n"
METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE")
TARGETS = (
    b"/",
    b"/",
    b"/",
    b"/",
    b"/a",
    b"/a",
    b"/a?b=c",
    b"/a?b=c",
    b"/1",
    b"/2",
    b"/a/../b",
    b"//c",
    b"/%2F",
    b"http://acme.test/",
    b"http://acme.test",
    b"*",
    b"/?",
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")
HOSTS = (
    HOST,
    HOST,
    HOST,
    HOST,
    HOST,
    HOST,
    HOST,
    HOST,
    HOST,
    HOST,
    b"host: ACME.test\r\n",
    b"Host: a.acme.test\r\n",
    b"Host: nobody.test\r\n",
    b"",
)
FIELDS = (
    b"Accept: text/html, */*\r\n",
    b"Accept-Encoding: gzip\r\n",
    b"User-Agent: x/1\r\n",
    b"Cookie: a=1; b=2\r\n",
    b"X: a\r\n",
    b"x: b\r\n",
    b"X-Empty:\r\n",
    b"X_Own: 1\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: X, Cookie\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n",
    b"Connection: TE\r\nTE: trailers\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"TE: trailers\r\n",
    b"Trailer: X\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"X_Forwarded_For: 1.2.3.4\r\n",
    b"Forwarded: for=1.2.3.4\r\n",
    b"X-Request-Id: mine\r\n",
    b"Content-Length: 0\r\n",
    b"Content_Length: 5\r\n",
)
FRAMINGS = (
    (b"", b""),
    (b"Content-Length: 5\r\n", b"hello"),
    (b"Content-Length: 0\r\n", b""),
    (b"content-length: 05\r\n", b"hello"),
    (b"Content-Length: 34\r\n", b"GET /x HTTP/1.1\r\nHost: acme.test\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    (b"transfer-encoding: CHUNKED\r\n", b"2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nX: 1\r\n\r\n"),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
)
STATUSES = (b"200 OK", b"200 OK", b"200 ", b"404 Not Found", b"204 No Content", b"304 Not Modified", b"503 X", b"299 Y")
ANSWERED = (
    b"Content-Type: text/html\r\n",
    b"Server: x\r\n",
    b"Date: Fri, 02 Jan 1970 00:00:00 GMT\r\n",
    b"Set-Cookie: a=1\r\n",
    b"Set-Cookie: b=2\r\n",
    b"X: a\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: X\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"Trailer: X\r\n",
    b"Vary: *\r\n",
)
ANSWER_FRAMINGS = (
    (b"Content-Length: 2\r\n", b"%02x"),
    (b"Content-Length: 2\r\n", b"%02x"),
    (b"Content-Length: 0\r\n", b""),
    (b"Transfer-Encoding: chunked\r\n", b"2\r\n%02x\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"2\r\n%02x\r\n0\r\nX: 1\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    (b"", b"%02x"),
    (b"", b""),
)
MALICE = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"=", b'"', b"\x0b", b"\x7f", b"\x80", b"\xff",
    b"0", b"1", b"\r\n ", b"\r\n\r\n", b"x", b"-", b"+", b"_", b"#", b"%",
)  # fmt: skip
ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b" \r\n", b"\r\n\r\n", b"\r\n ")
_NUMBER = re.compile(rb"(?<=[: \n])[0-9a-fA-F]{1,4}(?=[\r;])")
_SHORT = 700

SEEDS = [
    case.data for case in (*requests.CASES, *passing.CASES) if len(case.data) < _SHORT and case.section not in PENDING
]
SEEDS += [case.data for case in corpus.load() if len(case.data) < _SHORT and case.name not in PENDING_CORPUS]
ANSWER_SEEDS = [
    case.data for case in responses.CASES if 0 < len(case.data) < _SHORT and case.section not in PENDING_ANSWERS
]
"""What is pending is known to be wrong: it would be found again and again."""


@dataclass(frozen=True)
class Step:
    """Bytes of one read on one connection; ``settles``: what they cause is waited for."""

    connection: int
    data: bytes
    settles: bool


@dataclass
class Trial:
    """One input: what visitors send on some connections, and what the tenant says to whom."""

    steps: list[Step]
    replies: list[Reply]
    peers: list[str]
    ends: bool
    """Whether visitors say at last that they send no more."""

    @cached_property
    def streams(self) -> list[bytes]:
        """All that is sent on each connection."""
        return [
            b"".join(step.data for step in self.steps if step.connection == number) for number in range(len(self.peers))
        ]

    @cached_property
    def heard(self) -> list[list[oracle.Heard]]:
        """What h11 reads on each connection."""
        return [oracle.requests(stream) for stream in self.streams]

    def reply(self, target: bytes) -> Reply:
        """What the tenant says to a request: always the same for the same target."""
        return self.replies[crc32(target) % len(self.replies)]


def _line(chance: random.Random) -> bytes:
    return b"%b %b %b\r\n" % (chance.choice(METHODS), chance.choice(TARGETS), chance.choice(VERSIONS))


def _some(chance: random.Random, parts: Sequence[bytes], most: int) -> bytes:
    return b"".join(chance.choice(parts) for _ in range(chance.randrange(most + 1)))


def request(chance: random.Random) -> bytes:
    """A request, mostly a good one."""
    framing, body = chance.choice(FRAMINGS) if chance.randrange(3) == 0 else FRAMINGS[0]
    before, behind = _some(chance, FIELDS, 3), _some(chance, FIELDS, 1)
    return _line(chance) + chance.choice(HOSTS) + before + framing + behind + b"\r\n" + body


def answer(chance: random.Random, mark: int) -> Reply:
    """A response, mostly a good one; ``mark`` stands in its body."""
    framing, body = chance.choice(ANSWER_FRAMINGS)
    version = b"HTTP/1.0 " if chance.randrange(8) == 0 else b"HTTP/1.1 "
    herald = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if chance.randrange(10) == 0 else b""
    head = (
        version + chance.choice(STATUSES) + b"\r\n" + _some(chance, ANSWERED, 2) + framing + _some(chance, ANSWERED, 1)
    )
    data = herald + head + b"\r\n" + (body % mark if b"%" in body else body)
    if chance.randrange(3) == 0:
        data = mutated(chance, data, ANSWER_SEEDS)
    if chance.randrange(20) == 0:
        data = chance.choice(ANSWER_SEEDS)
    if chance.randrange(12) == 0:
        # One answer too many: it must cost the connection, and reach nobody.
        data += chance.choice(ANSWER_SEEDS)
    ends = "end" if (not framing and chance.randrange(8)) or chance.randrange(8) == 0 else ""
    return Reply(data, ends if data else "")


def mutated(chance: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """What is left of a message after one to three strokes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = chance.choice(STROKES)(chance, data, seeds)
    return data[: 4 * _SHORT]


def _place(chance: random.Random, data: bytes) -> int:
    return chance.randrange(len(data) + 1)


def _insert(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(MALICE) + data[at:]


def _replace(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(MALICE) + data[at + 1 :]


def _delete(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at + chance.randrange(1, 4) :]


def _flip_case(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at : at + 12].swapcase() + data[at + 12 :]


def _line_end(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    parts = data.split(b"\r\n")
    if len(parts) < 2:
        return data
    at = chance.randrange(1, len(parts))
    return b"\r\n".join(parts[:at]) + chance.choice(ENDS) + b"\r\n".join(parts[at:])


def _lines(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    stroke = chance.randrange(5)
    if stroke == 0:
        lines.insert(other, lines[one])
    elif stroke == 1:
        del lines[one]
    elif stroke == 2:
        lines[one], lines[other] = lines[other], lines[one]
    elif stroke == 3:
        lines.insert(other, lines[one].swapcase())
    else:
        lines[one] = chance.choice(MALICE) + lines[one]
    return b"\r\n".join(lines)


def _add_field(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    ends = [match.end() for match in re.finditer(rb"\r\n", data)]
    at = chance.choice(ends) if ends else 0
    more = chance.choice(FIELDS) if chance.randrange(2) else chance.choice(FRAMINGS)[0]
    return data[:at] + more + data[at:]


def _number(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    match = chance.choice(found)
    old = match[0]
    new = chance.choice(
        (
            b"+" + old, b"-" + old, b"0" + old, b"0x" + old, b" " + old, b"\t" + old, b"",
            old + b" ", old + b"\t", old + b"," + old, old + b"0", old + b".0", old + b";", old + b"_0",
            b"%x" % (int(old, 16) + 1), b"%x" % max(0, int(old, 16) - 1), b"f" * 16, b"18446744073709551617",
        )
    )  # fmt: skip
    return data[: match.start()] + new + data[match.end() :]


def _splice(chance: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = chance.choice(seeds)
    return data[: _place(chance, data)] + other[_place(chance, other) :]


def _tail(chance: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    return data + chance.choice((*MALICE[:6], b"GET /x HTTP/1.1\r\nHost: acme.test\r\n\r\n", chance.choice(seeds)))


def _truncate(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _place(chance, data)]


STROKES = (
    *(_insert, _replace, _line_end, _lines, _number) * 2,
    *(_delete, _flip_case, _add_field, _splice, _tail, _truncate),
)


def _another(chance: random.Random, before: bytes) -> bytes:
    """A request like one that went before: the same, or its fields under another line, or nearly the same."""
    way = chance.randrange(6)
    if way < 2:
        return before
    if way < 4 and (end := before.find(b"\r\n")) >= 0:
        line = _line(chance)
        return (mutated(chance, line, SEEDS) if chance.randrange(3) == 0 else line) + before[end + 2 :]
    return mutated(chance, before, SEEDS)


def trial(chance: random.Random) -> Trial:
    """One input."""
    count = chance.choice((1, 2, 3, 5))
    peers = [TRUSTED if chance.randrange(8) == 0 else f"198.51.100.{7 + number}" for number in range(count)]
    messages: list[bytes] = []
    steps: list[Step] = []
    for _ in range(chance.choice((1, 3, 5, 8))):
        if messages and chance.randrange(5) < 3:
            message = _another(chance, chance.choice(messages))
        elif chance.randrange(8) == 0:
            message = chance.choice(SEEDS)
        else:
            message = request(chance)
            if chance.randrange(6) == 0:
                message = mutated(chance, message, SEEDS)
        messages.append(message)
        number = chance.randrange(count)
        cuts = sorted(_place(chance, message) for _ in range(chance.choice((0, 0, 0, 0, 1, 2, 3))))
        pieces = [
            message[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(message)], strict=True) if begin < end
        ]
        steps += [Step(number, piece, settles=chance.randrange(4) > 0) for piece in pieces]
    joined: list[Step] = []
    for step in steps:
        # Sometimes what follows comes in the same read.
        if joined and joined[-1].connection == step.connection and chance.randrange(6) == 0:
            joined[-1] = Step(step.connection, joined[-1].data + step.data, step.settles)
        else:
            joined.append(step)
    replies = [answer(chance, mark) for mark in range(chance.choice((1, 1, 2, 3)))]
    return Trial(joined, replies, _apart(peers), ends=chance.randrange(2) == 0)


def _apart(peers: list[str]) -> list[str]:
    """Each connection from an address of its own, by which the tenant tells them apart."""
    return [
        peer if peer == STRANGER or peer not in peers[:at] else f"10.1.1.{10 + at}" for at, peer in enumerate(peers)
    ]
