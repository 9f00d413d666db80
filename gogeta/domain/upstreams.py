"""Upstream addresses that a tenant may name, and those it may never reach.

A tenant that names its own upstreams could otherwise turn the proxy into a way to the registry, to the runtime's
socket, to a cloud's metadata service, or back into the proxy itself. The rules are pure: names are judged when they are
declared, addresses once more when they are known (a name may resolve to something else later, and the path of a unix
socket may lead through symbolic links).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from gogeta.domain.hosts import normalise_host, split_authority

_HTTP_PORT: Final = 80
RUNTIME_PORTS: Final = frozenset({2375, 2376, 2377})
REGISTRY_PORTS: Final = frozenset({2379, 2380})
_LOOPBACK_NAMES: Final = ("localhost",)
_UNSPECIFIED: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never bound

RUNTIME_SOCKETS: Final = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/buildkit/buildkitd.sock",
)
"""Where container runtimes listen unless told otherwise (``/var/run`` leads to ``/run``)."""
_RUNTIME_NAMES: Final = frozenset(path.rpartition("/")[2] for path in RUNTIME_SOCKETS)
_RUNTIME_FOLDERS: Final = frozenset({"docker", "containerd", "podman", "crio", "buildkit"})
_RUNTIME_FOLDER: Final = re.compile(r"/run/(?:user/\d+/)?([^/]+)/").match
_REGISTRY_SOCKET: Final = re.compile(r".*/(?:etcd/.*|etcd[^/]*\.sock|[^/]*:(?:2379|2380))").fullmatch
"""etcd names a unix listener by host and port."""
_OWN_SOCKET: Final = re.compile(r".*/(?:gogeta|passivator)[^/]*").fullmatch
_MAX_PATH: Final = 1024


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address that serves: a host name or address (IPv6 without brackets) and a port from 1 to 65535."""

    host: str
    """A name or an address."""
    port: int
    """From 1 to 65535."""

    @property
    def authority(self) -> str:
        """``host:port`` as a URL and a ``Host`` field have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """The authority."""
        return self.authority


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A unix socket of this machine that serves, by its absolute path. HTTP without TLS, as at any other upstream."""

    path: str

    def __str__(self) -> str:
        """As it is declared."""
        return f"unix:{self.path}"


Upstream = Endpoint | UnixEndpoint
"""Where a tenant answers. What we run ourselves is always reached by TCP; only a declared upstream may be a socket."""


def upstream_url(upstream: Upstream) -> str:
    """The upstream as it is declared; ``parse_upstream`` reads it back."""
    return str(upstream) if isinstance(upstream, UnixEndpoint) else f"http://{upstream.authority}"


_RULE: Final = "an upstream is a plain http URL such as http://10.0.0.7:8080, or a socket such as unix:/run/app.sock"
_OTHER_SPELLINGS: Final = re.compile(
    r"(?:http\+unix:/*|https?://unix:|unix://|unix/(?=/))(?P<path>(?:/|%2f)[^:]*)|(?P<bare>/[^:]*)", re.IGNORECASE
).match


def parse_upstream(url: str) -> Upstream:
    """The endpoint of a plain ``http://host[:port]`` URL, or the socket of ``unix:/absolute/path``.

    Raises ValueError naming the rule for anything more: another scheme, credentials, a path, a query, a fragment; for
    what other programs write for a unix socket it says what to write here.
    """
    rule = _RULE
    if url.lower().startswith("unix:") and not url.startswith("unix://"):
        return _parse_socket(url)
    if (other := _OTHER_SPELLINGS(url)) is not None:
        path = unquote(other["path"] or other["bare"])
        raise ValueError(f"{rule}: for the socket {path!r} write {f'unix:{path}'!r}, not {url!r}")
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


def _parse_socket(text: str) -> UnixEndpoint:
    path = text[len("unix:") :]
    if path[:1] in ("@", "\0"):
        raise ValueError(f"{_RULE}: an abstract socket such as {text!r} belongs to whoever takes its name first")
    if not path.startswith("/"):
        raise ValueError(f"{_RULE}: the path of {text!r} is not absolute")
    if not path.isprintable() or path != path.strip():
        raise ValueError(f"{_RULE}: {text!r} has control characters, or blanks at its ends")
    if len(path.encode()) > _MAX_PATH:
        raise ValueError(f"{_RULE}: a path may have {_MAX_PATH} bytes")
    # One socket, one spelling: connections are kept by it, and the rules below compare it.
    if any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise ValueError(f"{_RULE}: {text!r} has an empty part, '.' or '..'")
    return UnixEndpoint(path)


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

    def rule_against(self, endpoint: Upstream) -> str | None:
        """The rule that forbids the endpoint, as a sentence, or None when it may be used.

        Of a unix socket this judges the path as it stands: whoever connects follows its links first, and asks again.
        """
        if isinstance(endpoint, UnixEndpoint):
            return _rule_against_socket(endpoint)
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
                or (other.host in _UNSPECIFIED and (is_loopback(endpoint.host) or endpoint.host in self.local))
            )
            for other in listed
        )


def _rule_against_socket(endpoint: UnixEndpoint) -> str | None:
    path = endpoint.path
    if path.startswith("/var/run/"):
        path = path.removeprefix("/var")
    folder = _RUNTIME_FOLDER(path)
    if path.rpartition("/")[2] in _RUNTIME_NAMES or (folder is not None and folder[1] in _RUNTIME_FOLDERS):
        return f"{endpoint} is refused: an upstream may not be the container runtime"
    if _REGISTRY_SOCKET(path):
        return f"{endpoint} is refused: an upstream may not be the registry"
    if _OWN_SOCKET(path):
        return f"{endpoint} is refused: an upstream may not be one of gogeta's own sockets"
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # An IPv4 address in IPv6 clothes reaches the same machine.
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def is_unspecified(host: str) -> bool:
    """Whether it stands for all addresses of a machine: ``0.0.0.0``, ``::``."""
    address = _address(host.strip("[]"))
    return address is not None and address.is_unspecified


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host in _LOOPBACK_NAMES or host.endswith(".localhost")


def _same_host(one: str, other: str) -> bool:
    # All loopback addresses are one machine here: 127.0.0.2 reaches what listens on every 127/8 address.
    if is_loopback(one) and is_loopback(other):
        return True
    first, second = _address(one), _address(other)
    return one == other if first is None or second is None else first == second
