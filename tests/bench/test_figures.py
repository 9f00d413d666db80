"""The statistics, the table and the targets of ``bench forward``."""

import json
from typing import Any, cast

import pytest

from bench import report, targets
from bench.rounds import interleaved, rotated
from bench.samples import Row, Rows, Sample
from bench.scenarios import latency, small, workers
from bench.targets import Target


def sample(**figures: object) -> Sample:
    defaults = {"count": 1000, "seconds": 2.0, "cpu": 0.5, "rss": 20e6, "p50": 1.0, "p99": 4.0}
    return Sample(**cast("dict[str, Any]", defaults | figures))


def row(proxy: str, *samples: Sample, scenario: str = "small", variant: str = "same", note: str = "") -> Row:
    return Row(scenario, variant, proxy, "request", samples, note)


def test_a_sample_is_a_rate_and_a_cost_for_each() -> None:
    one = sample()
    assert (one.rate, one.each, one.busy) == (500, 500, 0.25)
    nothing_counted = sample(count=0)
    assert (nothing_counted.rate, nothing_counted.each, nothing_counted.busy) == (None, None, 0.25)
    without_proxy = sample(cpu=None)
    assert (without_proxy.rate, without_proxy.each, without_proxy.busy) == (500, None, None)


def test_a_row_shows_medians_so_one_disturbed_round_does_not_count() -> None:
    disturbed = row("nginx", sample(cpu=0.5), sample(cpu=0.6), sample(cpu=9.0, failed=2))
    assert disturbed.middle(lambda one: one.each) == 600
    assert disturbed.failed == 2
    assert row("nginx", sample(p50=None)).middle(lambda one: one.p50) is None
    assert json.loads(json.dumps(disturbed.plain()))["cpu_us"] == 600
    assert len(disturbed.plain()["samples"]) == 3


def test_rounds_are_interleaved_and_begin_with_another_each_time() -> None:
    order: list[str] = []

    def run(name: str) -> Sample:
        order.append(name)
        return sample(count=len(order))

    found = interleaved("", 3, {name: (lambda name=name: run(name)) for name in "abc"})  # type: ignore[misc]
    assert "".join(order) == "abcbcacab"
    assert [one.count for one in found["a"]] == [1, 6, 8]
    assert rotated(["a"], 5) == ["a"]


def test_the_table_has_a_line_for_each_proxy_and_the_ratio_to_nginx() -> None:
    rows = Rows([row("gogeta", sample(cpu=0.75), note="a note"), row("nginx", sample(), sample(failed=3))])
    rows.append(row("gogeta", sample(count=0, rss=None), variant="other"))
    lines = [line.split() for line in report.table(rows).splitlines()]
    assert lines[0][:2] == ["small,", "same"]
    assert lines[2] == ["gogeta", "500", "750", "1.50", "37.5", "1.00", "4.00", "20.0", "a", "note"]
    assert lines[3] == ["nginx", "500", "500", "1.00", "25.0", "1.00", "4.00", "20.0", "3", "FAILED"]
    assert lines[4] == []
    assert lines[7] == ["gogeta", "-", "-", "-", "25.0", "1.00", "4.00", "-"]


def test_the_table_for_the_readme_has_the_same_cells() -> None:
    rows = Rows([row("gogeta", sample(cpu=0.75), note="a note"), row("nginx", sample())])
    head, rule, first, _ = report.markdown(rows).splitlines()
    assert head.count("|") == rule.count("|") == first.count("|")
    assert first == "| small, same | gogeta | 500 | 750 | 1.50 | 37.5 | 1.00 | 4.00 | 20.0 | a note |"


def test_a_target_is_met_missed_or_not_known() -> None:
    assert Target("", 1.6, 1.6).met is True
    assert Target("", 1.6, 1.61).met is False
    assert Target("", 0.7, 0.7, at_least=True).met is True
    assert Target("", 0.7, 0.69, at_least=True).met is False
    assert Target("", 0.7, None).met is None
    told = targets.lines([Target("CPU", 1.6, 2.0, unit="x nginx"), Target("rate", 0.7, None, at_least=True)])
    assert told[0].split() == ["CPU", "<=", "1.6", "x", "nginx", "2", "MISSED"]
    assert told[1].split()[:5] == ["rate", ">=", "0.7", "-", "not"]
    assert "| CPU | <= 1.6 x nginx | 2 | MISSED |" in targets.markdown([Target("CPU", 1.6, 2.0, unit="x nginx")])


def test_gogeta_is_held_against_nginx_and_go() -> None:
    rows = Rows([row("gogeta", sample(cpu=0.75)), row("nginx", sample(p99=1.0)), row("go", sample(cpu=1.5))])
    measured = {(target.text, target.unit): target.measured for target in small.targets(rows)}
    assert measured["small, same: CPU per request", "x nginx"] == 1.5
    assert measured["small, same: CPU per request", "x go"] == 0.5
    assert measured["small, same: p99", "x nginx"] == 4
    assert measured["small, varied: p99", "x nginx"] is None, "not measured"


def test_latency_is_what_is_added_to_a_direct_request() -> None:
    rows = Rows(row(name, sample(p50=p50), scenario="latency") for name, p50 in (("direct", 0.1), ("gogeta", 0.35)))
    [target] = latency.targets(rows)
    assert target.measured == pytest.approx(0.25)
    assert latency.targets(Rows(rows[:1]))[0].measured is None


@pytest.mark.parametrize(("by_rate", "gain"), [(1.0, 1.5), (0.0, 1.6)])
def test_two_workers_gain_by_rate_or_by_cpu_time(by_rate: float, gain: float) -> None:
    one = row("gogeta", sample(), scenario="workers", variant="1 worker")
    pair = sample(count=1500, cpu=0.5 / 0.8 * 1.5, besides={"by_rate": by_rate})
    rows = Rows([one, row("gogeta", pair, scenario="workers", variant="2 workers")])
    assert workers.gain(rows) == pytest.approx(gain)
    assert workers.gain(Rows(rows[:1])) is None
