"""The PROXY protocol's header, versions 1 and 2: what a load balancer says about the visitor before the first byte.

By the protocol's own specification (HAProxy's proxy-protocol.txt, sections 2.1 and 2.2), strictly: a header that could
be read in two ways is refused, because the address in it is believed. Extensions of version 2 (TLVs) are skipped within
a bound. It knows neither sockets nor who may send such a header.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

V1_LONGEST: Final = 107
"""Bytes of the longest line of version 1, its end included (section 2.1)."""
V2_LONGEST: Final = 4096
"""Bytes of the longest header of version 2 that is read. The protocol allows 64 KiB; known senders stay below 1 KiB."""

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED: Final = 16
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}").fullmatch
_MAX_PORT: Final = 65535
_LOCAL, _PROXY = 0, 1
_FAMILIES: Final = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""Family and transport, stream only, to the length of its addresses: unspecified, IPv4, IPv6, unix."""
_VERSION_6: Final = 0x21
_UNIX: Final = 0x31


class ProxyHeaderError(ValueError):
    """The bytes are no PROXY header, and no more of them would make them one."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header, read."""

    length: int
    """Bytes it took; what follows is the visitor's."""
    visitor: str | None
    """The visitor's address in its one spelling, ``unix``, or None: the sender speaks for itself, or does not know."""


def read_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of ``data``; None while it is not complete.

    Raises ProxyHeaderError at the first byte that cannot belong to one, so that nobody is waited for in vain.
    """
    if data.startswith(_V1):
        return _version_1(data)
    if data.startswith(_V2):
        return _version_2(data)
    if not (_V1.startswith(data) or _V2.startswith(data)):
        raise ProxyHeaderError("neither version of the header begins like this")
    return None


def _version_1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(data) >= V1_LONGEST:
            raise ProxyHeaderError("version 1: the line has no end")
        if b"\n" in data or b"\r" in data[:-1]:
            raise ProxyHeaderError("version 1: a line ends with CR LF")
        return None
    if b"\n" in line or b"\r" in line:
        raise ProxyHeaderError("version 1: a line ends with CR LF")
    length = len(line) + 2
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        # Whatever stands behind it is to be ignored.
        return ProxyHeader(length, None)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError("version 1: expected TCP4 or TCP6, two addresses and two ports")
    _, family, source, destination, *ports = words
    visitor = _address(source, family)
    _address(destination, family)
    if not all(_PORT(port) and int(port) <= _MAX_PORT for port in ports):
        raise ProxyHeaderError("version 1: a port is no number from 0 to 65535")
    return ProxyHeader(length, visitor)


def _address(text: bytes, family: bytes) -> str:
    try:
        if family == b"TCP4":
            return str(ipaddress.IPv4Address(text.decode("ascii")))
        address = ipaddress.IPv6Address(text.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError(f"version 1: expected an address of {family.decode()}") from None
    if address.scope_id is not None:
        raise ProxyHeaderError("version 1: an address has no zone")
    return str(address)


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) > 12 and (data[12] >> 4 != 2 or data[12] & 0xF not in (_LOCAL, _PROXY)):
        raise ProxyHeaderError("version 2: unknown version or command")
    if len(data) < _V2_FIXED:
        return None
    local = data[12] & 0xF == _LOCAL
    length = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if length > V2_LONGEST:
        raise ProxyHeaderError(f"version 2: more than {V2_LONGEST} bytes")
    family = data[13]
    # The family of a LOCAL header means nothing, and is to be skipped (section 2.2).
    if not local:
        if family not in _FAMILIES:
            raise ProxyHeaderError("version 2: a family or transport that cannot stand for a visitor of ours")
        if length - _V2_FIXED < _FAMILIES[family]:
            raise ProxyHeaderError("version 2: too short for its addresses")
    if len(data) < length:
        return None
    if local or not family:
        return ProxyHeader(length, None)
    if family == _UNIX:
        return ProxyHeader(length, "unix")
    source = data[16:32] if family == _VERSION_6 else data[16:20]
    return ProxyHeader(length, str(ipaddress.ip_address(source)))
