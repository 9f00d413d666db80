"""The streams by which starting pages follow a start: who listens, what they are told, and when that ends.

A stream is server-sent events on the tenant's own host, and only ever for a tenant that is not up: the same request to
one that is up goes to the application like any other. A stream is no use of the tenant. It wakes nothing, keeps nothing
awake, and ends as soon as there is nothing to wait for: ``ready`` and ``failed`` say so, ``again`` asks the page to
come itself, because nobody has asked for this tenant (any more). There is one beat a second for all streams together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gogeta.core.page_source import PROGRESS_PATH
from gogeta.core.pages import failed_event
from gogeta.core.progress import Progress, progress
from gogeta.core.refusal import Reason
from gogeta.domain.lifecycle import Meeting, Observed
from gogeta.kit.clock import wall_ms
from gogeta.net.holding import tried_again

if TYPE_CHECKING:
    from gogeta.net.exchange import Exchange
    from gogeta.net.fleet import Entry
    from gogeta.net.forwarder import Proxy

BEAT_SECONDS: Final = 1.0
_KEPT_ALIVE: Final = 5
"""Beats after which progress is told again although it is the same: so a page knows that it is still heard."""
_UNASKED: Final = 5
"""Beats for which a tenant may sleep unasked until its pages are told to come themselves."""
_RECONNECT_MS: Final = 2000
_PATH: Final = PROGRESS_PATH.encode()
_LONGEST_SEEN: Final = 3600.0


class Audience:
    """All streams of one tenant."""

    __slots__ = ("entry", "last", "quiet", "streams", "unasked")

    def __init__(self, entry: Entry) -> None:
        """Nobody yet."""
        self.entry = entry
        self.streams: set[Exchange] = set()
        self.last = ""
        """What was told last."""
        self.quiet = 0
        """Beats since then."""
        self.unasked = 0
        """Beats for which it has been asleep without anybody asking for it."""


class ProgressStreams:
    """All streams of one worker."""

    def __init__(self, proxy: Proxy) -> None:
        """``proxy``: whose limits, clock and tasks are used."""
        self._proxy = proxy
        self._audiences: dict[str, Audience] = {}
        self._of: dict[Exchange, Audience] = {}
        self._since: dict[str, tuple[int, float]] = {}
        """For each tenant that starts: since when by its record, and by our own clock."""
        self._beating: asyncio.Task[None] | None = None
        self._closed = False
        # What says nothing for the longest pause in a body is cut.
        self._kept_alive = max(1, min(_KEPT_ALIVE, int(proxy.body_timeout / 3)))

    def __len__(self) -> int:
        """How many are open."""
        return len(self._of)

    # What is known.

    def of(self, entry: Entry) -> Progress:
        """How far the tenant's start is."""
        observed = entry.record.observed
        since = self._since.get(entry.name)
        known = since is not None and since[0] == observed.since
        running_for = self._proxy.loop_time() - since[1] if since is not None and known else 0.0
        return progress(entry.record, running_for, cannot=self._proxy.waker.unreachable(entry))

    def changed(self, entry: Entry) -> None:
        """A tenant's record changed, or it is gone: tell its streams at once."""
        observed = entry.record.observed
        if observed.state is not Observed.STARTING or not self._proxy.fleet.known(entry):
            self._since.pop(entry.name, None)
        elif self._since.get(entry.name, (None,))[0] != observed.since:
            ran = 0.0
            if not self._proxy.loaded:
                # We come late: when it began is known by another's clock alone, which is believed within reason.
                ran = (wall_ms() - observed.since) / 1000
                ran = ran if 0 < ran < _LONGEST_SEEN else 0.0
            self._since[entry.name] = (observed.since, self._proxy.loop_time() - ran)
        audience = self._audiences.get(entry.name)
        if audience is not None:
            self._tell(audience)

    # Who listens.

    def takes(self, exchange: Exchange, entry: Entry) -> bool:
        """Whether a request for a tenant that is not up comes from a starting page to listen; then it is answered."""
        if exchange.target != _PATH or exchange.method != b"GET":
            return False
        head = exchange.head
        wants = b"text/event-stream" in head.field(b"accept")
        if not wants or not exchange.request_done or not head.http11 or head.upgrade:
            return False
        settings, audience = self._proxy.settings, self._audiences.get(entry.name)
        full = audience is not None and len(audience.streams) >= settings.max_progress_streams_per_tenant
        if self._closed:
            exchange.refuse(Reason.DRAINING)
        elif full or len(self._of) >= settings.max_progress_streams or not settings.max_progress_streams_per_tenant:
            exchange.refuse(Reason.STREAMS)
        else:
            self._open(exchange, entry, audience or Audience(entry))
        return True

    def _open(self, exchange: Exchange, entry: Entry, audience: Audience) -> None:
        proxy = self._proxy
        proxy.tally.progress_streams += 1
        self._audiences[entry.name] = audience
        self._of[exchange] = audience
        audience.streams.add(exchange)
        exchange.status = 200
        exchange.first_byte_at = proxy.clock()
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"X-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n"
        )
        if not exchange.head.keep_alive:
            head += b"Connection: close\r\n"
        exchange.write(head + proxy.date + b"\r\n" + _chunk(f"retry: {_RECONNECT_MS}\n\n"))
        if not self._over(audience, (exchange,)):
            audience.last = self.of(entry).data()
            self._send(exchange, "progress", audience.last)
        if self._beating is None or self._beating.done():
            self._beating = proxy.tasks.start(self._beat(), "progress")

    def ended(self, exchange: Exchange) -> None:
        """An exchange that is no tenant's is over: perhaps a stream."""
        audience = self._of.pop(exchange, None)
        if audience is not None:
            audience.streams.discard(exchange)
            if not audience.streams:
                self._audiences.pop(audience.entry.name, None)

    def close(self) -> None:
        """A drain has begun: all streams end in good order, and nobody new is let in. Pages listen elsewhere then."""
        self._closed = True
        for exchange in tuple(self._of):
            self._end(exchange)

    # What they are told.

    async def _beat(self) -> None:
        while self._of:
            await asyncio.sleep(BEAT_SECONDS)
            for audience in tuple(self._audiences.values()):
                asleep = audience.entry.meeting is Meeting.WAKE
                audience.unasked = audience.unasked + 1 if asleep else 0
                audience.quiet += 1
                self._tell(audience)

    def _tell(self, audience: Audience) -> None:
        if self._over(audience, tuple(audience.streams)):
            return
        data = self.of(audience.entry).data()
        if data == audience.last and audience.quiet < self._kept_alive:
            return
        audience.last, audience.quiet = data, 0
        for exchange in tuple(audience.streams):
            # Who reads slowly misses what is old news by then.
            if not exchange.downstream.blocked:
                self._send(exchange, "progress", data)

    def _over(self, audience: Audience, streams: tuple[Exchange, ...]) -> bool:
        """End streams that have nothing to wait for; whether that is so."""
        entry, proxy = audience.entry, self._proxy
        known = proxy.fleet.known(entry)
        if not known or entry.meeting is Meeting.STOPPED:
            kind, data = "failed", failed_event(None, Reason.STOPPED if known else Reason.GONE)
        elif entry.meeting is Meeting.FORWARD:
            kind, data = "ready", "{}"
        elif entry.meeting is Meeting.FAILED:
            kind, data = "failed", failed_event(tried_again(entry), Reason.FAILED)
        elif audience.unasked >= _UNASKED:
            kind, data = "again", "{}"
        else:
            return False
        for exchange in streams:
            self._send(exchange, kind, data)
            self._end(exchange)
        return True

    def _send(self, exchange: Exchange, kind: str, data: str) -> None:
        exchange.write(_chunk(f"event: {kind}\ndata: {data}\n\n"))

    def _end(self, exchange: Exchange) -> None:
        exchange.write(b"0\r\n\r\n")
        exchange.complete(keep_alive=exchange.head.keep_alive)


def _chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)
