"""The listeners' metrics: what never became a visitor, and the certificates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta.net.listener import TurnedAway

if TYPE_CHECKING:
    from gogeta.net.certificates import Certificates
    from gogeta.net.listener import Listener


class ListenerCollector(Collector):
    """Reads the counters of one worker's listeners."""

    def __init__(self, listeners: Sequence[Listener], certificates: Certificates | None) -> None:
        """Nothing is copied: both are read at each scrape."""
        self._listeners = tuple(listeners)
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        yield GaugeMetricFamily(
            "gogeta_connections_arriving",
            "Connections that are not visitors' yet: before the end of PROXY header and TLS handshake.",
            value=sum(len(listener.arriving) for listener in self._listeners),
        )
        counts: Counter[TurnedAway] = Counter()
        for listener in self._listeners:
            counts.update(listener.turned_away)
        turned_away = CounterMetricFamily(
            "gogeta_connections_turned_away",
            "Connections that ended before they were visitors', by reason.",
            labels=("reason",),
        )
        for reason in TurnedAway:
            turned_away.add_metric((reason.value,), counts[reason])
        yield turned_away
        certificates = self._certificates
        if certificates is None:
            return
        yield CounterMetricFamily(
            "gogeta_tls_handshakes",
            "TLS handshakes that succeeded.",
            value=sum(listener.handshakes for listener in self._listeners),
        )
        yield GaugeMetricFamily("gogeta_tls_certificates", "Certificates that are served.", value=len(certificates))
        yield GaugeMetricFamily(
            "gogeta_tls_certificate_expiry_timestamp_seconds",
            "When the first of the certificates ends, in seconds since the epoch.",
            value=certificates.first_end,
        )
        yield CounterMetricFamily(
            "gogeta_tls_certificate_reloads",
            "Certificates taken in because their files had changed.",
            value=certificates.reloads,
        )
        yield CounterMetricFamily(
            "gogeta_tls_certificate_reload_failures",
            "Changes of certificate files that could not be taken in; the last good one is served on.",
            value=certificates.failures,
        )
