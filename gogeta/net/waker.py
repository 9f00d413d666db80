"""Asking for wakes: one compare-and-set per tenant at a time, whoever asks and however many wait.

The wake belongs to the system, not to the request: it goes on when the visitor leaves. The waker only changes the
desired state; what becomes of it is heard from the mirror.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gogeta.domain.errors import GogetaError, TransitionRefusedError, UnknownTenantError, WakeBudgetError
from gogeta.domain.lifecycle import Cause, Desired, Meeting
from gogeta.kit.backoff import Backoff
from gogeta.registry.store import RegistryUnavailableError

if TYPE_CHECKING:
    from gogeta.net.doorkeeper import Charge
    from gogeta.net.exchange import Exchange
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

    def wake(self, entry: Entry, cause: Cause, exchange: Exchange | None = None) -> None:
        """Ask for a wake, unless that is under way already; ``exchange``: the visitor's, on whose account it goes."""
        if entry.waking is None or entry.waking.done():
            charge = None if exchange is None else self._proxy.doorkeeper.charge(exchange)
            entry.waking = self._proxy.tasks.start(self._wake(entry, cause, charge), f"wake {entry.name}")
        else:
            self._proxy.tally.wakes["joined"] += 1

    async def _wake(self, entry: Entry, cause: Cause, charge: Charge | None) -> None:
        backoff = Backoff(first=0.05, limit=2.0)
        while entry.meeting is Meeting.WAKE and self._proxy.fleet.known(entry):
            if entry.record.desired.state is Desired.STARTED and cause is not Cause.REQUEST:
                # It was given up. Only a visitor's request is worth one more try.
                break
            self._asking.add(entry.name)
            try:
                if await self._ask(entry, cause):
                    charge = None
                continue
            except WakeBudgetError as refusal:
                self._asking.discard(entry.name)
                await self._news(entry, refusal.revision)
                self._refund(charge)
                self._over_budget(entry, refusal)
                return
            except GogetaError as error:
                refused = isinstance(error, TransitionRefusedError | UnknownTenantError)
                self._not_woken(entry, error, refused=refused)
                if not refused and not entry.in_flight:
                    break
            finally:
                self._asking.discard(entry.name)
            await asyncio.sleep(backoff.next())
        self._refund(charge)
        self._unreachable.discard(entry.name)

    async def _ask(self, entry: Entry, cause: Cause) -> bool:
        """Ask once, and wait for the news of it; whether it was us who woke the tenant, on the visitor's account."""
        if entry.record.desired.state is Desired.STARTED:
            change = await self._registry.ask_again(entry.record, trace=_trace(entry))
            # Refused: somebody else's wish is on its way to us.
            revision = entry.record.desired_revision + 1 if change is None else change.revision
            changed, woken = change is not None, False
            self._proxy.awaiting.written(entry, change)
        else:
            asker = entry.awaited.request_id if entry.awaited is not None and cause is Cause.REQUEST else ""
            per_hour = self._proxy.doorkeeper.per_hour(entry)
            done = await self._registry.change_desired(
                entry.name,
                cause,
                known=entry.record,
                per_hour=per_hour,
                request_id=asker,
                trace=_trace(entry) if asker else "",
            )
            revision, changed, woken = done.revision, done.changed, done.changed
            self._proxy.awaiting.written(entry, done if done.changed and asker else None)
        self._asking.discard(entry.name)
        self._unreachable.discard(entry.name)
        self._proxy.tally.wakes["asked" if changed else "joined"] += 1
        await self._news(entry, revision)
        return woken

    def _over_budget(self, entry: Entry, refusal: WakeBudgetError) -> None:
        self._proxy.tally.wakes["over-budget"] += 1
        logger.info("tenant %s is not woken: %s", entry.name, refusal)
        self._unreachable.discard(entry.name)
        # This wake is over before whoever waits is decided on again: nobody may wait for it any more.
        entry.waking = None
        self._proxy.holding.changed(entry)

    def _not_woken(self, entry: Entry, error: GogetaError, *, refused: bool) -> None:
        wakes = self._proxy.tally.wakes
        if refused:
            wakes["refused"] += 1
            logger.info("tenant %s is not woken: %s", entry.name, error)
        elif isinstance(error, RegistryUnavailableError):
            wakes["unavailable"] += 1
            self._unreachable.add(entry.name)
            logger.warning("tenant %s cannot be woken right now: %s", entry.name, error)
        else:
            wakes["failed"] += 1
            logger.error("tenant %s cannot be woken: %s", entry.name, error)

    def _refund(self, charge: Charge | None) -> None:
        """What was no wake is on nobody's account."""
        if charge is not None:
            self._proxy.doorkeeper.refund(charge)

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


def _trace(entry: Entry) -> str:
    """The wake's span, for the registry; empty where there is none."""
    awaited = entry.awaited
    return "" if awaited is None or awaited.trace is None else awaited.trace.context.traceparent
