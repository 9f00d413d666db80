"""Who the visitor is, told to the tenant: ``X-Forwarded-*`` and ``Forwarded`` (RFC 7239).

Only a peer in the list of trusted proxies may speak for somebody else; from everybody else these fields are dropped and
written anew.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from gogeta.core.request import RequestHead

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CACHE: Final = 4096
_MAX_CHAIN: Final = 4096
"""Longest chain of addresses that is carried on, in bytes."""


class Forwarding:
    """Writes the fields for one listener."""

    def __init__(self, port: int, trusted: Sequence[Network]) -> None:
        """``port`` is the listener's; ``trusted`` the networks whose word is taken."""
        self.port = port
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

    def fields(self, peer: str, head: RequestHead) -> bytes:
        """The forwarding fields of one request, serialised; the same for every head with the same host and chain."""
        address, node, trusted = self._peer(peer)
        host = head.host
        if not (trusted and head.forwarding):
            return (
                b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
                b'Forwarded: for=%b;host="%b";proto=http\r\n'
                % (address, host, self._port, node, host.replace(b'"', b""))
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
            first(b"x-forwarded-proto", b"http"),
            first(b"x-forwarded-host", host),
            first(b"x-forwarded-port", self._port),
        ) + b"Forwarded: %b\r\n" % chain(b"forwarded", b'for=%b;host="%b";proto=http' % (node, host.replace(b'"', b"")))
