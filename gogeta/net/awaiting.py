"""What became of the wakes that were asked for here: how long each step took until a visitor had the first byte.

The proxy whose compare-and-set woke a tenant reports that wake, once, so a wake's report has one writer. It is written
later, in batches, by a task of its own; while the registry is in trouble reports are kept up to a bound, and then
dropped and counted. No request waits for it, and a tenant that is awake costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from gogeta.domain.errors import GogetaError
from gogeta.domain.lifecycle import Meeting
from gogeta.domain.state import Phase
from gogeta.domain.timeline import WakeReport
from gogeta.kit.clock import wall_ms
from gogeta.net.tally import ANSWERED, FAILED, UNFETCHED

if TYPE_CHECKING:
    from gogeta.net.exchange import Exchange
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy
    from gogeta.net.tracing import WakeTrace
    from gogeta.registry.registry import DesiredChange, Registry

logger = logging.getLogger(__name__)

_LOOK: Final = 0.25
"""Seconds between looks for what is to be reported."""
_PAUSE: Final = 5.0
"""Seconds between tries while the registry does not take reports."""
_MOST: Final = 1000
"""Most wakes that are waited for, and most reports that are kept."""
_OVER: Final = frozenset({Meeting.FAILED, Meeting.STOPPED})
"""What a visitor meets when a wake has come to nothing."""
_PATIENCE: Final = 300.0
"""Seconds after which a wake whose answer nobody has fetched is not waited for any more."""


@dataclass(slots=True, eq=False)
class Awaited:
    """One wake that a request here asked for. Times are of the proxy's exact clock."""

    request_id: str
    began: float
    """When the request's head was complete."""
    at: int
    """The same moment for people, epoch milliseconds."""
    person: bool
    wake: int = 0
    """Its number, once it stands in the registry by our doing."""
    asked_at: float = 0.0
    known_at: float = 0.0
    exchange: Exchange | None = None
    """The first request that was forwarded."""
    held: int = 0
    trace: WakeTrace | None = None
    """Its span, where there is one."""
    up_at: float = 0.0
    """When it was first seen to be up, as far as we looked."""
    failed: bool = False
    """Whether it has come to nothing, and been counted so; it may be tried again all the same."""


