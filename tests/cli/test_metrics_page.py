"""The reference of metrics cannot leave one out, and names what it is shown by."""

from __future__ import annotations

import pytest
from prometheus_client.core import Metric

from gogeta.cli.metrics_page import Program, metrics_page
from gogeta.kit.families import counter, gauge, histogram
from gogeta.kit.histogram import Histogram

FAMILIES: list[Metric] = [
    counter("gogeta_a", "How often a | b.", {("x",): 0.0, ("",): 0.0}, ("why",)),
    gauge("gogeta_b", "How much.", {(): 1.0}),
    histogram("gogeta_c_seconds", "How long.", {(): Histogram()}),
]


def page(*names: str) -> str:
    return metrics_page([Program("gogeta", "Of it.", FAMILIES, {"Is it so?": names})])


def test_each_metric_stands_under_its_question_with_kind_labels_and_text() -> None:
    text = page("gogeta_a", "gogeta_b", "gogeta_c_seconds")
    assert "## gogeta\n\nOf it.\n\n### Is it so?\n" in text
    assert "| `gogeta_a_total` | counter | `why`: `x`, none | How often a \\| b. |" in text
    assert "| `gogeta_b` | gauge |  | How much. |" in text
    assert "| `gogeta_c_seconds` | histogram |  | How long. |" in text


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (("gogeta_a", "gogeta_b"), "gogeta_c_seconds"),
        (("gogeta_a", "gogeta_b", "gogeta_c_seconds", "gogeta_d"), "gogeta_d"),
        (("gogeta_a", "gogeta_b", "gogeta_c_seconds", "gogeta_b"), "gogeta_b"),
    ],
    ids=["forgotten", "not there", "twice"],
)
def test_a_metric_that_is_forgotten_not_there_or_named_twice_is_an_error(names: tuple[str, ...], wrong: str) -> None:
    with pytest.raises(ValueError, match=f"gogeta: not in exactly one question: {wrong}$"):
        page(*names)
