"""What a certificate says of itself that we act upon: the names it is for, and when it ends.

OpenSSL does all that has to be secure (signatures, keys, chains), but the standard library tells the names of a
certificate only to who verifies one as a client. So the few nodes of X.509's DER (RFC 5280 section 4.1) that hold names
and dates are read here. The input is an operator's own file: a malformed one is an error to be told, nothing worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SEQUENCE: Final = 0x30
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82
_UTC_TIME: Final = 0x17
_SUBJECT_ALT_NAME: Final = bytes.fromhex("0603551d11")
"""The extension's identifier 2.5.29.17, as it is encoded."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What is needed of one certificate."""

    names: tuple[str, ...]
    """Host names and wildcards (``*.example.com``), in lower case; addresses are left out."""
    ends: float
    """When it is not valid any more, in seconds since the epoch."""


def certificate_facts(der: bytes) -> CertificateFacts:
    """The facts of a certificate. Raises ValueError when it cannot be read."""
    try:
        return _facts(der)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("it is no X.509 certificate") from error


def _facts(der: bytes) -> CertificateFacts:
    # What is signed has, in this order: version (tagged), serial number, and then, each as a sequence, algorithm,
    # issuer, validity, subject and key; behind them the extensions (tagged).
    signed = _parts(_parts(_parts(der)[0][1])[0][1])
    sequences = [value for tag, value in signed if tag == _SEQUENCE]
    tag, end = _parts(sequences[2])[1]
    names: tuple[str, ...] = ()
    for extensions in (value for number, value in signed if number == _EXTENSIONS):
        for _, extension in _parts(_parts(extensions)[0][1]):
            if extension.startswith(_SUBJECT_ALT_NAME):
                general = _parts(_parts(_parts(extension)[-1][1])[0][1])
                names = tuple(value.decode("ascii").lower() for kind, value in general if kind == _DNS_NAME)
    return CertificateFacts(names, _time(tag, end.decode("ascii")))


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """The nodes that stand side by side in ``data``: tag and content of each."""
    parts = []
    place = 0
    while place < len(data):
        tag, size = data[place], data[place + 1]
        place += 2
        if size > 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[place : place + count], "big")
            place += count
        if place + size > len(data):
            raise IndexError("a node is longer than what holds it")
        parts.append((tag, data[place : place + size]))
        place += size
    return parts


def _time(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: two digits of a year from 1950 on.
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
