"""Puts the admin API on an admin listener: the one call that both programs make."""

from __future__ import annotations

from collections.abc import Sequence

from gogeta.api.events import Events
from gogeta.api.operation import Operation, route
from gogeta.api.site import operations
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry


def serve_api(
    site: AdminSite, registry: Registry, mirror: TenantMirror, tasks: Tasks, more: Sequence[Operation] = ()
) -> Events:
    """Serve all operations on ``site``, before it starts; the events, for whoever shows their metrics.

    The mirror is run by the caller, and may start later.
    """
    events = Events(mirror, program=site.program)
    site.on_stop(events.close)
    site.add_routes(map(route, operations(registry, mirror, events, tasks, more)))
    return events