class Awaiting:
    """All wakes of one worker that are still to be reported."""

    def __init__(self, proxy: Proxy, registry: Registry) -> None:
        """``registry`` is where reports are written."""
        self._proxy = proxy
        self._registry = registry
        self._entries: set[Entry] = set()
        self._reports: dict[str, WakeReport] = {}
        self._not_before = 0.0

    def asks(self, entry: Entry, exchange: Exchange) -> None:
        """This request is about to ask for a wake. Of those that ask for the same one only the first counts."""
        if entry.awaited is not None:
            if _asking(entry):
                return
            # That was another wake: its answer was never fetched, or it could not be asked for.
            self._unfetched(entry.awaited)
            self._done(entry)
        if len(self._entries) >= _MOST:
            return
        now = self._proxy.clock()
        tracing = self._proxy.tracing
        entry.await_byte(
            Awaited(
                request_id=exchange.request_id.decode("ascii", "replace"),
                began=exchange.began,
                at=wall_ms() - round((now - exchange.began) * 1000),
                person=exchange.head.navigation(exchange.method),
                trace=None if tracing is None else tracing.wakes(exchange),
            )
        )
        self._entries.add(entry)

    def written(self, entry: Entry, change: DesiredChange | None) -> None:
        """The wish stands in the registry: by our doing (``change``), or by another's, who then reports."""
        awaited = entry.awaited
        if awaited is None or awaited.wake:
            return
        if change is None:
            if awaited.trace is not None:
                awaited.trace.lost = True
            self._done(entry)
            return
        awaited.wake = change.desired.wakes
        awaited.asked_at = self._proxy.clock()

    def forwarded(self, entry: Entry, exchange: Exchange) -> None:
        """The tenant answers, and this request is the first to go there."""
        awaited = entry.awaited
        if awaited is None or awaited.known_at:
            return
        awaited.known_at = self._proxy.clock()
        awaited.exchange = exchange
        awaited.held = len(entry.held) + 1
        # Makes its end be measured: it is not one of those that are forwarded without a look.
        exchange.forwarded_at = exchange.forwarded_at or awaited.known_at

    async def run(self) -> NoReturn:
        """Report, for ever."""
        while True:
            await asyncio.sleep(_LOOK)
            self.collect()
            if self._proxy.clock() >= self._not_before:
                await self.flush()

    def collect(self) -> None:
        """Make reports of the wakes whose first byte is there; give up those that nobody waits for."""
        now = self._proxy.clock()
        for entry in tuple(self._entries):
            awaited = entry.awaited
            if awaited is None or not self._proxy.fleet.known(entry):
                self._done(entry)
                continue
            if entry.meeting in _OVER and awaited.wake and not awaited.failed:
                awaited.failed = True
                self._proxy.tally.wake_ends[FAILED] += 1
            if awaited.trace is not None:
                self._look(entry, awaited, now)
            exchange = awaited.exchange
            if exchange is not None and exchange.first_byte_at and not exchange.refusal:
                if _asking(entry) and not awaited.wake:
                    # It answers before we have heard that it was our doing.
                    continue
                if awaited.wake:
                    self._report(entry, awaited, exchange.first_byte_at)
                self._done(entry)
            elif exchange is not None and exchange.ended:
                # It left, or failed: the next one that is forwarded counts.
                awaited.exchange, awaited.known_at = None, 0.0
            elif now - awaited.began > _PATIENCE and exchange is None:
                self._unfetched(awaited)
                self._done(entry)

    def _report(self, entry: Entry, awaited: Awaited, first_byte_at: float) -> None:
        asked_at = min(awaited.asked_at, awaited.known_at)
        steps = (
            ("asked", asked_at - awaited.began),
            ("known", awaited.known_at - asked_at),
            ("answered", first_byte_at - awaited.known_at),
        )
        self._proxy.tally.wake_seconds.add(first_byte_at - awaited.began)
        self._proxy.tally.wake_ends[ANSWERED] += 1
        if len(self._reports) >= _MOST:
            self._proxy.tally.wake_reports_dropped += 1
            return
        self._reports[entry.name] = WakeReport(
            wake=awaited.wake,
            at=awaited.at,
            by=self._registry.by,
            request_id=awaited.request_id,
            visitor="person" if awaited.person else "program",
            phases=tuple(Phase(name, round(max(seconds, 0.0) * 1000, 3)) for name, seconds in steps),
            held=awaited.held,
        )

    def _unfetched(self, awaited: Awaited) -> None:
        """Nobody came for the answer; a wake that had failed is counted already."""
        if awaited.wake and not awaited.failed:
            self._proxy.tally.wake_ends[UNFETCHED] += 1

    def _look(self, entry: Entry, awaited: Awaited, now: float) -> None:
        """Of a wake that is traced: when the tenant is up although nobody comes, and whether it failed."""
        if entry.meeting is Meeting.FORWARD:
            awaited.up_at = awaited.up_at or now
        elif entry.meeting in _OVER or (entry.meeting is Meeting.WAKE and not _asking(entry)):
            self._trace(entry, awaited, now)

    def _trace(self, entry: Entry, awaited: Awaited, now: float) -> None:
        """The wake is over: its span."""
        tracing, trace, awaited.trace = self._proxy.tracing, awaited.trace, None
        if tracing is None or trace is None:
            return
        up_at = awaited.known_at or awaited.up_at
        asked = (("asked", min(awaited.asked_at, up_at or now)),) if awaited.asked_at else ()
        failed = None if up_at else f"{entry.meeting.value}"
        tracing.woken(entry, trace, awaited.began, (*asked, ("known", up_at or now)), failed)

    def _done(self, entry: Entry) -> None:
        if entry.awaited is not None:
            self._trace(entry, entry.awaited, self._proxy.clock())
        entry.await_byte(None)
        self._entries.discard(entry)

    async def flush(self) -> None:
        """Write what there is; what cannot be written is tried again with the next."""
        if not self._reports:
            return
        reports, self._reports = self._reports, {}
        try:
            await self._registry.report_wakes(reports)
        except GogetaError as error:
            logger.info("reports of %d wakes could not be written, they are kept: %s", len(reports), error)
            self._reports = {**reports, **self._reports}
            self._not_before = self._proxy.clock() + _PAUSE


def _asking(entry: Entry) -> bool:
    return entry.waking is not None and not entry.waking.done()
