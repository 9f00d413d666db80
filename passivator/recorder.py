"""Writes one tenant's observed state to the registry: the latest one, in order, by compare-and-set.

passivator decides on its own view at once and lets the writing follow; values that are overtaken before they were
written are left out. While the registry is away the latest value is kept and written when it is back. Two kinds of
writing do not follow but lead: ``flush`` (it must be written before we go on) and the two announcements (only if the
tenant should still not run, or is still not declared). It knows no runtime and decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from gogeta.domain.lifecycle import Event, next_observed
from gogeta.domain.state import ObservedState
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import wall_ms
from gogeta.kit.tasks import Tasks, first_of
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryError

logger = logging.getLogger(__name__)

LULL: Final = 0.02
"""Seconds that steps of a quick start are held back, so that they do not stand before its result."""


class Recorder:
    """The observed state of one tenant, as decided (``observed``) and as written (``written``, ``revision``)."""

    def __init__(self, registry: Registry, name: str, observed: ObservedState, revision: int, tasks: Tasks) -> None:
        """Begin with what the registry holds."""
        self._registry = registry
        self._name = name
        self._tasks = tasks
        self.observed = observed
        self.written = observed
        self.revision = revision
        self._urgent = asyncio.Event()
        self._lock = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether something decided is not written yet."""
        return self.observed != self.written

    def after(self, event: Event, **parts: object) -> ObservedState:
        """What the tenant is after ``event``, by the table; ``parts`` are the other fields that change with it.

        An address, a phase, a place in the queue and a reason belong to one moment: they are empty unless given.
        """
        before = self.observed
        state = next_observed(before.state, event)
        since = before.since if state is before.state else wall_ms()
        fields = {"state": state, "since": since, "endpoints": (), "phase": "", "ahead": None, "reason": None, **parts}
        return replace(before, **fields)  # type: ignore[arg-type] # the fields of an observed state, each of its own type

    def note(self, observed: ObservedState, *, urgent: bool = False) -> None:
        """Decide that this is what the tenant is; it is written soon, or at once when ``urgent``."""
        self.observed = observed
        if urgent:
            self._urgent.set()
        if self.pending and (self._writer is None or self._writer.done()):
            self._writer = self._tasks.start(self._write(), f"record {self._name}")

    def adopt(self, observed: ObservedState, revision: int) -> None:
        """Somebody else wrote; take it as what is, unless something of ours is still to be written over it."""
        if revision > self.revision and not self.pending:
            self.observed = self.written = observed
            self.revision = revision

    async def flush(self) -> None:
        """Wait until what is decided is written, however long the registry is away."""
        self.note(self.observed, urgent=True)
        while self._writer is not None and not self._writer.done():
            # Shielded: who stops waiting must not stop the writing.
            await asyncio.shield(self._writer)
            self.note(self.observed, urgent=True)

    async def announce_stop(self, observed: ObservedState, desired_revision: int) -> bool:
        """Write ``observed`` if the desired state still has that revision; else False, and nothing has changed.

        Raises RegistryError: then it is not known, and nothing may be stopped.
        """
        return await self._announce(observed, desired_revision=desired_revision)

    async def announce_removal(self, observed: ObservedState) -> bool:
        """Write ``observed`` if there is still no declaration; else False, and nothing has changed.

        Raises RegistryError: then it is not known, and nothing may be removed.
        """
        return await self._announce(observed, undeclared=True)

    async def _announce(
        self, observed: ObservedState, *, desired_revision: int | None = None, undeclared: bool = False
    ) -> bool:
        await self.flush()
        async with self._lock:
            revision = await self._registry.observe(
                self._name, observed, self.revision, desired_revision=desired_revision, undeclared=undeclared
            )
            if revision is None:
                await self._look_again()
                return False
            self.observed = self.written = observed
            self.revision = revision
            return True

    async def claim(self, observed: ObservedState, holder: str) -> bool:
        """Write ``observed``, which makes the tenant our group's; False when another was first: nothing has changed.

        ``holder`` is the group that had it; nobody may lead that one. Raises RegistryError: then it is not known.
        """
        await self.flush()
        async with self._lock:
            revision = await self._registry.observe(self._name, observed, self.revision, unled=holder)
            if revision is None:
                await self._look_again()
                self.observed = self.written
                return False
            self.observed = self.written = observed
            self.revision = revision
            return True

    async def _write(self) -> None:
        backoff = Backoff(first=0.1, limit=3.0)
        await first_of(self._urgent, timeout=LULL)
        while self.pending:
            self._urgent.clear()
            async with self._lock:
                observed = self.observed
                try:
                    revision = await self._registry.observe(self._name, observed, self.revision)
                    if revision is None:
                        await self._look_again()
                        logger.warning("tenant %s: somebody else wrote its observed state", self._name)
                    else:
                        self.written, self.revision = observed, revision
                        backoff.reset()
                        continue
                except RegistryError as error:
                    logger.debug("tenant %s: its state is not written yet: %s", self._name, error)
                    # It may have been written, the answer lost: the next try would be refused by its own write.
                    self.revision = await self._revision_after(error)
            if self.pending:
                await asyncio.sleep(backoff.next())

    async def _revision_after(self, _error: RegistryError) -> int:
        try:
            observed, revision = await self._registry.observed(self._name)
        except RegistryError:
            return self.revision
        self.written = observed
        return revision

    async def _look_again(self) -> None:
        self.written, self.revision = await self._registry.observed(self._name)
