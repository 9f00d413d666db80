"""What a worker tells its supervisor: how far it is, readiness and numbers, over a channel that only they share.

The other direction carries two words, ``go`` (serve) and ``retire`` (others serve now), and levels of logs. Its end
is a message, too: when the supervisor is gone, the worker drains and ends, so that no worker is ever left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from gogeta.domain.errors import InvalidInputError
from gogeta.kit.channel import Channel
from gogeta.kit.log_levels import change_log_levels, read_log_levels
from gogeta.net.by_tenant import OTHER
from gogeta.settings import MOST_METRICS_TENANTS

logger = logging.getLogger(__name__)

REPORT_SECONDS: Final = 0.5
GO: Final = "go"
RETIRE: Final = "retire"
LEVELS: Final = "log-levels"

STARTING: Final = "starting"
PREPARED: Final = "prepared"
"""All is there to serve visitors; waits for the word."""
SERVING: Final = "serving"
ENDING: Final = "ending"

TENANT: Final = "tenant"
"""The one label that is no closed set."""
_LASTING: Final = frozenset({"counter", "histogram", "summary"})
"""Kinds of metrics that only ever grow."""
_LARGEST: Final = frozenset(
    {
        "gogeta_build_info",
        "gogeta_registry_stale_seconds",
        "gogeta_registry_watch_behind_seconds",
        "gogeta_registry_revision",
        "gogeta_registry_quarantined_keys",
        "gogeta_tenants",
        "gogeta_tls_certificates",
        "gogeta_tls_certificate_expiry_timestamp_seconds",
    }
)
"""Gauges that say the same in every worker: the largest counts. All others are added up."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number: its name as exposed, its labels, its value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of a worker."""

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a worker tells."""

    stage: str = STARTING
    problems: Mapping[str, str | None] = field(default_factory=dict)
    """Part to problem; None where it is well."""
    families: tuple[Family, ...] = ()


def snapshot(metrics: CollectorRegistry) -> tuple[Family, ...]:
    """The metrics of this process as plain values."""
    return tuple(
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            tuple(
                Sample(sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
                for sample in metric.samples
            ),
        )
        for metric in metrics.collect()
    )


def together(reports: Iterable[Report]) -> Iterable[Metric]:
    """The metrics of all workers as those of one program."""
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for report in reports:
        for family in report.families:
            families.setdefault(family.name, family)
            numbers = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, sample.labels)
                before = numbers.get(key, 0.0)
                numbers[key] = max(before, sample.value) if family.name in _LARGEST else before + sample.value
    for name, family in families.items():
        metric = Metric(name, family.text, family.kind)
        for (exposed, labels), value in values[name].items():
            metric.add_sample(exposed, dict(labels), value)
        yield metric


class Past:
    """The counters of workers that have ended: a sum over all workers must never fall because one is gone."""

    def __init__(self, report: Report | None = None) -> None:
        """``report``: what an earlier supervisor remembered."""
        self.report = report or Report()

    def add(self, report: Report) -> None:
        """Remember the last words of a worker; its gauges end with it."""
        last = Report(families=tuple(family for family in report.families if family.kind in _LASTING))
        both = (_without_old_tenants(self.report, last), last)
        self.report = Report(
            families=tuple(
                Family(
                    metric.name,
                    metric.type,
                    metric.documentation,
                    tuple(
                        Sample(sample.name, tuple(sorted(sample.labels.items())), sample.value)
                        for sample in metric.samples
                        # When a counter was made says nothing about one that is a sum.
                        if not sample.name.endswith("_created")
                    ),
                )
                for metric in together(both)
            )
        )


def _tenants(report: Report) -> set[str]:
    samples = (sample for family in report.families for sample in family.samples)
    return {value for sample in samples for label, value in sample.labels if label == TENANT}


def _without_old_tenants(past: Report, last: Report) -> Report:
    """Once too many tenants have been named in all the time, those that are named no more are some of the others."""
    named = _tenants(last)
    old = _tenants(past) - named - {OTHER}
    if len(named | old) <= MOST_METRICS_TENANTS:
        return past

    def renamed(sample: Sample) -> Sample:
        labels = ((label, OTHER if label == TENANT and value in old else value) for label, value in sample.labels)
        return replace(sample, labels=tuple(labels))

    families = (replace(family, samples=tuple(map(renamed, family.samples))) for family in past.families)
    return replace(past, families=tuple(families))


def encode(report: Report) -> dict[str, Any]:
    """A report as a message."""
    return asdict(report)


def decode(message: Mapping[str, Any]) -> Report:
    """A report from a message. Raises KeyError, TypeError or ValueError for anything else."""
    return Report(
        str(message["stage"]),
        message["problems"],
        tuple(
            Family(
                family["name"],
                family["kind"],
                family["text"],
                tuple(
                    Sample(sample["name"], tuple((key, value) for key, value in sample["labels"]), sample["value"])
                    for sample in family["samples"]
                ),
            )
            for family in message["families"]
        ),
    )


class WorkerLink:
    """The worker's end: takes what an admin site takes, and reports it instead of serving it."""

    def __init__(self, metrics: CollectorRegistry, channel: Channel, stop: asyncio.Event) -> None:
        """``stop`` is set when the supervisor is gone."""
        self._metrics = metrics
        self._channel = channel
        self._stop = stop
        self._stage = STARTING
        self._problems: dict[str, str | None] = {}
        self._may_go = asyncio.Event()
        self.retired = asyncio.Event()
        """Others serve now: end when what is under way is done."""

    def ready(self, name: str, problem: str | None) -> None:
        """As AdminSite's."""
        self._problems[name] = problem
        self._tell()

    def prepared(self) -> asyncio.Event:
        """Say that all is there; the event is the word to serve."""
        self._stage = PREPARED
        self._tell()
        return self._may_go

    def serving(self) -> None:
        """Say that visitors are served."""
        self._stage = SERVING
        self._tell()

    def close(self) -> None:
        """Say the last word: the counters as they are at the end."""
        self._stage = ENDING
        self._tell()
        self._channel.close()

    def _tell(self) -> None:
        # What does not get through is told again, newer, in a moment.
        self._channel.send(encode(Report(self._stage, dict(self._problems), snapshot(self._metrics))))

    async def report(self) -> None:
        """Report once in a while, for ever."""
        while True:
            self._tell()
            await asyncio.sleep(REPORT_SECONDS)

    async def obey(self) -> None:
        """Hear the supervisor until it is gone."""
        while (message := await self._channel.receive()) is not None:
            match message.get("do"):
                case "go":
                    self._may_go.set()
                case "retire":
                    self.retired.set()
                case "log-levels":
                    try:
                        change_log_levels(read_log_levels(message.get("levels")))
                    except InvalidInputError as error:
                        logger.warning("the supervisor says what cannot be read: %s", error)
                case other:
                    logger.warning("the supervisor says %r, which this version does not know", other)
        self._stop.set()
