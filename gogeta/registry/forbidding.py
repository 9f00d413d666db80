"""Which upstreams no tenant may have, by what the registry knows of our own processes."""

from __future__ import annotations

from collections.abc import Iterable

from gogeta.domain.state import Member
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.kit.local_addresses import local_addresses


def forbidden_upstreams(
    members: Iterable[Member], registry: Iterable[tuple[str, int]], listeners: Iterable[Endpoint] = ()
) -> Forbidden:
    """The addresses that no upstream may have, as far as they are known now."""
    members = tuple(members)
    return Forbidden(
        listeners=frozenset({*listeners, *(endpoint for member in members for endpoint in member.listeners)}),
        registry=frozenset(Endpoint(host, port) for host, port in registry),
        runtime=frozenset(endpoint for member in members for endpoint in member.runtime),
        local=local_addresses(),
    )
