"""The reference of metrics, docs/metrics.md: made from what the collectors themselves say, as they are at rest.

Which question a metric answers is declared beside the collectors (``admin/questions.py``, and passivator's); a metric
without a question, or a question with a metric that is not there, is an error: neither can be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Final

from prometheus_client.core import Metric

_NOT_LISTED: Final = frozenset({"version", "driver", "tenant"})
"""Labels whose values nobody knows before."""
_INTRO: Final = """
    # Metrics

    <!-- Made by docs/generate.py from the collectors in the code; do not edit. -->

    Both programs show theirs at `/metrics` of the admin listener, in Prometheus' text format, or as OpenMetrics where
    that is asked for; [operations.md](operations.md#metrics-alerts-and-a-dashboard) says how to scrape, watch and draw
    them. `gogeta up` shows both. Counters begin at zero with the process; all values of a label are there from the
    begin, so `rate` and `increase` see the first event, too. Times are seconds, sizes bytes.

    No label ever carries a host or a path. The label `tenant` is off unless `metrics_tenants` says of how many tenants
    requests are counted by name; all others are `_other`. Every other label has a fixed set of values.

    passivator also shows what prometheus-client tells of a process: `process_...` and `python_...`.
"""
_KINDS: Final = {"counter": "_total", "gauge": "", "histogram": ""}
"""How each kind is told by its name, behind that of the family."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program's metrics, and the questions that they answer."""

    title: str
    intro: str
    families: Sequence[Metric]
    questions: Mapping[str, Sequence[str]]
    """Question to names of families, in the order of the page."""


def metrics_page(programs: Iterable[Program]) -> str:
    """docs/metrics.md. Raises ValueError for a metric without a question, or a question's metric that is not there."""
    lines = [cleandoc(_INTRO), ""]
    for program in programs:
        families = {family.name: family for family in program.families}
        named = [name for names in program.questions.values() for name in names]
        if sorted(named) != sorted(families):
            wrong = set(named) ^ set(families) or {name for name in named if named.count(name) > 1}
            raise ValueError(f"{program.title}: not in exactly one question: {', '.join(sorted(wrong))}")
        lines += [f"## {program.title}", "", program.intro, ""]
        for question, names in program.questions.items():
            lines += [f"### {question}", "", "| metric | kind | labels | |", "|---|---|---|---|"]
            lines += [_row(families[name]) for name in names]
            lines.append("")
    return "\n".join(lines)


def _row(family: Metric) -> str:
    text = family.documentation.replace("|", "\\|")
    return f"| `{family.name}{_KINDS[family.type]}` | {family.type} | {_labels(family)} | {text} |"


def _labels(family: Metric) -> str:
    values: dict[str, dict[str, None]] = {}
    for label in getattr(family, "_labelnames", ()):
        values[label] = {}
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        for label, value in sample.labels.items():
            if label != "le":
                values.setdefault(label, {})[value] = None
    return "; ".join(f"`{label}`{_listed(label, tuple(known))}" for label, known in values.items())


def _listed(label: str, values: Sequence[str]) -> str:
    if label in _NOT_LISTED or not values:
        return ""
    return ": " + ", ".join(f"`{value}`" if value else "none" for value in values)
