"""Asking for wakes: one compare-and-set per tenant at a time, whoever asks and however many wait.

The wake belongs to the system, not to the request: it goes on when the visitor leaves. The waker only changes the
desired state; what becomes of it is heard from the mirror.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gogeta.domain.errors import GogetaError, TransitionRefusedError, UnknownTenantError
from gogeta.domain.lifecycle import Cause, Meeting
from gogeta.kit.backoff import Backoff
from gogeta.registry.store import RegistryUnavailableError

if TYPE_CHECKING:
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy
    from gogeta.registry.registry import Registry

logger = logging.getLogger(__name__)

_NEWS_PATIENCE: Final = 5.0
"""Seconds to wait for the mirror to bring the news of our own change before asking again."""


class Waker:
    """Wakes tenants through the registry."""

    def __init__(self, proxy: Proxy, registry: Registry) -> None:
        """``registry`` is where desired states are changed."""
        self._proxy = proxy
        self._registry = registry
        self._asking: set[str] = set()
        """Tenants whose wake has been sent to the registry and not been answered."""
        self._unreachable: set[str] = set()

    def unreachable(self, entry: Entry) -> bool:
        """Whether the last try to wake this tenant did not reach the registry, or is still without an answer."""
        return entry.name in self._unreachable or entry.name in self._asking

    def wake(self, entry: Entry, cause: Cause) -> None:
        """Ask for a wake, unless that is under way already."""
        if entry.waking is None or entry.waking.done():
            entry.waking = self._proxy.tasks.start(self._wake(entry, cause), f"wake {entry.name}")
        else:
            self._proxy.tally.wakes["joined"] += 1

    async def _wake(self, entry: Entry, cause: Cause) -> None:
        backoff = Backoff(first=0.05, limit=2.0)
        wakes = self._proxy.tally.wakes
        while entry.meeting is Meeting.WAKE and self._proxy.fleet.known(entry):
            self._asking.add(entry.name)
            try:
                change = await self._registry.change_desired(entry.name, cause, known=entry.record)
            except (TransitionRefusedError, UnknownTenantError) as refusal:
                wakes["refused"] += 1
                logger.info("tenant %s is not woken: %s", entry.name, refusal)
                await asyncio.sleep(backoff.next())
            except RegistryUnavailableError as error:
                wakes["unavailable"] += 1
                self._unreachable.add(entry.name)
                logger.warning("tenant %s cannot be woken right now: %s", entry.name, error)
                if not entry.in_flight:
                    break
                await asyncio.sleep(backoff.next())
            except GogetaError as error:
                wakes["failed"] += 1
                logger.error("tenant %s cannot be woken: %s", entry.name, error)  # noqa: TRY400 - an expected trouble
                if not entry.in_flight:
                    break
                await asyncio.sleep(backoff.next())
            else:
                self._unreachable.discard(entry.name)
                wakes["asked" if change.changed else "joined"] += 1
                self._asking.discard(entry.name)
                await self._news(entry, change.revision)
            finally:
                self._asking.discard(entry.name)
        self._unreachable.discard(entry.name)

    async def _news(self, entry: Entry, revision: int) -> None:
        """Wait until the mirror has caught up with our own change."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _NEWS_PATIENCE
        while entry.record.desired_revision < revision and loop.time() < give_up:  # noqa: ASYNC110 - bounded, and rare
            await asyncio.sleep(0.01)

    async def report(self, entry: Entry) -> None:
        """Tell passivator that a tenant does not answer as its observed state says."""
        try:
            await self._registry.suspect(entry.name, entry.record.observed.instance)
        except GogetaError as error:
            logger.info("tenant %s: the suspicion could not be reported: %s", entry.name, error)
