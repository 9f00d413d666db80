"""The first message of a TLS handshake, read for one thing: the host that the visitor wants to reach (SNI, RFC 6066).

OpenSSL would tell the name in a callback, too late for two things that are wanted here: a fatal alert that reaches the
visitor (asyncio and uvloop keep the alerts of a failed handshake to themselves), and a word for who speaks plain HTTP.
Only the certificate is chosen by what is read here; the handshake itself is OpenSSL's, from the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

LONGEST: Final = 20 * 1024
"""Bytes of the longest hello that is waited for. Those of browsers, post-quantum keys included, are below 2 KiB."""

_CLIENT_HELLO: Final = 1
_RECORD: Final = 5
_LONGEST_RECORD: Final = 1 << 14
_LONGEST_NAME: Final = 255


class Alert(IntEnum):
    """Fatal alerts that we send ourselves (RFC 8446 section 6)."""

    UNEXPECTED_MESSAGE = 10
    DECODE_ERROR = 50
    UNRECOGNIZED_NAME = 112

    @property
    def record(self) -> bytes:
        """The alert as a record in plain text, which is how it stands before any key is agreed on."""
        return bytes((21, 3, 3, 0, 2, 2, self))


class NotTlsError(ValueError):
    """The bytes do not begin a TLS connection."""


class HelloError(ValueError):
    """It is TLS, but not a hello that can be read."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A hello, read."""

    server_name: str | None
    """The host in lower case, without a trailing dot; None when the visitor named none."""


def read_hello(data: bytes) -> ClientHello | None:
    """The hello at the beginning of ``data``; None while it is not complete. Raises NotTlsError and HelloError."""
    message = b""
    place = 0
    while True:
        header = data[place : place + _RECORD]
        if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\3"):
            raise HelloError("a record of another kind within the hello") if place else NotTlsError("no TLS record")
        if len(header) < _RECORD:
            break
        size = int.from_bytes(header[3:], "big")
        if not 0 < size <= _LONGEST_RECORD:
            raise HelloError("a record that is empty or too long")
        place += _RECORD
        message += data[place : place + size]
        if message[0:1] and message[0] != _CLIENT_HELLO:
            raise HelloError("another message than a hello")
        if len(message) >= 4:
            length = 4 + int.from_bytes(message[1:4], "big")
            if length > LONGEST:
                raise HelloError(f"more than {LONGEST} bytes")
            if len(message) >= length:
                return ClientHello(_server_name(message[4:length]))
        if len(data) < place + size:
            break
        place += size
    if len(data) > LONGEST:
        raise HelloError(f"more than {LONGEST} bytes")
    return None


def _server_name(body: bytes) -> str | None:
    # Version and random are fixed; session, cipher suites and compression come before the extensions.
    rest = body[34:]
    for width in (1, 2, 1):
        _, rest = _vector(rest, width)
    extensions = _vector(rest, 2)[0] if rest else b""
    while extensions:
        kind, (value, extensions) = extensions[:2], _vector(extensions[2:], 2)
        if kind == b"\0\0":
            return _host(value)
    return None


def _host(extension: bytes) -> str:
    names, more = _vector(extension, 2)
    if names[:1] != b"\0":
        raise HelloError("a server name that is no host name")
    name, others = _vector(names[1:], 2)
    if more or others or not 0 < len(name) <= _LONGEST_NAME or not name.isascii() or b"\0" in name:
        raise HelloError("a server name that is no host name")
    return name.decode("ascii").lower().removesuffix(".")


def _vector(data: bytes, width: int) -> tuple[bytes, bytes]:
    """A vector with its length in ``width`` bytes, and what follows it."""
    end = width + int.from_bytes(data[:width], "big")
    if len(data) < width or end > len(data):
        raise HelloError("a part is longer than what holds it")
    return data[width:end], data[end:]
