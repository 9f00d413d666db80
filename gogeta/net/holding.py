"""Requests for a tenant that is not up: held, shown the starting page, or refused, and decided on again at each change.

What is decided is pure (``core/admission.py``); here it is done. A request that is held has not been read beyond what
came with its head, so nothing of it is lost. It knows no tenant's addresses: forwarding is the next step of the way.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, assert_never

from gogeta.core.admission import Forward, Hold, Page, Refuse, admit
from gogeta.core.pages import REFRESH_SECONDS, SLOW_REFRESH_SECONDS, starting_page
from gogeta.core.progress import Again, again
from gogeta.core.refusal import Reason
from gogeta.domain.lifecycle import Cause, Desired, Meeting
from gogeta.kit.clock import wall_ms

if TYPE_CHECKING:
    from gogeta.net.exchange import Exchange
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy

_PORT: Final = re.compile(r":[0-9]*$")


def tried_again(entry: Entry) -> Again:
    """Whether and when a tenant that could not be started is tried again."""
    return again(entry.record.observed.reason, wall_ms())


class Holding:
    """What one worker does with requests for tenants that are not up."""

    def __init__(self, proxy: Proxy) -> None:
        """``proxy`` takes them when the time has come."""
        self._proxy = proxy

    def admit(self, exchange: Exchange) -> None:
        """Decide what happens with a request now; asked again whenever something has changed."""
        proxy, entry = self._proxy, exchange.entry
        if exchange.ended or entry is None:
            return
        if (timer := entry.held.pop(exchange, None)) is not None:
            timer.cancel()
            proxy.tally.held -= 1
        if not proxy.fleet.known(entry):
            exchange.refuse(Reason.GONE)
            return
        if entry.meeting is Meeting.WAKE and proxy.doorkeeper.answers(exchange, entry):
            return
        now = proxy.clock()
        navigation = exchange.head.navigation(exchange.method)
        decision = admit(
            entry.meeting, entry.record.tenant.wake, navigation=navigation, waited=now - exchange.held_since
        )
        match decision:
            case Forward():
                exchange.forwarded_at = now
                if entry.awaited is not None:
                    proxy.awaiting.forwarded(entry, exchange)
                if exchange.held_since != exchange.began or timer is not None:
                    proxy.tally.hold_seconds.add(now - exchange.began)
                proxy.forward(exchange, entry)
            case Hold(seconds, wake):
                self._hold(exchange, entry, seconds, wake=wake)
            case Page(wake):
                if wake:
                    proxy.awaiting.asks(entry, exchange)
                    proxy.waker.wake(entry, Cause.REQUEST, exchange)
                self._show_start(exchange, entry)
            case Refuse(reason):
                self._refuse(exchange, entry, reason)
            case _:
                assert_never(decision)

    def _show_start(self, exchange: Exchange, entry: Entry) -> None:
        """Answer a person with the starting page."""
        if self._proxy.tracing is not None:
            self._proxy.tracing.waits(exchange, entry)
        policy, head = entry.record.tenant.wake, exchange.head
        held = policy.mode == "auto" and policy.hold >= REFRESH_SECONDS / 2
        page = starting_page(
            _PORT.sub("", head.host.decode("ascii", "replace")),
            exchange.request_id.decode(),
            self._proxy.progress.of(entry),
            theme=self._proxy.theming.theme,
            refresh=REFRESH_SECONDS if held else SLOW_REFRESH_SECONDS,
            framed=head.framed,
        )
        exchange.reply(page, Reason.WAKING)

    def _refuse(self, exchange: Exchange, entry: Entry, reason: Reason) -> None:
        """Refuse what met a tenant that is not up, and say when asking again makes sense."""
        if reason is Reason.WAKE_TIMEOUT and self._proxy.waker.unreachable(entry):
            exchange.refuse(Reason.REGISTRY)
        elif reason is Reason.FAILED:
            exchange.refuse(reason, again=tried_again(entry))
        elif reason in (Reason.WAKE_TIMEOUT, Reason.HELD):
            exchange.refuse(reason, retry_after=self._proxy.progress.of(entry).retry_after)
        else:
            exchange.refuse(reason)

    def admit_and_send(self, exchange: Exchange) -> None:
        """Decide from outside the visitor's parser, which would send by itself what it has fed."""
        self.admit(exchange)
        exchange.flush()

    def _hold(self, exchange: Exchange, entry: Entry, seconds: float, *, wake: bool) -> None:
        tally, settings = self._proxy.tally, self._proxy.settings
        if tally.held >= settings.max_held or len(entry.held) >= settings.max_held_per_tenant:
            self._refuse(exchange, entry, Reason.HELD)
            return
        tally.held += 1
        tally.holds += 1
        loop = asyncio.get_running_loop()
        entry.held[exchange] = loop.call_later(seconds, self.admit_and_send, exchange)
        if wake:
            self._proxy.awaiting.asks(entry, exchange)
            self._proxy.waker.wake(entry, Cause.REQUEST, exchange)
        if self._proxy.tracing is not None:
            self._proxy.tracing.waits(exchange, entry)

    def changed(self, entry: Entry) -> None:
        """A tenant's record changed, or a wake of it came to nothing: decide again for everybody who waits for it."""
        desired = entry.record.desired
        if entry.in_use:
            # A tenant that is declared again has no last access yet.
            self._proxy.activity.touch(entry)
        passivated = entry.meeting is Meeting.WAKE and desired.state is Desired.PASSIVATED
        if passivated and desired.cause is not Cause.SLEEP and entry.in_use > len(entry.held):
            # In use means in use: what is in flight here takes the passivation back before anything is stopped. An
            # operator's sleep waits for it instead.
            self._proxy.tally.taken_back += 1
            self._proxy.waker.wake(entry, Cause.IN_USE)
        for exchange in tuple(entry.held):
            self.admit_and_send(exchange)
        self._proxy.yielding.noted(entry)
        self._proxy.progress.changed(entry)
