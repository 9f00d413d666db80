"""Metrics from plain numbers, in the form that prometheus-client shows: what collectors of both programs are made with.

A family whose labels are a closed set is given with all of them, zeros included: a counter that appears at its first
event would hide that event from ``rate`` and ``increase``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from gogeta.kit.histogram import BOUNDS, Histogram

Values = Mapping[tuple[str, ...], float]
"""Number by the values of the labels, in their order; one without labels stands under ``()``."""


def gauge(name: str, text: str, values: Values, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    """A number that goes up and down."""
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def counter(name: str, text: str, values: Values, labels: Iterable[str] = ()) -> CounterMetricFamily:
    """A number that only grows; ``name`` without ``_total``."""
    family = CounterMetricFamily(name, text, labels=tuple(labels))
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def histogram(
    name: str, text: str, histograms: Mapping[tuple[str, ...], Histogram], labels: Iterable[str] = ()
) -> HistogramMetricFamily:
    """Observations in seconds, by bucket."""
    family = HistogramMetricFamily(name, text, labels=tuple(labels))
    for label, one in histograms.items():
        buckets, seen = [], 0
        for bound, count in zip((*BOUNDS, float("inf")), one.counts, strict=True):
            seen += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), seen))
        family.add_metric(label, buckets, one.total)
    return family
