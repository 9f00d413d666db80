"""The proxy's Prometheus metrics, collected from plain integers when somebody scrapes.

Labels are closed sets: no host, path or tenant name ever becomes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta import __version__
from gogeta.core.callers import Why
from gogeta.domain.lifecycle import Meeting
from gogeta.kit.clock import monotonic
from gogeta.net.tally import BOUNDS, Histogram

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
        yield _gauge("gogeta_build_info", "The running version.", {(__version__,): 1}, ("version",))
        yield from self._traffic()
        yield from self._access_log()
        yield from self._waking()
        yield from self._registry()
        if self._spans is not None:
            yield from self._spans.collect()

    def _traffic(self) -> Iterator[Metric]:
        proxy, tally = self._proxy, self._proxy.tally
        yield _gauge("gogeta_connections", "Visitors' connections open now.", {(): len(proxy.connections)})
        yield _counter("gogeta_connections_accepted", "Visitors' connections accepted.", {(): tally.connections})
        yield _counter(
            "gogeta_requests",
            "Requests answered, by class of the final status, our own answers included.",
            {(name,): tally.answers[number] for number, name in enumerate(_CLASSES, 1)},
            ("code",),
        )
        yield _counter(
            "gogeta_refusals",
            "Answers of our own, by reason.",
            {(reason,): count for reason, count in sorted(tally.refusals.items())},
            ("reason",),
        )
        yield _counter(
            "gogeta_broken_exchanges",
            "Exchanges cut after their response had begun, by the side that ended them.",
            {(side,): count for side, count in sorted(tally.broken.items())},
            ("side",),
        )
        yield _gauge("gogeta_in_flight", "Requests and tunnels under way.", {(): proxy.in_flight})
        yield _histogram(
            "gogeta_request_seconds",
            "From the request head read to the last byte sent.",
            tally.whole_seconds + tally.request_seconds,
        )
        yield _histogram(
            "gogeta_first_byte_seconds",
            "From the request head read to the first byte of the answer sent.",
            tally.whole_seconds + tally.first_byte_seconds,
        )
        yield _histogram(
            "gogeta_upstream_seconds",
            "From the request handed to the tenant's connection to the first byte of its answer.",
            tally.whole_seconds + tally.upstream_seconds,
        )
        yield _counter("gogeta_upgrades", "Connections that became tunnels.", {(): tally.upgrades})
        yield _gauge("gogeta_tasks", "Background tasks under way.", {(): len(proxy.tasks)})
        yield _gauge("gogeta_upstream_connections", "Connections to tenants open now.", {(): len(proxy.upstreams)})
        yield _counter("gogeta_upstream_connects", "Connections to tenants tried.", {(): tally.upstream_connects})
        yield _counter(
            "gogeta_upstream_connect_failures",
            "Connections to tenants that failed.",
            {(): tally.upstream_connect_failures},
        )
        yield _counter("gogeta_upstream_reuses", "Requests sent on a kept connection.", {(): tally.upstream_reuses})
        yield _counter(
            "gogeta_retries", "Requests sent again because a kept connection had died under them.", {(): tally.retries}
        )

    def _access_log(self) -> Iterator[Metric]:
        log = self._proxy.access_log
        written, dropped, failures = (0, 0, 0) if log is None else (log.written, log.dropped, log.failures)
        yield _counter("gogeta_access_log_written", "Lines of the access log written.", {(): written})
        yield _counter(
            "gogeta_access_log_dropped",
            "Lines of the access log lost, because its writer was behind or could not write.",
            {(): dropped},
        )
        yield _counter(
            "gogeta_access_log_failures", "Writes to the access log, or openings of it, that failed.", {(): failures}
        )

    def _waking(self) -> Iterator[Metric]:
        proxy, tally = self._proxy, self._proxy.tally
        yield _gauge("gogeta_held_requests", "Requests waiting for a tenant to wake.", {(): tally.held})
        yield _counter("gogeta_holds", "Requests that had to wait for a tenant.", {(): tally.holds})
        yield _histogram("gogeta_hold_seconds", "How long they waited until they were forwarded.", tally.hold_seconds)
        yield _counter(
            "gogeta_wakes",
            "Wakes asked of the registry, by result: asked, joined (somebody else was first), refused, over-budget, "
            "unavailable.",
            {(result,): count for result, count in sorted(tally.wakes.items())},
            ("result",),
        )
        yield _histogram(
            "gogeta_wake_seconds",
            "From the request that asked for a wake to the first byte of the tenant's answer.",
            tally.wake_seconds,
        )
        yield _counter(
            "gogeta_wake_reports_dropped",
            "Reports of wakes that were dropped while the registry did not take them.",
            {(): tally.wake_reports_dropped},
        )
        yield _counter(
            "gogeta_unwoken_requests",
            "Requests to sleeping tenants that were answered without a wake, by why.",
            {(why.value,): tally.unwoken[why.value] for why in Why},
            ("why",),
        )
        yield _gauge(
            "gogeta_waking_addresses",
            "Visitors' addresses whose wakes are counted.",
            {(): len(proxy.doorkeeper.by_address)},
        )
        yield _counter(
            "gogeta_passivations_taken_back",
            "Passivations reversed because the tenant was in use.",
            {(): tally.taken_back},
        )
        yield _counter(
            "gogeta_suspicions", "Tenants reported for another look because they did not answer.", {(): tally.suspects}
        )
        yield _gauge(
            "gogeta_progress_streams", "Starting pages that follow a start live now.", {(): len(proxy.progress)}
        )
        yield _counter("gogeta_progress_streams_opened", "Streams of progress opened.", {(): tally.progress_streams})
        yield _counter(
            "gogeta_page_theme_failures",
            "Changes of the theme of pages that could not be taken in.",
            {(): proxy.theming.failures},
        )
        counts = dict.fromkeys(Meeting, 0)
        for entry in tuple(proxy.fleet.entries.values()):
            counts[entry.meeting] += 1
        yield _gauge(
            "gogeta_tenants",
            "Tenants by what a visitor of theirs meets now.",
            {(meeting.value,): count for meeting, count in counts.items()},
            ("meeting",),
        )

    def _registry(self) -> Iterator[Metric]:
        source, tally = self._mirror.source, self._proxy.tally
        stale = 0.0 if source.stale_since is None else monotonic() - source.stale_since
        yield _gauge(
            "gogeta_registry_stale_seconds", "How long the registry has not answered; 0 when it does.", {(): stale}
        )
        yield _gauge("gogeta_registry_revision", "Revision up to which the routes are known.", {(): source.revision})
        yield _counter("gogeta_registry_listings", "Times that everything was listed.", {(): source.resyncs})
        yield _gauge(
            "gogeta_registry_quarantined_keys", "Keys whose value cannot be read.", {(): len(self._mirror.quarantine)}
        )
        yield _counter("gogeta_access_writes", "Last accesses written.", {(): tally.access_writes})
        yield _counter(
            "gogeta_access_write_failures", "Batches of last accesses that failed.", {(): tally.access_failures}
        )


Values = Mapping[tuple[str, ...], float]


def _gauge(name: str, text: str, values: Values, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _counter(name: str, text: str, values: Values, labels: Iterable[str] = ()) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=tuple(labels))
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets, seen = [], 0
    for bound, count in zip((*BOUNDS, float("inf")), histogram.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), seen))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)
