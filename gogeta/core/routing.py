"""From a request's host to a tenant: exact first, then the longest wildcard, then the default tenant.

Two tenants that claim one host cannot both have it; ``apply`` refuses that, and should the registry hold it all the
same, the older claim wins and the conflict is reported: routing never depends on the order of reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gogeta.domain.errors import HostConflictError
from gogeta.domain.hosts import DEFAULT_HOST, normalise_host

Claim = tuple[int, str]
"""Age (revision at which the tenant was created) and name: the smallest wins."""


class RoutingTable:
    """Hosts to tenant names. Looked up by the raw ``Host`` of a request; answers are cached, bounded."""

    CACHE: Final = 8192

    def __init__(self) -> None:
        """An empty table: every host is unknown."""
        self._claims: dict[str, list[Claim]] = {}
        self._cache: dict[bytes, str | None] = {}

    def __repr__(self) -> str:
        """One line for logs."""
        return f"<RoutingTable {len(self._claims)} hosts>"

    def claim(self, name: str, age: int, hosts: Iterable[str]) -> tuple[HostConflictError, ...]:
        """Give a tenant its hosts; the conflicts this makes, for a log: the older claim wins."""
        self._cache.clear()
        conflicts = []
        for host in hosts:
            claims = self._claims.setdefault(host, [])
            claims.append((age, name))
            claims.sort()
            if len(claims) > 1:
                conflicts.append(HostConflictError(host, claims[0][1], claims[-1][1] if claims[0][1] == name else name))
        return tuple(conflicts)

    def release(self, name: str, hosts: Iterable[str]) -> None:
        """Take a tenant's hosts back."""
        self._cache.clear()
        for host in hosts:
            claims = [claim for claim in self._claims.get(host, ()) if claim[1] != name]
            if claims:
                self._claims[host] = claims
            else:
                self._claims.pop(host, None)

    def find(self, raw: bytes) -> str | None:
        """The tenant for a request's host as it was written; None when nobody claims it.

        Raises ValueError when it is no host at all.
        """
        try:
            return self._cache[raw]
        except KeyError:
            found = self.resolve(normalise_host(raw.decode("ascii", "replace")))
            if len(self._cache) >= self.CACHE:
                # Hostile hosts could fill it; starting over is cheaper than keeping an order.
                self._cache.clear()
            self._cache[bytes(raw)] = found
            return found

    def resolve(self, host: str) -> str | None:
        """The tenant for a normalised host."""
        claims = self._claims.get(host)
        if claims is None and not host.startswith("["):
            rest = host
            while claims is None and "." in rest:
                rest = rest.partition(".")[2]
                claims = self._claims.get("*." + rest)
        claims = claims or self._claims.get(DEFAULT_HOST)
        return claims[0][1] if claims else None
