from __future__ import annotations

import json

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gogeta.admin.reports import SERVING, Past, Report, decode, encode, snapshot, together


def _worker(requests: int, stale: float, seconds: float) -> Report:
    metrics = CollectorRegistry()
    Counter("gogeta_requests", "r", ("code",), registry=metrics).labels("2xx").inc(requests)
    Gauge("gogeta_registry_stale_seconds", "s", registry=metrics).set(stale)
    Gauge("gogeta_in_flight", "f", registry=metrics).set(requests)
    Histogram("gogeta_request_seconds", "h", buckets=(0.1, 1.0), registry=metrics).observe(seconds)
    return Report(SERVING, {"routes": None}, snapshot(metrics))


class _Shown(Collector):
    def __init__(self, *reports: Report) -> None:
        self._reports = reports

    def collect(self) -> list[Metric]:
        return list(together(self._reports))


def test_counters_and_histograms_of_all_workers_are_added_up() -> None:
    metrics = CollectorRegistry()
    metrics.register(_Shown(_worker(3, 0.0, 0.05), _worker(4, 0.0, 0.5)))
    text = generate_latest(metrics).decode()
    assert 'gogeta_requests_total{code="2xx"} 7.0' in text
    assert "gogeta_in_flight 7.0" in text
    assert 'gogeta_request_seconds_bucket{le="0.1"} 1.0' in text
    assert 'gogeta_request_seconds_bucket{le="1.0"} 2.0' in text
    assert "gogeta_request_seconds_count 2.0" in text


def test_what_every_worker_says_alike_is_not_added_up() -> None:
    metrics = CollectorRegistry()
    metrics.register(_Shown(_worker(1, 2.5, 0.1), _worker(1, 1.0, 0.1)))
    assert "gogeta_registry_stale_seconds 2.5" in generate_latest(metrics).decode()


def test_a_report_arrives_as_it_was_sent() -> None:
    for report in (_worker(1, 0.0, 0.3), Report()):
        assert decode(json.loads(json.dumps(encode(report)))) == report


def test_of_those_that_have_ended_only_what_grows_is_remembered() -> None:
    past = Past()
    past.add(_worker(3, 2.5, 0.05))
    past.add(_worker(4, 2.5, 0.5))
    past = Past(decode(json.loads(json.dumps(encode(past.report)))))
    metrics = CollectorRegistry()
    metrics.register(_Shown(past.report, _worker(1, 0.5, 0.05)))
    text = generate_latest(metrics).decode()
    assert 'gogeta_requests_total{code="2xx"} 8.0' in text
    assert 'gogeta_request_seconds_bucket{le="0.1"} 2.0' in text
    assert 'gogeta_request_seconds_bucket{le="+Inf"} 3.0' in text
    assert "gogeta_in_flight 1.0" in text
    assert "gogeta_registry_stale_seconds 0.5" in text
