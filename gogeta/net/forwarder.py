"""One request's way, top to bottom: head -> route -> admission -> (hold, wake) -> forward -> response -> record.

``Proxy`` is what all connections of one worker share. Each method is one step of the way; the decisions themselves are
pure and live in ``gogeta.core``. The steps of a request whose tenant is not up are in ``holding.py``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
from collections.abc import Iterator
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from gogeta.core.access_record import Ending
from gogeta.core.census import Census
from gogeta.core.field_lines import FieldLines
from gogeta.core.fields import REQUEST_KINDS, RESPONSE_KINDS
from gogeta.core.limits import Bounds, too_large
from gogeta.core.memory import Memory
from gogeta.core.refusal import Reason
from gogeta.core.secure_only import HTTPS_PORT, to_https
from gogeta.core.via import via_fields
from gogeta.domain.lifecycle import Meeting
from gogeta.kit.clock import exact, wall_ms
from gogeta.kit.tasks import Tasks
from gogeta.net.activity import Activity
from gogeta.net.awaiting import Awaiting
from gogeta.net.by_tenant import AnswersByTenant
from gogeta.net.dialing import Dialer
from gogeta.net.doorkeeper import Doorkeeper
from gogeta.net.fleet import Entry, Fleet
from gogeta.net.holding import Holding
from gogeta.net.noting import note_exchange, note_refusal
from gogeta.net.overdue import Overdue
from gogeta.net.progress_streams import ProgressStreams
from gogeta.net.quiet import QuietTunnels
from gogeta.net.tally import Tally
from gogeta.net.theming import Theming
from gogeta.net.waker import Waker
from gogeta.net.yielding import Yielding

if TYPE_CHECKING:
    from gogeta.core import pages
    from gogeta.core.pool import Pool
    from gogeta.core.request import RequestHead
    from gogeta.core.response import ResponseHead
    from gogeta.domain.upstreams import Forbidden, Upstream
    from gogeta.net.access_log import AccessLog
    from gogeta.net.downstream import DownstreamConnection
    from gogeta.net.exchange import Exchange
    from gogeta.net.tracing import RequestTracing
    from gogeta.net.upstream import UpstreamConnection
    from gogeta.registry.registry import Registry
    from gogeta.settings import ServeSettings

logger = logging.getLogger(__name__)

CONNECT_PATIENCE: Final = 5.0
"""Seconds for which a started tenant that refuses connections is tried again: its state may be about to change.

