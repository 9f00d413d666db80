"""Who the visitor is, told to the tenant: ``X-Forwarded-*`` and ``Forwarded`` (RFC 7239).

Only a peer in the list of trusted proxies may speak for somebody else; from everybody else these fields are dropped and
written anew.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from gogeta.core.request import RequestHead
from gogeta.core.via import via_fields, went_through

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CACHE: Final = 4096
_MAX_CHAIN: Final = 4096
"""Longest chain of addresses that is carried on, in bytes."""
_PROTO: Final = re.compile(rb"(?:^|;)\s*proto=\"?(https?)\"?\s*(?:;|$)", re.IGNORECASE).search


class Forwarding:
    """Writes the fields for one listener."""

    def __init__(self, port: int, trusted: Sequence[Network], scheme: bytes = b"http", via: str = "") -> None:
        """``port`` and ``scheme`` are the listener's; ``trusted`` the networks whose word is taken.

        ``via`` is our name in ``Via``; without one the field is left alone.
        """
        self.scheme = scheme
        self.port = port
        self.via = via
        self._via = via_fields(via)
        self._trusted = tuple(trusted)
        self._peers: dict[str, tuple[bytes, bytes, bool]] = {}

    @property
    def port(self) -> int:
        """The listener's port, as visitors' links need it."""
        return int(self._port)

    @port.setter
    def port(self, port: int) -> None:
        self._port = b"%d" % port

    def _peer(self, peer: str) -> tuple[bytes, bytes, bool]:
        known = self._peers.get(peer)
        if known is None:
            try:
                address = ipaddress.ip_address(peer.partition("%")[0])
            except ValueError:
                # A unix socket: only this machine's own processes can be behind it, and it has no address to tell.
                known = (b"unknown", b"unknown", False)
            else:
                mapped = getattr(address, "ipv4_mapped", None) or address
                text = str(mapped).encode()
                node = b'"[%b]"' % text if mapped.version == 6 else text
                known = (text, node, any(mapped in network for network in self._trusted))
            if len(self._peers) >= _CACHE:
                self._peers.clear()
            self._peers[peer] = known
        return known

    def trusts(self, peer: str) -> bool:
        """Whether this address may speak for somebody else."""
        return self._peer(peer)[2]

    def looped(self, head: RequestHead) -> bool:
        """Whether the request has been here before. Always False without a name of ours."""
        return bool(self.via) and went_through(head.fields, self.via)

    def visitors_scheme(self, peer: str, head: RequestHead) -> bytes:
        """``http`` or ``https``: how the visitor asked, as the trusted proxy says, if one was in between.

        Not for the warm path.
        """
        if head.forwarding and self.trusts(peer):
            given = {name.lower(): value for name, value in reversed(head.forwarding)}
            if (said := given.get(b"x-forwarded-proto")) is not None:
                return said.partition(b",")[0].strip(b" \t").lower()
            if (match := _PROTO(given.get(b"forwarded", b"").partition(b",")[0])) is not None:
                return bytes(match[1]).lower()
        return self.scheme

    def fields(self, peer: str, head: RequestHead) -> bytes:
        """The forwarding fields of one request, serialised; the same for all with the same version, host and chain."""
        address, node, trusted = self._peer(peer)
        host = head.host
        scheme = self.scheme
        via = b"" if self._via is None else self._via[head.http11]
        if not (trusted and head.forwarding):
            return (
                b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
                b'Forwarded: for=%b;host="%b";proto=%b\r\n%b'
                % (address, scheme, host, self._port, node, host.replace(b'"', b""), scheme, via)
            )
        given: dict[bytes, list[bytes]] = {}
        for name, value in head.forwarding:
            given.setdefault(name.lower(), []).append(value.strip(b" \t"))

        def first(name: bytes, otherwise: bytes) -> bytes:
            return given.get(name, [otherwise])[0]

        def chain(name: bytes, ours: bytes) -> bytes:
            before = b", ".join(value for value in given.get(name, ()) if value)
            return before + b", " + ours if before and len(before) <= _MAX_CHAIN else ours

        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n" % (
            chain(b"x-forwarded-for", address),
            first(b"x-forwarded-proto", scheme),
            first(b"x-forwarded-host", host),
            first(b"x-forwarded-port", self._port),
        ) + b"Forwarded: %b\r\n%b" % (
            chain(b"forwarded", b'for=%b;host="%b";proto=%b' % (node, host.replace(b'"', b""), scheme)),
            via,
        )
