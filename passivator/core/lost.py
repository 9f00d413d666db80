"""Proxies that were lost without a goodbye, and the tenants they had in use: those are not put to sleep for a while.

A proxy whose member key is gone may be dead, and then its visitors are gone with it; or it is frozen, or cut off from
the registry, and serves on. From here both look the same. So what it said last counts: a tenant that it had requests or
tunnels in flight for stays awake until the proxy is heard of again, or until a bounded time has passed.

A proxy that is there writes every tenth of the first idle timeout what it has in flight. One that ends in order writes
that nothing is in flight any more before its key goes; so nothing is held back by a goodbye.

Pure; all times of one monotonic clock. It must not know members' keys or how they are watched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

LEASE: Final = 15.0
"""Seconds within which the key of a proxy that was lost is gone: its lease is 10 s, and the registry takes its time."""


@dataclass(frozen=True, slots=True)
class Held:
    """A tenant is kept awake because of ``by``, until then at the longest."""

    by: str
    until: float


@dataclass(slots=True)
class LostProxies:
    """What proxies said they have in flight, and which of them are there. ``grace`` in seconds."""

    grace: float
    _using: dict[str, dict[str, float]] = field(default_factory=dict)
    """Tenant to those who had it in flight when they last wrote about it, and when that was."""
    _gone: dict[str, float] = field(default_factory=dict)
    """Proxies that have tenants in flight and no key, since when."""
    _here: set[str] = field(default_factory=set)
    _synced: bool = False
    lost: int = 0
    """How many times a proxy was lost while it had a tenant in use."""

    def wrote(self, name: str, by: str, in_flight: int, now: float) -> None:
        """``by`` wrote a last access of tenant ``name``."""
        if in_flight > 0 and by:
            self._using.setdefault(name, {})[by] = now
            if self._synced and by not in self._here:
                # It writes without being listed: of each tenant, it is lost from its last word about that one.
                self._gone.setdefault(by, now)
            return
        using = self._using.get(name)
        if using is not None and using.pop(by, None) is not None:
            if not using:
                del self._using[name]
            self._tidy()

    def forget(self, name: str) -> None:
        """The tenant, or its last access, is gone."""
        if self._using.pop(name, None) is not None:
            self._tidy()

    def present(self, here: set[str], now: float) -> None:
        """These proxies have a member key now: all that have one. Called with every change of them."""
        lost = {by for using in self._using.values() for by in using if by not in here}
        for by in lost:
            if by not in self._gone:
                self._gone[by] = now
                self.lost += 1
        for by in here:
            self._gone.pop(by, None)
        self._here, self._synced = set(here), True

    def held(self, name: str, timeout: float, now: float) -> Held | None:
        """Who keeps the tenant awake although it was silent for ``timeout``; None when nobody does."""
        using = self._using.get(name)
        if not using:
            return None
        longest: Held | None = None
        for by, wrote_at in tuple(using.items()):
            gone = self._gone.get(by)
            # One that is listed and silent is about to lose its key, or had said meanwhile what we could not see.
            until = wrote_at + timeout + LEASE if gone is None else max(gone, wrote_at) + self.grace
            if until <= now:
                if gone is not None:
                    del using[by]
                continue
            if longest is None or until > longest.until:
                longest = Held(by, until)
        if not using:
            del self._using[name]
            self._tidy()
        return longest

    def _tidy(self) -> None:
        named = {by for using in self._using.values() for by in using}
        self._gone = {by: since for by, since in self._gone.items() if by in named}
