"""The visitor's own address where trusted proxies stand in between: the chain they tell, read from its end. Pure.

Each proxy adds whom it has seen at the end of the chain. So the last address that is not a trusted proxy's is the one
that a trusted proxy has seen; everything before it is only what that visitor says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from gogeta.core.field_lines import Pairs

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FOR: Final = re.compile(r"(?:^|;)\s*for=(\"[^\"]*\"|[^;\s]*)", re.IGNORECASE).search
_IN_BRACKETS: Final = re.compile(r"\[([^\]]*)\](?::\d+)?").fullmatch
_WITH_PORT: Final = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+").fullmatch


def visitors_address(peer: str, forwarding: Pairs, trusted: Sequence[Network]) -> str:
    """Who asks, as text: the peer, or whom trusted proxies have seen. Empty when they do not say.

    ``forwarding`` are the forwarding fields as they came. ``X-Forwarded-For`` is believed before ``Forwarded``.
    """
    address = _address(peer.partition("%")[0])
    if address is None or not _trusts(address, trusted):
        return peer
    seen: list[str] = []
    for wanted in (b"x-forwarded-for", b"forwarded"):
        for name, value in forwarding:
            if name.lower() == wanted:
                seen += value.decode("latin-1").split(",")
        if seen:
            break
    if not seen:
        return peer
    for node in reversed(seen):
        address = _address(_node(node))
        if address is None:
            return ""
        if not _trusts(address, trusted):
            return str(address)
    return peer


def _trusts(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _node(text: str) -> str:
    text = text.strip()
    if (said := _FOR(text)) is not None:
        text = said[1].strip('"')
    if (bare := _IN_BRACKETS(text) or _WITH_PORT(text)) is not None:
        text = bare[1]
    return text.partition("%")[0]


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
