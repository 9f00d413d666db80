"""The reader of PromQL finds what an expression asks for, and what nobody shows: it must not be able to overlook."""

from __future__ import annotations

import pytest

from tests.deploy.promql import Shown, read

SHOWN = Shown(
    """
# TYPE gogeta_requests_total counter
gogeta_requests_total{code="2xx"} 1
gogeta_requests_total{code="5xx"} 1
# TYPE gogeta_request_seconds histogram
gogeta_request_seconds_bucket{le="+Inf"} 1
gogeta_request_seconds_sum 1
gogeta_request_seconds_count 1
# TYPE passivator_leader gauge
passivator_leader 1
"""
)


def test_metrics_matchers_and_groups_are_read() -> None:
    asked = read(
        'sum by (code, instance) (rate(gogeta_requests_total{code!="2xx"}[5m])) / scalar(sum(passivator_leader)) > 1e3'
    )
    assert asked.metrics == {"gogeta_requests_total", "passivator_leader"}
    assert asked.labels == {"code", "instance"}
    assert read('{__name__=~"a_b|c_d", x="y"}').metrics == {"a_b", "c_d"}
    assert read("topk(10, gogeta_in_flight) or vector(0)").metrics == {"gogeta_in_flight"}
    assert read("rate(a_total[$__rate_interval]) - time() < 7 * 86400").metrics == {"a_total"}


@pytest.mark.parametrize(
    "expression",
    [
        "passivator_leader",
        "absent(passivator_leader == 1)",
        'sum by (code) (rate(gogeta_requests_total{code=~"2xx|5xx", instance="here"}[5m]))',
        'sum by (code) (rate(gogeta_requests_total{code=~"2.."}[$__rate_interval]))',
        "histogram_quantile(0.95, sum by (le) (rate(gogeta_request_seconds_bucket[5m])))",
        'up{job="gogeta"} == 0',
        'count(ALERTS{alertstate="firing"})',
    ],
)
def test_what_is_shown_may_be_asked_for(expression: str) -> None:
    assert list(SHOWN.complaints(expression)) == []


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("passivator_leadr", "no metric 'passivator_leadr'"),
        ("rate(gogeta_requests[5m])", "no metric 'gogeta_requests'"),
        ("sum(gogta_requests_total)", "no metric 'gogta_requests_total'"),
        ("rate(gogeta_request_seconds[5m])", "no metric 'gogeta_request_seconds'"),
        ('gogeta_requests_total{cod="2xx"}', "no label 'cod'"),
        ('gogeta_requests_total{code="6xx"}', "has no code='6xx'"),
        ('gogeta_requests_total{code!="6xx"}', "has no code='6xx'"),
        ('gogeta_requests_total{code=~"2xx|6xx"}', "has no code='6xx'"),
        ("sum by (reason) (gogeta_requests_total)", "the label 'reason'"),
        ('{__name__=~"passivator_leader|passivator_leadr"}', "no metric 'passivator_leadr'"),
    ],
)
def test_what_is_not_shown_is_complained_about(expression: str, complaint: str) -> None:
    assert [each for each in SHOWN.complaints(expression) if complaint in each]
