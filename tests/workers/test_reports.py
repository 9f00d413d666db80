from __future__ import annotations

import json

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gogeta.admin.reports import SERVING, Past, Report, decode, encode, snapshot, together
from gogeta.kit.channel import Channel, pair
from gogeta.kit.families import counter, gauge
from gogeta.settings import MOST_METRICS_TENANTS


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


def _of_tenants(requests: dict[str, int]) -> Report:
    metrics = CollectorRegistry()
    counter = Counter("gogeta_tenant_requests", "r", ("tenant", "code"), registry=metrics)
    for tenant, number in requests.items():
        counter.labels(tenant, "2xx").inc(number)
    return Report(SERVING, {}, snapshot(metrics))


def _requests(*reports: Report) -> dict[str, float]:
    return {
        sample.labels["tenant"]: sample.value
        for metric in together(reports)
        for sample in metric.samples
        if sample.name == "gogeta_tenant_requests_total"
    }


def test_requests_of_a_tenant_are_those_of_all_workers_and_of_those_that_have_ended() -> None:
    past = Past()
    past.add(_of_tenants({"acme": 3, "_other": 1}))
    now = (_of_tenants({"acme": 1}), _of_tenants({"acme": 1, "globex": 2}))
    assert _requests(*now, past.report) == {"acme": 5, "globex": 2, "_other": 1}


def test_over_the_years_no_more_tenants_are_remembered_by_name_than_there_may_be_at_a_time() -> None:
    past, total = Past(), 0
    for year in range(5):
        living = {f"t{year}-{number}": 2 for number in range(MOST_METRICS_TENANTS - 1)}
        past.add(_of_tenants({"acme": 1, **living}))
        total += 1 + sum(living.values())
        shown = _requests(past.report)
        assert len(shown) <= MOST_METRICS_TENANTS + 1
        assert shown["acme"] == year + 1, "who is still named keeps all it had"
        assert sum(shown.values()) == total, "nothing is forgotten: it is some of the others'"


def test_a_report_with_as_many_tenants_as_may_be_fits_through_the_channel() -> None:
    ours, theirs = pair()
    sender, receiver = Channel(ours), Channel(theirs)
    # As long as a name may be.
    names = [f"{number:063}" for number in range(MOST_METRICS_TENANTS + 1)]
    codes = ("1xx", "2xx", "3xx", "4xx", "5xx")
    requests: dict[tuple[str, ...], float] = {(name, code): 1e9 for name in names for code in codes}
    in_flight: dict[tuple[str, ...], float] = {(name,): 1e4 for name in names}

    class Tenants(Collector):
        def collect(self) -> list[Metric]:
            return [
                counter("gogeta_tenant_requests", "r", requests, ("tenant", "code")),
                gauge("gogeta_tenant_in_flight", "f", in_flight, ("tenant",)),
            ]

    metrics = CollectorRegistry()
    metrics.register(Tenants())
    message = encode(Report(SERVING, {}, snapshot(metrics)))
    # net.core.wmem_max as it comes, of which the system grants twice as much.
    assert len(json.dumps(message, separators=(",", ":"))) < 212_992
    assert sender.send(message)
    sender.close()
    receiver.close()
