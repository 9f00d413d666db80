"""passivator's metrics. Labels are closed sets: no tenant's name and no host ever becomes one.

All values of a label are shown from the begin: a counter that appears at its first event would hide that event from
``rate`` and ``increase``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta import __version__
from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import ReasonCode
from gogeta.domain.wakefulness import Keeps
from gogeta.registry.metered import MeteredStore, RegistryCollector
from passivator.metered_driver import MeteredDriver

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_RESULTS: Final = ("ok", "failed")
_SLEEP_CAUSES: Final = (Cause.IDLE, Cause.ROOM, Cause.SLEEP, Cause.STOP)
_WAKE_CAUSES: Final = (Cause.REQUEST, Cause.IN_USE, Cause.WAKE, Cause.HOURS, Cause.START)

GAUGES: Final = {
    "leader": "1 while this process leads its group, 0 while it follows.",
    "memory_declared_bytes": "Memory declared by what runs and starts.",
    "memory_limit_bytes": "What that may be at the most; 0: no limit.",
    "memory_missing_bytes": "What has to become free before the first that waits can start.",
    "starts_in_progress": "Starts under way.",
    "starts_queued": "Starts waiting for their turn.",
    "starts_oldest_wait_seconds": "How long the one that has waited longest has waited; 0: none waits.",
    "registry_stale_seconds": "How long the registry has not answered; 0 when it does. Nobody is put to sleep then.",
    "runtime_unavailable_seconds": "How long the runtime has not answered, as far as was asked; 0: it does.",
}
"""What is read from the controller at each scrape; ``passivator_`` goes before the names."""


class Meters:
    """All of them, registered once."""

    def __init__(self, registry: CollectorRegistry, *, driver: str) -> None:
        """``driver`` stands in the build information."""
        self.starts = Counter(
            "passivator_starts", "Starts that ended, by result and reason.", ("result", "reason"), registry=registry
        )
        self.crashes = Counter(
            "passivator_crashes", "Started tenants that ended by themselves, by reason.", ("reason",), registry=registry
        )
        self.stops = Counter("passivator_stops", "Stops that ended, by result.", ("result",), registry=registry)
        self.passivations = Counter(
            "passivator_passivations",
            "Tenants put to sleep (paused, or stopped) or stopped by an operator, by cause.",
            ("cause",),
            registry=registry,
        )
        self.take_backs = Counter(
            "passivator_take_backs",
            "Decisions to sleep that use or another change overtook before anything was stopped.",
            registry=registry,
        )
        self.pauses = Counter("passivator_pauses", "Pauses that ended, by result.", ("result",), registry=registry)
        self.resumes = Counter("passivator_resumes", "Paused tenants that were continued.", registry=registry)
        self.destroyed = Counter(
            "passivator_destroyed",
            "Tenants removed because nobody used them (`sleep.destroy_after`).",
            registry=registry,
        )
        self.vetoes = Counter(
            "passivator_kept_awake",
            "Judgements that kept a tenant awake although its idle timeout was over, by reason.",
            ("reason",),
            registry=registry,
        )
        self.overruled = Counter(
            "passivator_vetoes_overruled",
            "Tenants put to sleep although they could not be asked, or although their `busy.at_most` was over.",
            ("why",),
            registry=registry,
        )
        self.hours_wakes = Counter(
            "passivator_scheduled_wakes", "Tenants started because their hours began.", registry=registry
        )
        self.drains = Counter(
            "passivator_drains",
            "Stops that had to wait for proxies, by how that ended: done, cut, or taken back.",
            ("result",),
            registry=registry,
        )
        self.start_seconds = Histogram(
            "passivator_start_seconds",
            "How long starts took, by phase: queued, started, ready; and in total. Of a paused tenant: resumed.",
            ("phase",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.wakes = Counter("passivator_wakes", "Wakes seen, by cause.", ("cause",), registry=registry)
        self.wake_seconds = Histogram(
            "passivator_wake_seconds",
            "How long wakes took as the proxies that asked for them saw it: asked (until the registry had the wish), "
            "known (until the proxy knew that the tenant answers), answered (until the first byte); and in total.",
            ("phase",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.timeline_writes = Counter("passivator_timeline_writes", "Timelines written.", registry=registry)
        self.timeline_dropped = Counter(
            "passivator_timeline_dropped",
            "Events that are missing in timelines, because the registry could not be written for too long.",
            registry=registry,
        )
        self.resyncs = Counter("passivator_resyncs", "Comparisons of everything.", registry=registry)
        self.removals = Counter("passivator_removals", "Removed tenants that were cleaned up.", registry=registry)
        self.suspects = Counter(
            "passivator_suspects", "Hints of proxies that a tenant does not answer.", registry=registry
        )
        self.given_up = Counter(
            "passivator_given_up",
            "Tenants given up after too many failures in a row, by the last reason.",
            ("reason",),
            registry=registry,
        )
        self.refused_starts = Counter(
            "passivator_refused_starts",
            "Starts that were not begun for want of memory or of a place to wait, by reason.",
            ("reason",),
            registry=registry,
        )
        self.webhooks = Counter(
            "passivator_webhooks",
            "Tries to deliver webhooks, by result: delivered, failed (tried again later), given-up, queue-full.",
            ("result",),
            registry=registry,
        )
        self.discovered = Counter(
            "passivator_discovered",
            "Declarations written after the labels of containers (--discover), by what was done: declared, changed, "
            "withdrawn.",
            ("change",),
            registry=registry,
        )
        self.refused_labels = Gauge(
            "passivator_refused_labels",
            "Containers and Compose projects whose labels are not in force, by why: invalid, conflict.",
            ("why",),
            registry=registry,
        )
        self.terms = Counter("passivator_terms", "Times that this process began to lead its group.", registry=registry)
        self.faults = Counter("passivator_faults", "Mistakes of our own: please report them.", registry=registry)
        self.registry = registry
        """Where they are shown."""
        self._show_all()
        Gauge(
            "passivator_build_info", "Always 1; the labels say what runs.", ("version", "driver"), registry=registry
        ).labels(__version__, driver).set(1)

    def _show_all(self) -> None:
        """Begin each of them at zero."""
        for code in ReasonCode:
            self.starts.labels("failed", code.value)
            self.crashes.labels(code.value)
            self.given_up.labels(code.value)
        self.starts.labels("ok", "")
        for metric, values in (
            (self.stops, _RESULTS),
            (self.pauses, _RESULTS),
            (self.passivations, _SLEEP_CAUSES),
            (self.wakes, _WAKE_CAUSES),
            (self.vetoes, [keeps.value for keeps in Keeps]),
            (self.overruled, ("at-most", "no-answer")),
            (self.drains, ("done", "cut", "taken-back")),
            (self.refused_starts, (ReasonCode.QUEUE_FULL.value, ReasonCode.NO_ROOM.value)),
            (self.start_seconds, ("queued", "started", "ready", "resumed", "total")),
            (self.wake_seconds, ("asked", "known", "answered", "total")),
            (self.webhooks, ("delivered", "failed", "given-up", "queue-full")),
            (self.discovered, ("declared", "changed", "withdrawn")),
            (self.refused_labels, ("invalid", "conflict")),
        ):
            for value in values:
                metric.labels(value)

    def watch_calls(self, store: MeteredStore, driver: MeteredDriver) -> None:
        """Read at each scrape what became of calls of the registry and of the runtime."""
        self.registry.register(RegistryCollector("passivator", store))
        self.registry.register(_RuntimeCollector(driver))

    def watch_lost(self, lost: Callable[[], int]) -> None:
        """Read at each scrape how often a proxy was lost while it had a tenant in use."""
        Gauge(
            "passivator_lost_proxies",
            "Proxies so far that were lost without a goodbye while they had a tenant in flight.",
            registry=self.registry,
        ).set_function(lost)

    def watch(self, read: Mapping[str, Callable[[], float]], in_state: Callable[[Observed], int]) -> None:
        """Read these at each scrape: one for each name in ``GAUGES``."""
        for name, what in GAUGES.items():
            Gauge(f"passivator_{name}", what, registry=self.registry).set_function(read[name])
        tenants = Gauge("passivator_tenants", "Tenants by observed state.", ("state",), registry=self.registry)
        for state in Observed:
            tenants.labels(state.value).set_function(lambda state=state: in_state(state))  # type: ignore[misc]


class _RuntimeCollector(Collector):
    def __init__(self, driver: MeteredDriver) -> None:
        self._driver = driver

    def collect(self) -> Iterator[Metric]:
        yield from self._driver.calls.collect("passivator_runtime", "runtime")
