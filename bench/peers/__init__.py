"""The proxies that are measured: gogeta, and whatever of the others this machine has."""

from __future__ import annotations

from typing import Final

from bench.peers import caddy, gogeta, golang, haproxy, nginx, plain
from bench.peers.peer import Peer

PEERS: Final[tuple[Peer, ...]] = (
    gogeta.PEER,
    nginx.PEER,
    haproxy.PEER,
    golang.PEER,
    caddy.PEER,
    plain.PEER,
)
