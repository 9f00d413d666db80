"""What a PromQL expression asks for: metrics, their matchers, and the labels that it groups by.

It is no parser, and need not be one: promtool judges the syntax. Every word that is neither a function, a keyword, a
number nor a label in its place counts as the name of a metric, so that a misspelt one is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_NAMES: Final = """
    sum min max avg count topk bottomk quantile stddev group count_values
    rate irate increase delta deriv changes resets histogram_quantile scalar vector time absent absent_over_time
    avg_over_time max_over_time min_over_time sum_over_time last_over_time label_replace clamp_min clamp_max abs round
    and or unless bool offset inf nan
"""
_WORDS: Final = frozenset(_NAMES.split())
"""Functions and keywords."""
_OF_PROMETHEUS: Final = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "job", "instance"}}
"""Metrics that Prometheus makes itself."""
_OF_SCRAPES: Final = frozenset({"job", "instance"})
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*\{([^{}]*)\}")
_MATCHER: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_RANGE: Final = re.compile(r"\[[^\]]*\]")
_WORD: Final = re.compile(r"(?<![0-9.a-zA-Z_:$])[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector."""

    label: str
    operator: str
    value: str


@dataclass
class Asked:
    """What an expression asks for."""

    selectors: list[tuple[str, tuple[Matcher, ...]]] = field(default_factory=list)
    """Each metric with its matchers."""
    labels: set[str] = field(default_factory=set)
    """Those that it groups by."""

    @property
    def metrics(self) -> set[str]:
        """All names."""
        return {name for name, _ in self.selectors}


def read(expression: str) -> Asked:
    """What is asked for."""
    asked = Asked()
    rest = expression

    def grouped(match: re.Match[str]) -> str:
        asked.labels.update(label.strip() for label in match[1].split(",") if label.strip())
        return " "

    def selected(match: re.Match[str]) -> str:
        matchers = tuple(Matcher(*found.groups()) for found in _MATCHER.finditer(match[2]))
        names = [match[1]] if match[1] else []
        for matcher in matchers:
            if matcher.label == "__name__":
                names += matcher.value.split("|")
        others = tuple(matcher for matcher in matchers if matcher.label != "__name__")
        asked.selectors.extend((name, others) for name in names)
        return " "

    rest = _SELECTOR.sub(selected, rest)
    rest = _STRING.sub(" ", rest)
    rest = _GROUPING.sub(grouped, rest)
    rest = _RANGE.sub(" ", rest)
    asked.selectors.extend((word, ()) for word in _WORD.findall(rest) if word.lower() not in _WORDS)
    return asked


class Shown:
    """The metrics that programs show: each sample's name with its labels and their values."""

    def __init__(self, *texts: str) -> None:
        """``texts``: in Prometheus' format."""
        self.labels: dict[str, dict[str, set[str]]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    known = self.labels.setdefault(sample.name, {})
                    for label, value in sample.labels.items():
                        known.setdefault(label, set()).add(value)

    def complaints(self, expression: str, variables: Mapping[str, str] | None = None) -> Iterator[str]:
        """What an expression asks for that nobody shows. ``variables``: text that stands for values."""
        asked = read(expression)
        known: set[str] = set(_OF_SCRAPES)
        for name, matchers in asked.selectors:
            if name in _OF_PROMETHEUS:
                known |= _OF_PROMETHEUS[name]
                continue
            if name not in self.labels:
                yield f"no metric {name!r}"
                continue
            labels = self.labels[name]
            known |= set(labels)
            for matcher in matchers:
                if matcher.label in _OF_SCRAPES:
                    continue
                if matcher.label not in labels:
                    yield f"{name} has no label {matcher.label!r}"
                elif matcher.value not in (variables or {}):
                    yield from self._unknown_values(name, matcher, labels[matcher.label])
        yield from (f"no metric here has the label {label!r}" for label in asked.labels - known)

    def _unknown_values(self, name: str, matcher: Matcher, values: set[str]) -> Iterator[str]:
        wanted = matcher.value.split("|") if "~" in matcher.operator else [matcher.value]
        for value in wanted:
            if not any(re.fullmatch(value, each) for each in values):
                yield f"{name} has no {matcher.label}={value!r}, only {sorted(values)}"
