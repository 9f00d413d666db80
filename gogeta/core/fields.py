"""Header fields that a proxy must not pass on as they are, as tables.

Hop-by-hop fields belong to one connection (RFC 9110 section 7.6.1); framing fields are written anew from what was
parsed (RFC 9112 section 6); forwarding fields say who the visitor is and are ours to write. Everything else passes
through byte for byte.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final


class Kind:
    """How a field is treated. Plain numbers: they are compared for every field of every message."""

    PASS: Final = 0
    """Everything that is not listed."""
    DATE: Final = 1
    """Of a response: passes, and is noted."""
    LENGTH: Final = 2
    CONNECTION: Final = 3
    HOST: Final = 4
    CODING: Final = 5
    UPGRADE: Final = 6
    TE: Final = 7
    EXPECT: Final = 8
    FORWARDING: Final = 9
    REQUEST_ID: Final = 10
    TRAILER: Final = 11
    DROP: Final = 12


FORWARDING: Final = (
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-server",
    b"x-real-ip",
    b"forwarded",
)

REQUEST: Final[dict[bytes, int]] = {
    b"host": Kind.HOST,
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"connection": Kind.CONNECTION,
    b"upgrade": Kind.UPGRADE,
    b"te": Kind.TE,
    b"expect": Kind.EXPECT,
    b"trailer": Kind.TRAILER,
    b"keep-alive": Kind.DROP,
    b"proxy-connection": Kind.DROP,
    b"proxy-authorization": Kind.DROP,
    b"proxy-authenticate": Kind.DROP,
    b"http2-settings": Kind.DROP,
    b"x-request-id": Kind.REQUEST_ID,
    **dict.fromkeys(FORWARDING, Kind.FORWARDING),
}

RESPONSE: Final[dict[bytes, int]] = {
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"connection": Kind.CONNECTION,
    b"upgrade": Kind.UPGRADE,
    b"keep-alive": Kind.DROP,
    b"proxy-connection": Kind.DROP,
    b"te": Kind.DROP,
    b"trailer": Kind.TRAILER,
    b"date": Kind.DATE,
}

_PROTECTED: Final = frozenset(
    {
        b"close",
        b"keep-alive",
        b"upgrade",
        b"te",
        b"host",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"cookie",
        b"set-cookie",
        b"authorization",
        b"cache-control",
        b"x-request-id",
        *FORWARDING,
    }
)
"""Names that ``Connection`` cannot take out: they are treated by their own rule, or taking them out is an attack."""

NOT_IN_TRAILERS: Final = frozenset(
    {
        *REQUEST,
        *RESPONSE,
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"cache-control",
        b"max-forwards",
        b"range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"location",
        b"www-authenticate",
    }
)
"""Fields that may not come after the body (RFC 9110 section 6.5.1): framing, routing, credentials, conditions."""


is_token: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
"""Whether a field may have this name (RFC 9110 section 5.1)."""


class KindCache(dict[bytes, int]):
    """The kind of a field by its name as written: ``kinds[name]``. Only tokens are ever ``in`` it.

    Most clients spell a name in one way, so the lower-casing is done once per spelling; bounded, because spellings are
    the client's choice.
    """

    LIMIT: Final = 2048
    _LONGEST: Final = 64

    def __init__(self, kinds: dict[bytes, int]) -> None:
        """``kinds`` maps lower-case names."""
        super().__init__()
        self._kinds = kinds

    def __missing__(self, name: bytes) -> int:
        """A spelling that is met for the first time."""
        lower = name.lower()
        kind = self._kinds.get(lower, Kind.PASS)
        # WSGI and CGI fold "_" and "-" together: in any mixture, such a twin would reach the application under the name
        # of a field that is ours to write or to judge.
        if kind == Kind.PASS and b"_" in lower and lower.replace(b"_", b"-") in self._kinds:
            kind = Kind.DROP
        if len(self) < self.LIMIT and len(name) <= self._LONGEST and is_token(name):
            self[name] = kind
        return kind


REQUEST_KINDS: Final = KindCache(REQUEST)
TRACED_REQUEST_KINDS: Final = KindCache({**REQUEST, b"traceparent": Kind.DROP, b"tracestate": Kind.DROP})
"""Where requests are traced: we write those two ourselves then."""
RESPONSE_KINDS: Final = KindCache(RESPONSE)


@lru_cache(maxsize=256)
def tokens(value: bytes) -> tuple[bytes, ...]:
    """The members of a comma-separated list, in lower case, empty ones left out."""
    return tuple(token for part in value.lower().split(b",") if (token := part.strip(b" \t")))


@lru_cache(maxsize=256)
def taken_out(connection: tuple[bytes, ...]) -> frozenset[bytes]:
    """The names that the tokens of ``Connection`` take out of the message, besides the fixed ones."""
    return frozenset(connection) - _PROTECTED


def without(pieces: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Serialised fields (``name: value CRLF`` each) without those of these names."""
    return [piece for piece in pieces if piece.partition(b":")[0].lower() not in names]
