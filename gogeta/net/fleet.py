"""Every tenant as the data plane sees it: its record, its connections, its requests in flight and waiting.

One ``Entry`` per tenant lives as long as the tenant is declared; the mirror's changes are folded into it. An entry
binds connections to one instance: when the instance or its endpoints change, what was connected before is retired.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gogeta.core.limits import Bounds, bounds_of
from gogeta.core.pool import Pool
from gogeta.core.routing import RoutingTable
from gogeta.domain.lifecycle import Meeting
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.domain.upstreams import Upstream
from gogeta.net.by_tenant import CLASSES, AnswersByTenant

if TYPE_CHECKING:
    import asyncio

    from gogeta.net.awaiting import Awaited
    from gogeta.net.exchange import Exchange
    from gogeta.net.upstream import UpstreamConnection

logger = logging.getLogger(__name__)


class Entry:
    """One tenant, live."""

    __slots__ = (
        "_defaults",
        "_https_for_all",
        "answers",
        "awaited",
        "bounds",
        "endpoints",
        "held",
        "https_only",
        "in_flight",
        "limited",
        "meeting",
        "name",
        "pools",
        "quiet",
        "record",
        "suspected_at",
        "tunnels",
        "turn",
        "waking",
        "written_at",
        "written_in_use",
    )

    def __init__(self, record: TenantRecord, defaults: Bounds, answers: list[int], *, https_only: bool = False) -> None:
        """An entry with nothing in flight; ``defaults`` hold where the tenant says nothing else.

        ``answers``: where final responses are counted, by the first digit of their status. ``https_only``: for all
        tenants, whatever they declare.
        """
        self.name: TenantName = record.tenant.name
        self.answers = answers
        self._defaults = defaults
        self.awaited: Awaited | None = None
        """The wake that was asked for here, until the first byte of its answer."""
        self._bind(record.tenant)
        self.pools: list[tuple[Upstream, Pool[UpstreamConnection]]] = []
        """Each endpoint of this instance with its idle connections."""
        self.held: dict[Exchange, asyncio.TimerHandle] = {}
        """Requests that wait, in their order of arrival."""
        self.in_flight = 0
        """Requests and tunnels between here and the tenant, held ones included."""
        self.tunnels = 0
        """How many of them are tunnels."""
        self.quiet = 0
        """Tunnels among those in flight that are no use any more (``quiet.py``)."""
        self.turn = 0
        self.waking: asyncio.Task[None] | None = None
        self.written_at = float("-inf")
        """Loop time at which its last access was last written."""
        self.written_in_use = 0
        """What was in use by that."""
        self.suspected_at = float("-inf")
        self.record = record
        self.meeting: Meeting = record.meeting
        self.endpoints: tuple[Upstream, ...] = record.endpoints
        self._renew()
        self._https_for_all = https_only
        self.https_only = https_only or record.tenant.https_only
        """Whether a request in plain text is redirected instead of served."""

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Entry {self.name}: {self.meeting}, {self.in_flight} in flight, {len(self.held)} held>"

    @property
    def in_use(self) -> int:
        """What keeps the tenant awake: all in flight but quiet tunnels."""
        return self.in_flight - self.quiet

    def update(self, record: TenantRecord) -> list[UpstreamConnection]:
        """Take a newer record; the idle connections to close because they belong to what was before."""
        same = (
            record.observed.instance == self.record.observed.instance
            and record.endpoints == self.endpoints
            and record.meeting is Meeting.FORWARD
            and record.tenant.keep_alive is self.record.tenant.keep_alive
        )
        self.record = record
        self._bind(record.tenant)
        self.meeting = record.meeting
        self.endpoints = record.endpoints
        self.https_only = self._https_for_all or record.tenant.https_only
        return [] if same else self.retire()

    def await_byte(self, awaited: Awaited | None) -> None:
        """From now on the first exchange that is forwarded is looked for; None: it was found, or is not wanted."""
        self.awaited = awaited
        self._bind(self.record.tenant)

    def _bind(self, tenant: Tenant) -> None:
        self.bounds = bounds = bounds_of(tenant, self._defaults)
        self.limited = bool(bounds.body or bounds.exchange or not bounds.idle or self.awaited)
        """Whether its exchanges have to be looked at one by one."""

    def retire(self) -> list[UpstreamConnection]:
        """Throw all pools away; their idle connections, to be closed."""
        retired = [connection for _, pool in self.pools for connection in pool.retire()]
        self._renew()
        return retired

    def _renew(self) -> None:
        self.pools = [(endpoint, Pool(self.bounds.idle)) for endpoint in self.endpoints]

    def pool(self) -> tuple[Upstream, Pool[UpstreamConnection]]:
        """The endpoint whose turn it is, and its idle connections. There must be an endpoint."""
        pools = self.pools
        if len(pools) == 1:
            return pools[0]
        self.turn = (self.turn + 1) % len(pools)
        return pools[self.turn]


class Fleet:
    """All entries, and which host leads to which."""

    def __init__(self, defaults: Bounds, by_tenant: AnswersByTenant | None = None, *, https_only: bool = False) -> None:
        """``defaults`` hold for tenants that say nothing else. ``https_only``: for all tenants.

        ``by_tenant``: where their answers are counted; nobody looks at them when not given.
        """
        self.by_tenant = by_tenant or AnswersByTenant(0, [0] * CLASSES)
        self.entries: dict[str, Entry] = {}
        self._removed: dict[str, Entry] = {}
        """Entries of tenants that were removed while something was in flight: declared again, they go on."""
        self.routes = RoutingTable()
        self._defaults = defaults
        self._https_only = https_only
        self.by_host: dict[bytes, Entry | None] = {}
        """What ``find`` has found: looked up by requests, filled by ``find`` alone."""
        self.on_change: Callable[[Entry], None] = lambda _: None
        """Called after an entry took another record, and after it was removed."""

    def find(self, host: bytes) -> Entry | None:
        """The tenant of a request's host as written. Raises ValueError when it is no host."""
        try:
            return self.by_host[host]
        except KeyError:
            name = self.routes.find(host)
            entry = None if name is None else self.entries.get(name)
            if len(self.by_host) >= RoutingTable.CACHE:
                self.by_host.clear()
            self.by_host[host] = entry
            return entry

    def changed(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        """The mirror's subscriber: fold one change in."""
        hosts_before = before.tenant.hosts if before is not None else ()
        hosts_after = after.tenant.hosts if after is not None else ()
        if hosts_before != hosts_after:
            self.by_host.clear()
            self.routes.release(name, hosts_before)
            if after is not None:
                for conflict in self.routes.claim(name, after.created, hosts_after):
                    logger.error("%s; the older claim is served", conflict)
        entry = self.entries.get(name)
        if after is None:
            if entry is not None:
                del self.entries[name]
                self.by_tenant.end(entry)
                close(entry.retire())
                entry.endpoints = ()
                entry.meeting = Meeting.STOPPED
                self.on_change(entry)
                self._keep_removed(entry)
            return
        if entry is None:
            self.by_host.clear()
            # What is in flight may be at the container that the new declaration goes on with, and keeps it awake.
            entry, answers = self._removed.pop(name, None), self.by_tenant.begin()
            if entry is not None and entry.in_flight:
                entry.answers = answers
                self.entries[name] = entry
                close(entry.update(after))
            else:
                self.entries[name] = entry = Entry(after, self._defaults, answers, https_only=self._https_only)
        else:
            close(entry.update(after))
        self.on_change(entry)

    def _keep_removed(self, entry: Entry) -> None:
        self._removed = {name: each for name, each in self._removed.items() if each.in_flight}
        if entry.in_flight:
            self._removed[entry.name] = entry

    def known(self, entry: Entry) -> bool:
        """Whether the tenant is still declared."""
        return self.entries.get(entry.name) is entry


def close(connections: Iterable[UpstreamConnection]) -> None:
    """Close idle connections that no pool holds any more."""
    for connection in connections:
        connection.discard()
