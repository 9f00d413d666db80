"""Tells ``core.savings`` who is asleep, by the registry's word, and shows its sums as metrics.

Only who leads counts, and only its own group's tenants: the numbers of all passivators together count nobody twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.kit.clock import monotonic
from gogeta.kit.families import counter, gauge
from gogeta.registry.mirror import TenantMirror
from passivator.core.savings import Savings, asleep


class Saved(Collector):
    """What sleeping has saved since this process began."""

    def __init__(self, metrics: CollectorRegistry, mirror: TenantMirror, need: Callable[[Tenant], int]) -> None:
        """``need``: the bytes of memory that a tenant counts for."""
        self._mirror = mirror
        self._need = need
        self._savings = Savings()
        self._mine: Callable[[TenantRecord], bool] = lambda _: False
        metrics.register(self)

    def begin(self, mine: Callable[[TenantRecord], bool]) -> Callable[[], None]:
        """Count the tenants that are ``mine``, until the function is called that is returned."""
        self._mine = mine
        for name, record in self._mirror.records.items():
            self._changed(name, None, record)
        unsubscribe = self._mirror.subscribe(self._changed)

        def end() -> None:
            unsubscribe()
            self._savings.clear(monotonic())

        return end

    def _changed(self, name: TenantName, _before: TenantRecord | None, after: TenantRecord | None) -> None:
        depth = asleep(after)
        if after is None or depth is None or not self._mine(after):
            self._savings.note(name, None, 0, monotonic())
        else:
            self._savings.note(name, depth, self._need(after.tenant), monotonic())

    def describe(self) -> Iterator[Metric]:
        """Their names: to look at the numbers takes a running loop."""
        yield from _families({(): 0.0}, 0, 0.0)

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        now, savings = monotonic(), self._savings
        seconds: dict[tuple[str, ...], float] = {
            (depth.value,): lasted for depth, lasted in savings.seconds(now).items()
        }
        yield from _families(seconds, savings.released, savings.byte_seconds(now))


def _families(seconds: dict[tuple[str, ...], float], released: int, byte_seconds: float) -> Iterator[Metric]:
    yield counter(
        "passivator_asleep_seconds",
        "Seconds that tenants were asleep, added up over all of them, by how: stopped, or paused in memory. Its rate "
        "is how many were asleep on average.",
        seconds,
        ("state",),
    )
    yield gauge(
        "passivator_memory_released_bytes",
        "Memory that the tenants which are stopped because nobody uses them would take: what they declare, or the "
        "setting memory_default.",
        {(): released},
    )
    yield counter(
        "passivator_memory_released_byte_seconds",
        "That memory times the seconds that it was released.",
        {(): byte_seconds},
    )
