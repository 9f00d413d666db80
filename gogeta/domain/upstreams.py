"""Upstream addresses that a tenant may name, and those it may never reach.

A tenant that names its own upstreams could otherwise turn the proxy into a way to the registry, to the runtime's
socket, to a cloud's metadata service, or back into the proxy itself. The rules are pure: names are judged when they are
declared, addresses once more when they are known (a name may resolve to something else later).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gogeta.domain.hosts import normalise_host, split_authority

_HTTP_PORT: Final = 80
RUNTIME_PORTS: Final = frozenset({2375, 2376, 2377})
REGISTRY_PORTS: Final = frozenset({2379, 2380})
_LOOPBACK_NAMES: Final = ("localhost",)
_UNSPECIFIED: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never bound


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address that serves: a host name or address (IPv6 without brackets) and a port from 1 to 65535."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host:port`` as a URL and a ``Host`` field have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """The authority."""
        return self.authority


def parse_upstream(url: str) -> Endpoint:
    """The endpoint of a plain ``http://host[:port]`` URL.

    Raises ValueError naming the rule for anything more: another scheme, credentials, a path, a query, a fragment.
    """
    rule = "an upstream is a plain http URL such as http://10.0.0.7:8080"
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise ValueError(f"{rule}: {url!r} has blanks, control or non-ASCII characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from None
    if "@" in parts.netloc:
        # Before anything that would quote the URL: a password stands in it.
        raise ValueError(f"{rule}: credentials are not allowed in it")
    if parts.scheme.lower() != "http":
        raise ValueError(f"{rule}: the scheme of {url!r} is not http")
    try:
        host, port = split_authority(parts.netloc)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from None
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        raise ValueError(f"{rule}: {url!r} has a path, a query or a fragment")
    try:
        name = normalise_host(host)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from None
    if port == 0:
        raise ValueError(f"{rule}: port 0 cannot be reached")
    return Endpoint(name.strip("[]"), port or _HTTP_PORT)


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Addresses no upstream may have, by rule.

    ``listeners`` are our own (proxy and admin), ``registry`` and ``runtime`` the endpoints we were told of. A listener
    on an unspecified address (``0.0.0.0``, ``::``) stands for every address of this machine; ``local`` lists those.
    """

    listeners: frozenset[Endpoint] = frozenset()
    registry: frozenset[Endpoint] = frozenset()
    runtime: frozenset[Endpoint] = frozenset()
    local: frozenset[str] = frozenset()

    def rule_against(self, endpoint: Endpoint) -> str | None:
        """The rule that forbids the endpoint, as a sentence, or None when it may be used."""
        if endpoint.port in RUNTIME_PORTS or self._hits(self.runtime, endpoint):
            return f"{endpoint} is refused: an upstream may not be the container runtime"
        if endpoint.port in REGISTRY_PORTS or self._hits(self.registry, endpoint):
            return f"{endpoint} is refused: an upstream may not be the registry"
        if self._hits(self.listeners, endpoint):
            return f"{endpoint} is refused: an upstream may not be one of gogeta's own listeners"
        address = _address(endpoint.host)
        if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
            return f"{endpoint} is refused: an upstream may not be a link-local, multicast or unspecified address"
        return None

    def _hits(self, listed: frozenset[Endpoint], endpoint: Endpoint) -> bool:
        return any(
            other.port == endpoint.port
            and (
                _same_host(other.host, endpoint.host)
                or (other.host in _UNSPECIFIED and (_is_loopback(endpoint.host) or endpoint.host in self.local))
            )
            for other in listed
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # An IPv4 address in IPv6 clothes reaches the same machine.
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host in _LOOPBACK_NAMES or host.endswith(".localhost")


def _same_host(one: str, other: str) -> bool:
    # All loopback addresses are one machine here: 127.0.0.2 reaches what listens on every 127/8 address.
    if _is_loopback(one) and _is_loopback(other):
        return True
    first, second = _address(one), _address(other)
    return one == other if first is None or second is None else first == second
