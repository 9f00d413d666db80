"""Standing for the lead of a group, keeping it, and giving it back: who of several passivators acts.

A follower looks when the leader's key changes and every so often; the key gone, or its holder proved dead on this very
machine, it stands. While it leads, it prolongs its lease, and a term ends as soon as there is word of another leader.
It knows nothing of what is done with the lead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from gogeta.domain.state import Leader
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import wall_ms
from gogeta.kit.tasks import Tasks, first_of
from gogeta.registry import keys
from gogeta.registry.lead import Lead, leader_of, moment, stand
from gogeta.registry.membership import end_lease
from gogeta.registry.mirror import Mirror
from gogeta.registry.store import Change, Entry, Listing, RegistryError, RegistryRefusedError, Store
from passivator.process_mark import ThisProcess

logger = logging.getLogger(__name__)

_LOOKS: Final = 4
"""How often the lease is prolonged, and the leader looked after, in the time of a lease."""
_LONGEST_LOOK: Final = 1.0


class Candidacy:
    """One passivator's part in its group."""

    def __init__(self, store: Store, group: str, *, by: str, process: ThisProcess, ttl: float) -> None:
        """``by`` names us, ``process`` is how others find out that we are dead, ``ttl`` the lease's time in seconds."""
        self._store = store
        self.group = group
        self._by, self._mark, self._is_dead, self._ttl = by, process.mark, process.is_dead, ttl
        self._key = keys.leader_key(group)
        self.lead: Lead | None = None
        """The present term, if there is one."""
        self.role_changed = asyncio.Event()
        """Set when we begin to lead and when we cease to."""
        self.terms = 0
        """How often we have begun to lead."""
        self._leaders = _Leaders(self._heard)
        self._news = asyncio.Event()
        self._keeping = Tasks("lead")
        self._told = ""
        self.leaders_changed: Callable[[], None] = lambda: None
        """Called when another group's leader has come or gone."""
        self.source = Mirror(store, keys.LEADERS, self._leaders)

    def __repr__(self) -> str:
        """One line: the group and our role."""
        return f"<Candidacy in {self.group}: {self.role}>"

    @property
    def role(self) -> str:
        """``leader`` or ``follower``."""
        return "leader" if self.lead is not None else "follower"

    def led(self, group: str) -> bool:
        """Whether a group has a leader, as far as is known here."""
        return group in self._leaders.revisions

    async def run(self, serve: Callable[[Lead], Awaitable[None]], yielded: Callable[[], Awaitable[None]]) -> NoReturn:
        """Stand, serve, lose, stand again, for ever.

        ``serve`` is cancelled when its term is over, and must never end by itself. ``yielded`` is awaited when we find
        out, having led, that another leads now. When cancelled, the lead is kept until ``resign``.
        """
        async with Tasks("candidacy") as tasks:
            tasks.start(self.source.run(), "leaders")
            while True:
                lead = await self._win(yielded)
                self.lead, self._told = lead, ""
                self.terms += 1
                self.role_changed.set()
                logger.info("leading %s", self.group)
                self._keeping.start(self._keep(lead), "lease")
                await self._serve(lead, serve, tasks)
                self.lead = None
                self.role_changed.set()
                logger.warning("not leading %s any more: following", self.group)

    async def resign(self) -> None:
        """Give the lead back, so that another need not wait for the lease; nothing when we do not lead."""
        await self._keeping.close()
        if self.lead is not None:
            lead, self.lead = self.lead, None
            lead.lose()
            await end_lease(self._store, lead.lease)

    async def _serve(self, lead: Lead, serve: Callable[[Lead], Awaitable[None]], tasks: Tasks) -> None:
        async def serving() -> None:
            await serve(lead)

        serves, lost = tasks.start(serving(), "term"), tasks.start(lead.lost.wait(), "end of term")
        await asyncio.wait((serves, lost), return_when=asyncio.FIRST_COMPLETED)
        if not lead.lost.is_set():
            # It ended by itself: a fault, which ends us.
            serves.result()
            raise AssertionError("a part that never ends has ended")
        serves.cancel()
        await asyncio.wait((serves,))
        if not serves.cancelled():
            serves.result()

    async def _keep(self, lead: Lead) -> None:
        pause, told = self._ttl / _LOOKS, False
        while not lead.lost.is_set():
            await first_of(lead.lost, timeout=pause)
            asked_at = moment()
            try:
                if not await self._store.keep_alive(lead.lease):
                    lead.lose()
                    return
            except RegistryError as error:
                logger.debug("the lease of %s is not prolonged: %s", self.group, error)
                pause = min(self._ttl / _LOOKS, 0.5)
                if not lead.holds and not told:
                    logger.warning("the lease of %s may have ended: nothing is started or stopped", self.group)
                    told = True
                continue
            lead.prolonged(asked_at)
            pause, told = self._ttl / _LOOKS, False

    async def _win(self, yielded: Callable[[], Awaitable[None]]) -> Lead:
        backoff = Backoff(first=0.1, limit=1.0)
        while True:
            self._news.clear()
            pause = min(self._ttl / _LOOKS, _LONGEST_LOOK)
            try:
                entry = await self._store.get(self._key)
                if entry is not None and not self._outlived(entry):
                    await self._follow(entry, yielded)
                else:
                    leader = Leader(by=self._by, since=wall_ms(), mark=self._mark)
                    lead = await stand(
                        self._store, self.group, leader, self._ttl, 0 if entry is None else entry.revision
                    )
                    if lead is not None:
                        return lead
                    pause = 0.05
                backoff.reset()
            except RegistryError as error:
                refused = isinstance(error, RegistryRefusedError) and str(error) != self._told
                logger.log(
                    logging.ERROR if refused else logging.DEBUG,
                    "cannot stand for the lead of %s: %s",
                    self.group,
                    error,
                )
                self._told = str(error) if refused else self._told
                pause = backoff.next()
            await first_of(self._news, timeout=pause)

    def _outlived(self, entry: Entry) -> bool:
        """Whether the leader is known to be dead: on this machine, or ourselves in a term that is over."""
        mark = leader_of(entry).mark
        return bool(mark) and (mark == self._mark or self._is_dead(mark))

    async def _follow(self, entry: Entry, yielded: Callable[[], Awaitable[None]]) -> None:
        leader = leader_of(entry).by
        if leader != self._told:
            self._told = leader
            logger.info("%s is led by %s: following", self.group, leader)
            if self.terms:
                await yielded()

    def _heard(self, group: str, revision: int, as_of: int) -> None:
        """As of a revision, a group's leader key has this one (0: there is none)."""
        if group != self.group:
            self.leaders_changed()
            return
        lead = self.lead
        if lead is not None and as_of >= lead.revision and revision != lead.revision:
            lead.lose()
        self._news.set()


class _Leaders:
    """Which groups have a leader: what a mirror of the leaders' keys becomes."""

    def __init__(self, heard: Callable[[str, int, int], None]) -> None:
        """``heard`` takes a group, the revision of its key (0: gone), and that of the news."""
        self._heard = heard
        self.revisions: dict[str, int] = {}

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""
        before = self.revisions
        self.revisions = {keys.name_of(entry.key, keys.LEADERS): entry.revision for entry in listing.entries}
        for group in before.keys() | self.revisions.keys():
            self._heard(group, self.revisions.get(group, 0), listing.revision)

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        group = keys.name_of(change.key, keys.LEADERS)
        if change.entry is None:
            self.revisions.pop(group, None)
        else:
            self.revisions[group] = change.entry.revision
        self._heard(group, self.revisions.get(group, 0), change.revision)
