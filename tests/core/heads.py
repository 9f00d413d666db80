"""Heads for the tests, written as they stand on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from gogeta.core.field_lines import FieldLines, Pairs
from gogeta.core.fields import REQUEST_KINDS
from gogeta.core.request import RequestHead, judge_target


def fields(text: str) -> Pairs:
    """Fields of ``Name: value`` lines."""
    pairs = []
    for line in text.strip().splitlines():
        name, _, value = line.strip().partition(":")
        pairs.append((name.encode("latin-1"), value.strip(" ").encode("latin-1")))
    return pairs


@dataclass(frozen=True)
class Judged:
    """A request as it goes on."""

    method: bytes
    target: bytes
    head: RequestHead


def request(line: str = "GET / 1.1", more: str = "", *, host: str | None = "a.test") -> Judged:
    """A judged request; ``line`` is ``METHOD TARGET VERSION``."""
    method, target, version = line.split(" ")
    given = fields((f"Host: {host}\n" if host is not None else "") + more)
    sent_target, authority = judge_target(method.encode(), target.encode("latin-1"))
    return Judged(
        method.encode(), sent_target, RequestHead(version, FieldLines(REQUEST_KINDS).fields(given), authority)
    )


def head(line: str = "GET / 1.1", more: str = "", *, host: str | None = "a.test") -> RequestHead:
    """Its head alone."""
    return request(line, more, host=host).head


def sent(judged: Judged) -> list[str]:
    """The lines of what is sent on, without forwarding fields and the request's id."""
    text = judged.head.serialise(judged.method, judged.target, b"", b"id").decode("latin-1")
    assert text.count("X-Request-Id: id\r\n") == 1
    return text.replace("X-Request-Id: id\r\n", "").removesuffix("\r\n\r\n").split("\r\n")
