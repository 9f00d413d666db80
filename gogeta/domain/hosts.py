"""Host names: validated, and normalised so that one host has one spelling.

Two callers: a tenant's declaration (``hosts: [...]``), and the ``Host`` of every request. Both end in the same
spelling, so that routing is one dictionary look-up. Spelling rules: lower case; no port; no trailing dot; A-labels
(RFC 5890) only on the wire, while a declaration may be written in Unicode and is converted (UTS 46); IPv6 literals in
brackets and compressed (RFC 5952); at most 253 characters, labels of 1 to 63.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import idna

DEFAULT_HOST: Final = "*"
"""The host pattern of the tenant that answers for every host nobody else claims."""

MAX_HOST_LENGTH: Final = 253
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_PORT: Final = re.compile(r"\d{1,5}", re.ASCII)
_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_MAX_PORT: Final = 65535


def normalise_tenant_name(text: str) -> str:
    """The tenant's name in its one spelling: a DNS label in lower case (it names containers, networks and keys).

    Raises ValueError that says what a name looks like.
    """
    # ASCII first: lower() turns some other letters (the Kelvin sign) into ASCII ones.
    name = text.strip().lower() if text.isascii() else ""
    if not _TENANT.fullmatch(name):
        raise ValueError(
            f"expected a name of 1 to 63 letters a-z, digits and hyphens, starting and ending with a letter or digit, "
            f"not {text!r}"
        )
    return name


def split_authority(authority: str) -> tuple[str, int | None]:
    """Host and port of an authority (RFC 3986 section 3.2) without userinfo; the port is None when not given.

    The host is returned as written. ``host:`` with an empty port is allowed by the RFC and means no port.
    Raises ValueError for anything that could be read in two ways.
    """
    if authority.startswith("["):
        literal, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"expected an address in brackets, not {authority!r}")
        host, port = literal + "]", rest[1:]
    else:
        host, _, port = authority.partition(":")
    if port:
        if not _PORT.fullmatch(port) or int(port) > _MAX_PORT:
            raise ValueError(f"expected a port from 0 to 65535 in {authority!r}")
        return host, int(port)
    return host, None


def normalise_host(authority: str) -> str:
    """The one spelling of a request's host, from its ``Host`` field or the authority of its target.

    Raises ValueError for an empty or malformed host; non-ASCII is malformed on the wire (RFC 9110 section 7.2).
    """
    host, _ = split_authority(authority)
    if host.startswith("["):
        return _normalise_literal(host)
    # ASCII first: lower() turns some other letters (the Kelvin sign) into ASCII ones.
    name = host.lower().removesuffix(".") if host.isascii() else ""
    if len(name) > MAX_HOST_LENGTH or not _NAME.fullmatch(name):
        raise ValueError(f"expected a host name, not {authority!r}")
    return name


def normalise_pattern(text: str) -> str:
    """The one spelling of a declared host: exact, a wildcard ``*.example.com``, or ``*`` for every unclaimed host.

    A wildcard stands for one or more labels; the longest match wins over shorter ones, and an exact host over both.
    Unicode names become A-labels. Raises ValueError that says what was expected.
    """
    stripped = text.strip()
    if stripped == DEFAULT_HOST:
        return DEFAULT_HOST
    wildcard = stripped.startswith("*.")
    rest = stripped[2:] if wildcard else stripped
    if not rest or "*" in rest:
        raise ValueError(f"expected a host such as app.example.com or *.example.com, not {text!r}")
    if not rest.isascii():
        rest = _to_ascii(rest)
    host = normalise_host(rest)
    if wildcard:
        if host.startswith("["):
            raise ValueError(f"a wildcard cannot stand before an address: {text!r}")
        return "*." + host
    return host


def _to_ascii(host: str) -> str:
    name, colon, port = host.partition(":")
    try:
        return idna.encode(name, uts46=True).decode("ascii") + colon + port
    except idna.IDNAError as error:
        raise ValueError(f"expected a host name, not {host!r} ({error})") from None


def _normalise_literal(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise ValueError(f"expected an IPv6 address in brackets, not {host!r}") from None
    if address.scope_id is not None:
        # A zone means something on one machine only, and may hold any characters.
        raise ValueError(f"expected an IPv6 address without a zone, not {host!r}")
    return f"[{address.compressed}]"
