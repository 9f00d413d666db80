"""What a worker tells its supervisor: readiness and numbers, once a second, over a socket pair that only they share.

The other direction carries nothing; its end is the message: when the supervisor is gone, the worker drains and ends, so
that no worker is ever left behind.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

REPORT_SECONDS: Final = 0.5
_MAX_REPORT: Final = 16 * 1024 * 1024
_SIZE: Final = struct.Struct("!I")

_LARGEST: Final = frozenset(
    {
        "gogeta_build_info",
        "gogeta_registry_stale_seconds",
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

    problems: Mapping[str, str | None] = field(default_factory=dict)
    """Part to problem; None where it is well. Empty until the worker serves."""
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


def encode(report: Report) -> bytes:
    """A report as bytes, with its length before it."""
    data = json.dumps(asdict(report), separators=(",", ":")).encode()
    return _SIZE.pack(len(data)) + data


async def receive(reader: asyncio.StreamReader) -> Report:
    """The next report. Raises EOFError (asyncio.IncompleteReadError) when the worker is gone."""
    (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
    if size > _MAX_REPORT:
        raise ConnectionError(f"a report of {size} bytes")
    data: dict[str, Any] = json.loads(await reader.readexactly(size))
    return Report(
        data["problems"],
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
            for family in data["families"]
        ),
    )


class WorkerLink:
    """The worker's end: takes what an admin site takes, and reports it instead of serving it."""

    def __init__(self, metrics: CollectorRegistry, end: socket.socket, stop: asyncio.Event) -> None:
        """``stop`` is set when the supervisor is gone."""
        self._metrics = metrics
        self._end = end
        self._stop = stop
        self._problems: dict[str, str | None] = {}
        self._changed = asyncio.Event()

    def ready(self, name: str, problem: str | None) -> None:
        """As AdminSite's."""
        self._problems[name] = problem
        self._changed.set()

    async def run(self) -> None:
        """Report until the supervisor is gone."""
        reader, writer = await asyncio.open_connection(sock=self._end)
        try:
            while not reader.at_eof():
                self._changed.clear()
                writer.write(encode(Report(dict(self._problems), snapshot(self._metrics))))
                await writer.drain()
                try:
                    async with asyncio.timeout(REPORT_SECONDS):
                        # Nothing is ever sent this way: what comes is the end.
                        if await reader.read(1) == b"":
                            break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        finally:
            writer.close()
            self._stop.set()
