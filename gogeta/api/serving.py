"""Puts the admin API on an admin listener: the one call that both programs make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta.api.events import Events
from gogeta.api.guard import Guard
from gogeta.api.operation import Operation, route
from gogeta.api.site import operations
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.registry.tokens import TokenMirror


@dataclass(frozen=True, slots=True)
class ApiServed(Collector):
    """An API at work."""

    events: Events
    guard: Guard

    def collect(self) -> Iterator[Metric]:
        """The metrics of all of it."""
        yield from self.events.collect()
        yield from self.guard.collect()


def serve_api(
    site: AdminSite,
    registry: Registry,
    mirror: TenantMirror,
    tasks: Tasks,
    more: Sequence[Operation] = (),
    *,
    auth: str,
) -> ApiServed:
    """Serve all operations on ``site``, before it starts; what is at work then, for whoever shows its metrics.

    The mirror is run by the caller, and may start later. ``auth`` is the setting ``admin_auth``.
    """
    tokens = TokenMirror(registry.store)
    tasks.start(tokens.source.run(), "tokens")
    guard = Guard(tokens, always=auth == "always", program=site.program)
    site.add_middleware(guard.middleware)
    events = Events(mirror, program=site.program)
    site.on_stop(events.close)
    site.add_routes(map(route, operations(registry, mirror, events, tasks, more)))
    return ApiServed(events, guard)
