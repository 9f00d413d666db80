"""Leading by lease: who alone may act for a group, and a store through which nobody else can write.

Of several processes of one group one leads. It holds a key under a lease; whoever finds the key missing writes it by
compare-and-set. A leader that was frozen or cut off longer than its lease may still believe that it leads, so two
things are promised instead of trusted: every commit through its ``FencedStore`` compares the leader key, and is
refused once the key is another's; and the lead itself says no (``check``) as soon as its lease may have ended by its
own clocks.

It knows keys, leases and clocks, and nothing of what a leader does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from gogeta.domain.errors import InvalidInputError
from gogeta.domain.state import Leader
from gogeta.kit.clock import exact, monotonic
from gogeta.registry import keys
from gogeta.registry.codec import decode, encode
from gogeta.registry.membership import end_lease
from gogeta.registry.store import (
    Changes,
    Committed,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryError,
    Store,
)

logger = logging.getLogger(__name__)

MARGIN: Final = 0.1
"""Part of a lease's time that is left out at its end: clocks of two machines do not run at quite the same speed."""


class NotLeadingError(RegistryError):
    """Another process leads now, or may lead: nothing was done. It is not repeated; who leads does what is needed."""


class Lead:
    """One term of leading one group."""

    def __init__(self, group: str, revision: int, lease: int, ttl: float, asked_at: tuple[float, float]) -> None:
        """``revision``: of the leader key as we wrote it; ``asked_at``: as ``moment``, when the lease was asked for."""
        self.group = group
        self.key = keys.leader_key(group)
        self.revision = revision
        self.lease = lease
        self._ttl = ttl
        self._asked_at = asked_at
        self.lost = asyncio.Event()
        """Set when it is known that this term is over."""

    def __repr__(self) -> str:
        """One line: which group and term, and whether it holds."""
        return f"<Lead of {self.group} since revision {self.revision}: {'holds' if self.holds else 'does not hold'}>"

    @property
    def holds(self) -> bool:
        """Whether the lease cannot have ended yet, by our own clocks."""
        # Two clocks: a loop's own stands still while one of its callbacks does, and only that one moves in tests.
        passed = max(now - then for now, then in zip(moment(), self._asked_at, strict=True))
        return not self.lost.is_set() and passed < self._ttl * (1 - MARGIN)

    def check(self) -> None:
        """Raises NotLeadingError unless the lead holds at this very moment."""
        if not self.holds:
            raise NotLeadingError(f"the lease as leader of {self.group} may have ended")

    async def prove(self, store: Store) -> None:
        """Ask the registry whether we still lead, and check the clocks after it. Raises RegistryError if we may not."""
        entry = await store.get(self.key)
        if entry is None or entry.revision != self.revision:
            self.lose()
        self.check()

    def prolonged(self, asked_at: tuple[float, float]) -> None:
        """The lease was prolonged by a call that began at ``asked_at``."""
        self._asked_at = asked_at

    def lose(self) -> None:
        """This term is over."""
        self.lost.set()


def moment() -> tuple[float, float]:
    """Now on the loop's clock and on the system's."""
    return monotonic(), exact()


def leader_of(entry: Entry) -> Leader:
    """Who a leader key names; what cannot be read is led by somebody all the same."""
    try:
        return decode(Leader, entry.value, what=entry.key)
    except InvalidInputError as error:
        logger.warning("%s", error)
        return Leader(by="somebody")


async def stand(store: Store, group: str, leader: Leader, ttl: float, over: int = 0) -> Lead | None:
    """Become the leader of ``group`` if its key has revision ``over`` (0: there is none); None when another did.

    Raises RegistryError: then nobody leads by this call for longer than ``ttl``.
    """
    key, asked_at = keys.leader_key(group), moment()
    lease = await store.grant(ttl)
    try:
        result = await store.commit([Put(key, encode(leader), lease)], [Guard(key, over)])
    except BaseException:
        await end_lease(store, lease)
        raise
    if not result.happened:
        await end_lease(store, lease)
        return None
    return Lead(group, result.revision, lease, ttl, asked_at)


class FencedStore:
    """A store whose every commit happens only while one lead lasts. Reads go through as they are."""

    def __init__(self, store: Store, lead: Lead) -> None:
        """``store`` is used and not owned."""
        self._store = store
        self._lead = lead

    def __repr__(self) -> str:
        """One line: the store and the lead."""
        return f"<FencedStore {self._store!r}, {self._lead!r}>"

    async def get(self, key: str) -> Entry | None:
        """As the store."""
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        """As the store."""
        return await self._store.list(prefix)

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """As the store, and only while we lead: NotLeadingError otherwise, and nothing happened."""
        lead = self._lead
        if lead.lost.is_set():
            raise NotLeadingError(f"another process leads {lead.group} now")
        result = await self._store.commit(operations, [*guards, Guard(lead.key, lead.revision)])
        if result.happened:
            return result
        ours = next((entry for entry in result.current if entry.key == lead.key), None)
        if ours is None or ours.revision != lead.revision:
            lead.lose()
            raise NotLeadingError(f"another process leads {lead.group} now")
        return Refused(tuple(entry for entry in result.current if entry.key != lead.key))

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """As the store."""
        return self._store.watch(prefix, after)

    async def grant(self, ttl: float) -> int:
        """As the store."""
        return await self._store.grant(ttl)

    async def keep_alive(self, lease: int) -> bool:
        """As the store."""
        return await self._store.keep_alive(lease)

    async def revoke(self, lease: int) -> None:
        """As the store."""
        await self._store.revoke(lease)

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """As the store."""
        return self._store.endpoints

    async def close(self) -> None:
        """Nothing: the store is another's."""
