"""The proxy's Prometheus metrics, collected from plain integers when somebody scrapes.

Labels are closed sets, and shown with all their values from the begin. No host and no path ever becomes one; the name
of a tenant does where that was asked for, for a limited number of them (``net/by_tenant.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta import __version__
from gogeta.admin.waking import waking_metrics
from gogeta.core.refusal import Reason
from gogeta.kit.clock import monotonic
from gogeta.kit.families import counter, gauge, histogram
from gogeta.net.tally import SIDES

if TYPE_CHECKING:
    from gogeta.net.forwarder import Proxy
    from gogeta.registry.mirror import TenantMirror

_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


class ProxyCollector(Collector):
    """Reads one worker's counters."""

    def __init__(self, proxy: Proxy, mirror: TenantMirror, spans: Collector | None = None) -> None:
        """Nothing is copied: all are read at each scrape. ``spans``: where there are some, what became of them."""
        self._proxy = proxy
        self._mirror = mirror
        self._spans = spans

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        yield gauge("gogeta_build_info", "The running version.", {(__version__,): 1}, ("version",))
        yield from self._traffic()
        yield from self._access_log()
        yield from waking_metrics(self._proxy)
        yield from self._registry()
        if self._spans is not None:
            yield from self._spans.collect()

    def _traffic(self) -> Iterator[Metric]:
        proxy, tally = self._proxy, self._proxy.tally
        entries, by_tenant = tuple(proxy.fleet.entries.values()), proxy.fleet.by_tenant
        shown = by_tenant.shown(entries)
        total = by_tenant.total(shown)
        yield gauge("gogeta_connections", "Visitors' connections open now.", {(): len(proxy.connections)})
        yield counter("gogeta_connections_accepted", "Visitors' connections accepted.", {(): tally.connections})
        yield counter(
            "gogeta_requests",
            "Requests answered, by class of the final status, our own answers included. A refusal in gRPC's words, "
            "which HTTP sees as 200, counts as what it stands for.",
            {(name,): total[number] for number, name in enumerate(_CLASSES, 1)},
            ("code",),
        )
        yield counter(
            "gogeta_tenant_requests",
            "Requests answered, by class, of each tenant that is counted by name (`metrics_tenants`); _other: of all "
            "other tenants.",
            {
                (tenant, name): answers[number]
                for tenant, answers in shown.items()
                for number, name in enumerate(_CLASSES, 1)
            },
            ("tenant", "code"),
        )
        yield gauge(
            "gogeta_tenant_in_flight",
            "Requests and tunnels under way to each tenant that is counted by name.",
            {(name,): entry.in_flight for name, entry in by_tenant.named(entries).items()},
            ("tenant",),
        )
        yield counter(
            "gogeta_refusals",
            "Answers of our own instead of the tenant's, by reason, in whatever words the caller understands.",
            {(reason.value,): tally.refusals[reason.value] for reason in Reason},
            ("reason",),
        )
        yield counter(
            "gogeta_broken_exchanges",
            "Exchanges cut after their response had begun, by the side that ended them.",
            {(side,): tally.broken[side] for side in SIDES},
            ("side",),
        )
        yield gauge("gogeta_in_flight", "Requests and tunnels under way.", {(): proxy.in_flight})
        yield histogram(
            "gogeta_request_seconds",
            "From the request head read to the last byte sent.",
            {(): tally.whole_seconds + tally.request_seconds},
        )
        yield histogram(
            "gogeta_first_byte_seconds",
            "From the request head read to the first byte of the answer sent.",
            {(): tally.whole_seconds + tally.first_byte_seconds},
        )
        yield histogram(
            "gogeta_upstream_seconds",
            "From the request handed to the tenant's connection to the first byte of its answer.",
            {(): tally.whole_seconds + tally.upstream_seconds},
        )
        yield counter("gogeta_upgrades", "Connections that became tunnels.", {(): tally.upgrades})
        yield gauge("gogeta_tasks", "Background tasks under way.", {(): len(proxy.tasks)})
        yield gauge("gogeta_upstream_connections", "Connections to tenants open now.", {(): len(proxy.upstreams)})
        yield counter("gogeta_upstream_connects", "Connections to tenants tried.", {(): tally.upstream_connects})
        yield counter(
            "gogeta_upstream_connect_failures",
            "Connections to tenants that failed.",
            {(): tally.upstream_connect_failures},
        )
        yield counter("gogeta_upstream_reuses", "Requests sent on a kept connection.", {(): tally.upstream_reuses})
        yield counter(
            "gogeta_retries", "Requests sent again because a kept connection had died under them.", {(): tally.retries}
        )

    def _access_log(self) -> Iterator[Metric]:
        log = self._proxy.access_log
        written, dropped, failures = (0, 0, 0) if log is None else (log.written, log.dropped, log.failures)
        yield counter("gogeta_access_log_written", "Lines of the access log written.", {(): written})
        yield counter(
            "gogeta_access_log_dropped",
            "Lines of the access log lost, because its writer was behind or could not write.",
            {(): dropped},
        )
        yield counter(
            "gogeta_access_log_failures", "Writes to the access log, or openings of it, that failed.", {(): failures}
        )

    def _registry(self) -> Iterator[Metric]:
        source, tally = self._mirror.source, self._proxy.tally
        stale = 0.0 if source.stale_since is None else monotonic() - source.stale_since
        yield gauge(
            "gogeta_registry_stale_seconds", "How long the registry has not answered; 0 when it does.", {(): stale}
        )
        yield gauge("gogeta_registry_revision", "Revision up to which the routes are known.", {(): source.revision})
        yield counter("gogeta_registry_listings", "Times that everything was listed.", {(): source.resyncs})
        yield gauge(
            "gogeta_registry_quarantined_keys", "Keys whose value cannot be read.", {(): len(self._mirror.quarantine)}
        )
        yield counter("gogeta_access_writes", "Last accesses written.", {(): tally.access_writes})
        yield counter(
            "gogeta_access_write_failures", "Batches of last accesses that failed.", {(): tally.access_failures}
        )
