"""The listener a visitor came in by: what it makes of a connection, and what of one that never became a visitor.

A connection may have to say who it is for (PROXY protocol) and to be made secure (TLS) before its first request; see
``arriving.py``. Afterwards the listener is only what its requests are told to have come in by.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gogeta.core.forwarding import Forwarding
    from gogeta.net.arriving import Arrival
    from gogeta.net.certificates import Certificates


class TurnedAway(StrEnum):
    """Why a connection ended before it could ask anything. A closed set: metrics have it as a label."""

    CONNECTIONS = "too-many-connections"
    PROXY_HEADER = "proxy-header-invalid"
    PROXY_UNTRUSTED = "proxy-header-untrusted"
    PROXY_TIMEOUT = "proxy-header-timeout"
    PLAIN_HTTP = "plain-http"
    NOT_TLS = "not-tls"
    HELLO = "tls-hello-invalid"
    NO_CERTIFICATE = "tls-no-certificate"
    TLS_VERSION = "tls-version"
    TLS_ALGORITHMS = "tls-algorithms"
    TLS_REJECTED = "tls-rejected-by-visitor"
    TLS_OTHER = "tls-error"
    TLS_TIMEOUT = "tls-timeout"
    LEFT = "left"


class Listener:
    """One address on which visitors are served."""

    __slots__ = ("arriving", "certificates", "forwarding", "handshakes", "proxy_protocol", "turned_away")

    def __init__(
        self, forwarding: Forwarding, certificates: Certificates | None = None, *, proxy_protocol: bool = False
    ) -> None:
        """With ``certificates`` TLS is spoken; with ``proxy_protocol`` every connection begins with its header."""
        self.forwarding = forwarding
        """Writes what tenants are told of visitors that came in here."""
        self.certificates = certificates
        self.proxy_protocol = proxy_protocol
        self.arriving: set[Arrival] = set()
        """Connections that are not visitors yet."""
        self.handshakes = 0
        """TLS handshakes that succeeded."""
        self.turned_away: Counter[TurnedAway] = Counter()

    def __repr__(self) -> str:
        """One line for logs and tests."""
        scheme = "https" if self.secure else "http"
        return f"<Listener {scheme} :{self.forwarding.port}, {len(self.arriving)} arriving>"

    @property
    def secure(self) -> bool:
        """Whether its visitors speak TLS."""
        return self.certificates is not None

    @property
    def plain(self) -> bool:
        """Whether a connection is a visitor from its first byte on."""
        return self.certificates is None and not self.proxy_protocol
