"""Telling passivator what this proxy has seen: a stop waits until every proxy sends the tenant nothing new.

When a tenant is to sleep or stop, its entry changes and nothing new is forwarded from that moment on. Then this proxy
says so in its member key (``seen``: a revision), and names the tenants that are in flight here all the same
(``draining``) until they are not. One write tells of any number of tenants; none is made for tenants that nothing runs
of.

It decides nothing: whether a sleep is taken back is the forwarder's business.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

from gogeta.domain.lifecycle import Desired, Observed

if TYPE_CHECKING:
    from gogeta.domain.state import Member
    from gogeta.net.fleet import Entry

LOOK: Final = 0.05
"""Seconds between looks at whether what was in flight has ended; only while something is."""
MOST_NAMED: Final = 1000
"""Most tenants named as draining: those beyond are waited for by nobody, and a member stays a small value."""


class Yielding:
    """What this proxy gave up, as its member key says it: ``member`` is the latest, ``changed`` is set with it."""

    def __init__(self) -> None:
        """Nothing to say before ``announce`` is told who we are."""
        self.member: Member
        self.changed = asyncio.Event()
        self._asked = asyncio.Event()
        self._seen = 0
        self._leaving: dict[str, Entry] = {}

    def introduce(self, member: Member) -> None:
        """Who we are in the registry."""
        self.member = replace(member, seen=self._seen)

    def told(self) -> Member:
        """Us, as our member key is to say it."""
        return self.member

    def noted(self, entry: Entry) -> None:
        """An entry took another record: called after everything that follows from it was begun."""
        record = entry.record
        if record.desired.state is Desired.STARTED or record.observed.state is Observed.STOPPED:
            if self._leaving.pop(entry.name, None) is not None:
                self._asked.set()
            return
        if record.desired_revision > self._seen or entry.name in self._leaving or entry.in_use > len(entry.held):
            self._seen = max(self._seen, record.desired_revision)
            self._leaving[entry.name] = entry
            self._asked.set()

    async def run(self) -> NoReturn:
        """Keep ``member`` true, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._say()
            while self._leaving:
                await asyncio.sleep(LOOK)
                self._say()

    def _say(self) -> None:
        self._leaving = {name: entry for name, entry in self._leaving.items() if entry.in_use > len(entry.held)}
        member = replace(self.member, seen=self._seen, draining=tuple(sorted(self._leaving)[:MOST_NAMED]))
        if member != self.member:
            self.member = member
            self.changed.set()
