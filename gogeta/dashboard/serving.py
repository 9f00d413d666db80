"""Puts everything for people and programs on an admin listener: the one call that both programs make."""

from __future__ import annotations

from collections.abc import Sequence

from gogeta.api.operation import Operation, route
from gogeta.api.serving import ApiServed, serve_api
from gogeta.dashboard.site import Dashboard
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry


def serve_all(
    site: AdminSite,
    registry: Registry,
    mirror: TenantMirror,
    tasks: Tasks,
    more: Sequence[Operation] = (),
    *,
    auth: str,
) -> ApiServed:
    """As ``serve_api``, and the dashboard at ``/``."""
    served = serve_api(site, registry, mirror, tasks, more, auth=auth)
    dashboard = Dashboard(registry, mirror, served.guard, tasks, program=site.program)
    site.add_routes([*dashboard.routes, *map(route, dashboard.operations)])
    return served
