"""Heads for the tests, written as they stand on the wire."""

from __future__ import annotations

from gogeta.core.request import Fields, RequestHead


def fields(text: str) -> Fields:
    """Fields of ``Name: value`` lines."""
    pairs = []
    for line in text.strip().splitlines():
        name, _, value = line.strip().partition(":")
        pairs.append((name.encode("latin-1"), value.strip(" ").encode("latin-1")))
    return pairs


def request(line: str = "GET / 1.1", more: str = "", *, host: str | None = "a.test") -> RequestHead:
    """A judged request; ``line`` is ``METHOD TARGET VERSION``."""
    method, target, version = line.split(" ")
    given = fields((f"Host: {host}\n" if host is not None else "") + more)
    return RequestHead(method.encode(), target.encode("latin-1"), version, given)


def sent(head: RequestHead) -> list[str]:
    """The lines of what is sent on, without forwarding fields."""
    return head.serialise(b"").decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
