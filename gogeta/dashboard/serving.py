"""Puts everything for people and programs on an admin listener: the one call that both programs make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta.api.events import Events
from gogeta.api.guard import Guard
from gogeta.api.operation import Operation, route
from gogeta.api.site import operations
from gogeta.api.tenant_logs import LogReader, TenantLogs
from gogeta.dashboard.site import Dashboard
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.registry.tokens import TokenMirror


@dataclass(frozen=True, slots=True)
class Served(Collector):
    """API and dashboard at work."""

    events: Events
    guard: Guard

    def collect(self) -> Iterator[Metric]:
        """The metrics of all of it."""
        yield from self.events.collect()
        yield from self.guard.collect()


def serve_admin(
    site: AdminSite,
    registry: Registry,
    mirror: TenantMirror,
    tasks: Tasks,
    more: Sequence[Operation] = (),
    *,
    auth: str,
    logs: LogReader | TenantLogs | None = None,
) -> Served:
    """Serve all operations and the dashboard on ``site``, before it starts; what shows their metrics.

    The mirror is run by the caller, and may start later. ``more`` are operations of other modules; ``auth`` is the
    setting ``admin_auth``; ``logs`` reads what tenants wrote, where this process drives their runtime.
    """
    tokens = TokenMirror(registry.store)
    tasks.start(tokens.source.run(), "tokens")
    guard = Guard(tokens, always=auth == "always", program=site.program)
    site.add_middleware(guard.middleware)
    events = Events(mirror, program=site.program)
    site.on_stop(events.close)
    tenant_logs = logs if isinstance(logs, TenantLogs) else TenantLogs(registry, logs)
    site.on_stop(tenant_logs.close)
    dashboard = Dashboard(registry, mirror, guard, tasks, program=site.program, logs=tenant_logs.readable)
    listed = [*operations(registry, mirror, events, tasks, [tenant_logs.operation, *more]), *dashboard.operations]
    site.add_routes([*dashboard.routes, *map(route, listed)])
    return Served(events, guard)