Nothing was sent, so nothing is lost by waiting; it is long enough for a passivator that has died to be started again
and to say what became of the tenant, whose application may have ended with it.
"""
SUSPECT_PAUSE: Final = 6.0
"""Seconds before a tenant is reported again: longer than it is tried, so that one trouble is one report."""
_SWEPT_AT_ONCE: Final = 1000
_SWEEPS_FOR_ALL: Final = 4
_ENDINGS: Final = tuple(b"%03x" % number for number in range(4096))
"""Of request ids."""
_PORT: Final = re.compile(r":[0-9]*$")
_CONNECT_PAUSES: Final = (0.01, 0.03, 0.06, 0.1, 0.2, 0.3)
_FORWARD: Final = Meeting.FORWARD
"""Looking up a member of an enumeration is dear."""


class Proxy:
    """Shared state of one worker, and the steps of a request's way."""

    __slots__ = (
        "_unlooked",
        "access_log",
        "activity",
        "awaiting",
        "body_timeout",
        "census",
        "clock",
        "connections",
        "date",
        "dialer",
        "doorkeeper",
        "draining",
        "fleet",
        "holding",
        "https_port",
        "ids",
        "keep_alive_timeout",
        "loaded",
        "loop_time",
        "max_header_bytes",
        "now",
        "overdue",
        "progress",
        "quiet",
        "registry",
        "request_fields",
        "request_heads",
        "response_fields",
        "response_heads",
        "response_timeout",
        "settings",
        "tally",
        "tasks",
        "theming",
        "touched",
        "tracing",
        "upstreams",
        "via",
        "waker",
        "yielding",
    )

    def __init__(  # noqa: PLR0915 - the parts of one worker
        self,
        settings: ServeSettings,
        registry: Registry,
        forbidden: Forbidden,
        tasks: Tasks,
        access_log: AccessLog | None = None,
        theming: Theming | None = None,
    ) -> None:
        """``tasks`` is where background work runs; ``forbidden``: addresses that no upstream may have.

        ``theming``: how pages look; as they come when not given.

        ``access_log`` is where exchanges are noted, if anywhere; it is started and closed by whoever made it.
        """
        self.settings = settings
        # Looked at for every request: an attribute of a large object is a slow one.
        self.max_header_bytes = settings.max_header_bytes
        self.body_timeout = settings.body_timeout
        self.response_timeout = settings.response_timeout
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.registry = registry
        self.tasks = tasks
        self.tally = Tally()
        bounds = Bounds(settings.max_body, settings.exchange_timeout or 0.0, settings.max_idle_upstream)
        by_tenant = AnswersByTenant(settings.metrics_tenants, self.tally.answers)
        self.fleet = Fleet(bounds, by_tenant, https_only=settings.https_redirect)
        self.holding = Holding(self)
        self.fleet.on_change = self.holding.changed
        self.waker = Waker(self, registry)
        self.awaiting = Awaiting(self, registry)
        self.doorkeeper = Doorkeeper(self, settings)
        self.activity = Activity(self.fleet, registry, self.tally, settings.access_interval)
        self.yielding = Yielding()
        self.quiet = QuietTunnels(self)
        self.touched = self.activity.touched
        self.request_fields = FieldLines(REQUEST_KINDS)
        self.response_fields = FieldLines(RESPONSE_KINDS)
        self.request_heads: Memory[RequestHead] = Memory()
        self.response_heads: Memory[ResponseHead] = Memory()
        self.via = via_fields(settings.via)
        """``Via`` for answers that came in HTTP/1.0, and in HTTP/1.1; None when it is left alone."""
        self.https_port = settings.https_port or HTTPS_PORT
        """Where visitors find TLS; the server makes it good when it listens for TLS itself."""
        self.dialer = Dialer(self, forbidden)
        self.access_log = access_log
        self.overdue = Overdue(settings)
        self.theming = theming or Theming(None)
        self.progress = ProgressStreams(self)
        self.census = Census(settings.max_connections_per_address, settings.trusted_proxies)
        self.tracing: RequestTracing | None = None
        """Only of a ``TracedProxy``; nothing on the way of a request to a tenant that is up looks at it."""
        self.connections: set[DownstreamConnection] = set()
        self._unlooked: list[DownstreamConnection] = []
        self.upstreams: set[UpstreamConnection] = set()
        self.draining = False
        self.loaded = False
        """Whether the routes have been read once: before that an unknown host is not known to be unknown."""
        self.clock = exact
        """What exchanges are measured with."""
        self.loop_time = asyncio.get_running_loop().time
        self.now = self.loop_time()
        """The loop's time as of the last sweep: coarse, and free."""
        self.date = b""
        self.ids = _ids(f"{os.getpid():x}-{wall_ms():x}-".encode())
        """Request ids that no other process and no other request has."""
        self.tick()

    def tick(self) -> None:
        """Move the coarse clock; called by the sweep."""
        self.now = self.loop_time()
        self.date = f"Date: {formatdate(wall_ms() / 1000, usegmt=True)}\r\n".encode()

    # Connections.

    def opened(self, connection: DownstreamConnection) -> Reason | None:
        """A visitor has connected; a reason when there are too many."""
        self.tally.connections += 1
        self.connections.add(connection)
        if len(self.connections) > self.settings.max_connections:
            return Reason.CONNECTIONS
        whose = self.census.enter(connection.peer)
        if whose is None:
            return Reason.ADDRESS_CONNECTIONS
        connection.counted_under = whose
        return None

    def closed(self, connection: DownstreamConnection) -> None:
        """A visitor has gone."""
        self.connections.discard(connection)
        self.census.leave(connection.counted_under)

    # The way.

    def begin(self, exchange: Exchange) -> None:
        """A request's head is complete: find its tenant."""
        head = exchange.head
        downstream = exchange.downstream
        exchange.request_id = head.request_id or next(self.ids)
        if self.via is not None and downstream.listener.forwarding.looped(head):
            exchange.refuse(Reason.LOOP)
            return
        entry = self.fleet.by_host.get(head.host) or self._find(exchange)
        if entry is None or (entry.https_only and self._redirect(exchange)):
            return
        awake = entry.meeting is _FORWARD
        if not awake and self.progress.takes(exchange, entry):
            return
        exchange.entry = entry
        entry.in_flight += 1
        if entry not in self.touched:
            self._note_use(exchange, entry)
        forwarding = (
            downstream.forwarding
            if head.host is downstream.forwarding_host and head.direct
            else downstream.forwarding_fields(head)
        )
        if entry.limited or not exchange.request_done:
            if not self._bound(exchange, entry):
                return
            if not entry.bounds.idle and not head.upgrade:
                # RFC 9112 section 9.6: who will not use the connection again says so.
                forwarding += b"Connection: close\r\n"
        exchange.serialised = head.serialise(exchange.method, exchange.target, forwarding, exchange.request_id)
        if awake:
            self.forward(exchange, entry)
        else:
            self.holding.admit(exchange)

    def _note_use(self, exchange: Exchange, entry: Entry) -> None:
        """Note that a tenant is in use, if this is a use; not asked while that is noted already."""
        if self.doorkeeper.uses(exchange, entry):
            self.activity.touch(entry)

    def _find(self, exchange: Exchange) -> Entry | None:
        """The tenant of a host that was not asked for lately; None when the request is refused."""
        try:
            entry = self.fleet.find(exchange.head.host)
        except ValueError:
            exchange.refuse(Reason.HOST_INVALID)
            return None
        if entry is None:
            exchange.refuse(Reason.HOST_UNKNOWN if self.loaded else Reason.LOADING)
        return entry

    def _bound(self, exchange: Exchange, entry: Entry) -> bool:
        """Put the tenant's limits on an exchange; False when it is refused by one."""
        bounds = entry.bounds
        if entry.awaited is not None and entry.meeting is Meeting.FORWARD:
            self.awaiting.forwarded(entry, exchange)
        if bounds.body:
            if too_large(exchange.head.length, exchange.received, bounds.body):
                exchange.refuse(Reason.BODY_TOO_LARGE)
                return False
            exchange.body_limit = bounds.body
        if bounds.exchange or not exchange.request_done:
            exchange.watched = True
            self.overdue.begin(exchange, bounds, self.loop_time(), waited=self.clock() - exchange.began)
        return True

    def _redirect(self, exchange: Exchange) -> bool:
        """Tell a visitor who asked in plain text to come over TLS; False when he may pass as he is."""
        downstream = exchange.downstream
        if downstream.listener.forwarding.visitors_scheme(downstream.peer, exchange.head) == b"https":
            return False
        page = to_https(exchange.method, exchange.target, exchange.head.host, self.https_port)
        if page is None:
            return False
        exchange.reply(page, Reason.HTTPS)
        return True

    def forward(self, exchange: Exchange, entry: Entry) -> None:
        """Send a request to its tenant: at once on a connection that is there, else on a new one."""
        pools = entry.pools
        endpoint, pool = pools[0] if len(pools) == 1 else entry.pool()
        # Whoever met a dead connection is not sent to another that may be as old: the one retry gets a fresh one.
        while not exchange.attempts and (upstream := pool.take()) is not None:
            if upstream.unspoiled():
                self.tally.upstream_reuses += 1
                exchange.attach(upstream)
                return
            upstream.discard()
        self.tasks.start(self._connect(exchange, entry, endpoint, pool), "connect")

    async def _connect(
        self, exchange: Exchange, entry: Entry, endpoint: Upstream, pool: Pool[UpstreamConnection]
    ) -> None:
        """Connect and forward.

        A tenant that is managed is tried again for a moment: nothing was sent, and a container that was just stopped,
        started or moved is about to be known as such.
        """
        give_up = self.loop_time() + (0.0 if entry.record.tenant.routed_only else CONNECT_PATIENCE)
        attempt = 0
        while True:
            upstream = await self.dialer.dial(entry, endpoint, pool)
            if exchange.ended:
                if not isinstance(upstream, Reason):
                    upstream.park(self.now)
                return
            if not isinstance(upstream, Reason):
                if pool.retired:
                    # It is a connection to an earlier start: never used.
                    self._discard(upstream)
                    self._again(exchange, entry)
                    return
                exchange.attach(upstream)
                exchange.flush()
                return
            self.suspect(entry)
            others = len(entry.endpoints) > 1 and attempt < len(entry.endpoints) - 1
            if upstream is Reason.UPSTREAM_FORBIDDEN or (self.loop_time() >= give_up and not others):
                exchange.refuse(upstream)
                return
            if not others:
                await asyncio.sleep(_CONNECT_PAUSES[min(attempt, len(_CONNECT_PAUSES) - 1)])
            attempt += 1
            if entry.meeting is not Meeting.FORWARD or not self.fleet.known(entry):
                self._again(exchange, entry)
                return
            endpoint, pool = entry.pool()

    def _discard(self, upstream: UpstreamConnection | Reason) -> None:
        if not isinstance(upstream, Reason):
            upstream.discard()

    def _again(self, exchange: Exchange, entry: Entry) -> None:
        """Decide anew, as if the request had just come: the state has changed under it."""
        if exchange.ended:
            return
        exchange.held_since = self.clock()
        self.activity.touch(entry)
        self.holding.admit_and_send(exchange)

    def upstream_lost(self, exchange: Exchange, upstream: UpstreamConnection) -> None:
        """A tenant's connection ended under a request."""
        entry = exchange.entry
        assert entry is not None  # noqa: S101 - it was forwarded
        moved = upstream.pool.retired
        if (
            upstream.silent
            and not exchange.ended
            and exchange.head.replayable(exchange.method)
            and exchange.attempts < 2
            and (upstream.reused or moved)
            and self.fleet.known(entry)
        ):
            # RFC 9110 section 9.2.2: idempotent, without a body, and not a byte of an answer.
            self.tally.retries += 1
            exchange.upstream = upstream.exchange = None
            exchange.pending.clear()
            self._again(exchange, entry)
            return
        if not upstream.reused:
            self.suspect(entry)
        upstream.exchange = None
        exchange.failed(Reason.UPSTREAM_LOST)

    def suspect(self, entry: Entry) -> None:
        """Ask passivator to look at a tenant again that does not answer as it should; at most once in a while."""
        now = self.loop_time()
        if entry.record.tenant.routed_only or now - entry.suspected_at < SUSPECT_PAUSE:
            return
        entry.suspected_at = now
        self.tally.suspects += 1
        self.tasks.start(self.waker.report(entry), "suspect")

    def ended(self, exchange: Exchange) -> None:
        """An exchange is over, in whatever way: the access record."""
        entry = exchange.entry
        tally = self.tally
        # Called in two steps, here and elsewhere on the warm path: what is no method is slow to be called as one.
        clock = self.clock
        now = clock()
        if exchange.status:
            (tally if entry is None else entry).answers[exchange.status // 100] += 1
            if exchange.first_byte_at or exchange.forwarded_at:
                first = exchange.first_byte_at = exchange.first_byte_at or now
                tally.first_byte_seconds.add(first - exchange.began)
                tally.request_seconds.add(now - exchange.began)
                if exchange.attempts:
                    tally.upstream_seconds.add(first - (exchange.forwarded_at or exchange.began))
            else:
                tally.whole_seconds.add(now - exchange.began)
        if exchange.watched:
            self.overdue.end(exchange)
        log = self.access_log
        if log is not None and log.takes(exchange.request_id, exchange.status, exchange.ending):
            note_exchange(log, exchange, now)
        if entry is not None:
            entry.in_flight -= 1
            if entry not in self.touched:
                self._note_use(exchange, entry)
            if entry.held and (timer := entry.held.pop(exchange, None)) is not None:
                timer.cancel()
                tally.held -= 1
        else:
            self.progress.ended(exchange)

    def tunnel_begun(self, exchange: Exchange) -> None:
        """The tenant has switched protocols."""
        self.tally.upgrades += 1
        if exchange.forwarded_at:
            exchange.first_byte_at = self.clock()
        if (entry := exchange.entry) is not None:
            entry.tunnels += 1
            self._note_use(exchange, entry)

    def tunnel_ended(self, exchange: Exchange) -> None:
        """An upgraded connection is over."""
        if exchange.entry is not None:
            exchange.entry.tunnels -= 1
        self.quiet.ended(exchange)
        if not exchange.ended:
            exchange.ended = True
            exchange.status = 0
            exchange.ending = Ending.UPGRADE
            self.ended(exchange)

    def note_refusal(
        self, connection: DownstreamConnection, request_id: bytes, page: pages.Page, reason: Reason
    ) -> None:
        """For the access log: what could not become a request was refused."""
        log = self.access_log
        if log is not None and log.takes(request_id, page.status, Ending.COMPLETE):
            note_refusal(log, connection.peer, request_id, page, reason, self.clock())

    # Once in a while.

    def sweep(self) -> None:
        """Once in a while: move the clock, end what is past its deadline."""
        self.tick()
        now = self.now
        late = [connection for connection in self._to_look_at() if connection.deadline < now]
        for connection in late:
            if connection in self.connections:
                connection.expired()
        self.overdue.sweep(now)
        self.quiet.sweep()

    def _to_look_at(self) -> list[DownstreamConnection]:
        """The connections whose deadlines are compared in this sweep: all, or of many a part, so that none is left out.

        Thousands that say nothing must cost nothing, and nobody minds if a deadline is found out a moment later.
        """
        if not self._unlooked:
            self._unlooked = list(self.connections)
        count = max(_SWEPT_AT_ONCE, -(-len(self.connections) // _SWEEPS_FOR_ALL))
        part, self._unlooked = self._unlooked[:count], self._unlooked[count:]
        return part

    def expire_idle(self) -> None:
        """Close upstream connections that were idle for too long."""
        before = self.now - self.settings.upstream_idle_timeout
        for entry in self.fleet.entries.values():
            for _, pool in entry.pools:
                for upstream in pool.expire(before):
                    upstream.discard()

    @property
    def in_flight(self) -> int:
        """Exchanges and tunnels under way."""
        return sum(not connection.idle for connection in self.connections)


def _ids(prefix: bytes) -> Iterator[bytes]:
    """Numbers behind a prefix, without an end. Writing numbers is dear, joining is not, and no step of it is Python."""
    return itertools.chain.from_iterable(map((prefix + b"%x" % block).__add__, _ENDINGS) for block in itertools.count())
