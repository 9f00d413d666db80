"""Small mirrors beside the tenants': last accesses for the idle policy, proxies' hints, and which proxies there are.

They fold keys into calls and decide nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gogeta.domain.errors import InvalidInputError
from gogeta.domain.state import LastAccess, Member, Suspicion
from gogeta.domain.timeline import WakeReport
from gogeta.kit.clock import monotonic
from gogeta.registry import keys
from gogeta.registry.codec import decode
from gogeta.registry.mirror import Mirror
from gogeta.registry.store import Change, Entry, Listing, Store
from passivator.core.idle import IdlePolicy
from passivator.core.lost import LostProxies

logger = logging.getLogger(__name__)


class AccessWatch:
    """Tells the idle policy of every last access, and who had what in flight to those who look for lost proxies."""

    def __init__(self, store: Store, policy: IdlePolicy, lost: LostProxies) -> None:
        """Mirrors ``keys.ACCESS`` into ``policy`` and ``lost``."""
        self._policy = policy
        self._lost = lost
        self._known: set[str] = set()
        self.source = Mirror(store, keys.ACCESS, self)

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""
        listed = {entry.key for entry in listing.entries}
        for entry in listing.entries:
            self._tell(entry.key, entry)
        for key in self._known - listed:
            self._tell(key, None)
        self._known = listed

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        self._tell(change.key, change.entry)
        (self._known.discard if change.entry is None else self._known.add)(change.key)

    def _tell(self, key: str, entry: Entry | None) -> None:
        at, in_flight = 0, 0
        name, now = keys.name_of(key, keys.ACCESS), monotonic()
        if entry is None:
            self._lost.forget(name)
        else:
            try:
                access = decode(LastAccess, entry.value, what=key)
                at, in_flight = access.at, access.in_flight
                self._lost.wrote(name, access.by, in_flight, now)
            except InvalidInputError as error:
                # That it changed is what counts, and it did.
                logger.warning("%s", error)
        revision = entry.revision if entry is not None else 0
        self._policy.accessed(name, revision, at, in_flight, now)


class MemberWatch:
    """The live processes of ours, as of now, in ``members``."""

    def __init__(self, store: Store, lost: LostProxies, changed: Callable[[], None]) -> None:
        """Mirrors ``keys.MEMBERS``; tells ``lost`` which proxies are there, then calls ``changed``."""
        self._lost = lost
        self._changed = changed
        self._by_key: dict[str, Member] = {}
        self.source = Mirror(store, keys.MEMBERS, self)

    @property
    def members(self) -> tuple[Member, ...]:
        """All that can be read."""
        return tuple(self._by_key.values())

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""
        self._by_key.clear()
        for entry in listing.entries:
            self._take(entry)
        self._tell()

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        if change.entry is None:
            self._by_key.pop(change.key, None)
        else:
            self._take(change.entry)
        self._tell()

    def _take(self, entry: Entry) -> None:
        try:
            self._by_key[entry.key] = decode(Member, entry.value, what=entry.key)
        except InvalidInputError as error:
            logger.warning("skipped %s", error)

    def _tell(self) -> None:
        # As they sign their accesses.
        self._lost.present({f"{member.kind}/{member.id}" for member in self._by_key.values()}, monotonic())
        self._changed()


class SuspectWatch:
    """Passes on every hint: tenant and the instance that did not answer."""

    def __init__(self, store: Store, suspected: Callable[[str, str], None]) -> None:
        """Mirrors ``keys.SUSPECTS``; ``suspected`` must not block and not raise."""
        self._suspected = suspected
        self.source = Mirror(store, keys.SUSPECTS, self)

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""
        for entry in listing.entries:
            self._tell(entry)

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        if change.entry is not None:
            self._tell(change.entry)

    def _tell(self, entry: Entry) -> None:
        try:
            instance = decode(Suspicion, entry.value, what=entry.key).instance
        except InvalidInputError as error:
            logger.warning("%s", error)
            instance = ""
        self._suspected(keys.name_of(entry.key, keys.SUSPECTS), instance)


class WakeWatch:
    """Passes on every new report of a wake: tenant and report.

    What is there already when we come is not told: whoever writes a tenant's timeline next reads it then.
    """

    def __init__(self, store: Store, reported: Callable[[str, WakeReport], None]) -> None:
        """Mirrors ``keys.WAKES``; ``reported`` must not block and not raise."""
        self._reported = reported
        self.source = Mirror(store, keys.WAKES, self)

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        if change.entry is None:
            return
        try:
            report = decode(WakeReport, change.entry.value, what=change.key)
        except InvalidInputError as error:
            logger.warning("%s", error)
            return
        self._reported(keys.name_of(change.key, keys.WAKES), report)
