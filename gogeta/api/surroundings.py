"""``/api/v1/routes``, ``/proxies``, ``/passivators``, ``/discovery``: which host leads where, and who is there.

The last one tells which labels of containers are not in force.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gogeta.api.listing import PAGING, page_of, read_query
from gogeta.api.problems import NO_STORE, ApiError, Code
from gogeta.api.representations import member_data, refusal_data, state_of
from gogeta.api.requests import no_query
from gogeta.api.tenants import Tenants
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.state import TenantRecord
from gogeta.registry.discovering import discoveries
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryRefusedError


class Surroundings:
    """The handlers (see the module's docstring)."""

    def __init__(self, registry: Registry, tenants: Tenants) -> None:
        """Both are used and not owned."""
        self._registry = registry
        self._tenants = tenants

    async def routes(self, request: web.Request) -> web.Response:
        """A page of hosts, each with its tenant; of two claims to a host the older holds."""
        try:
            query = read_query(request.query.items(), PAGING)
        except InvalidInputError as error:
            raise ApiError(
                400, Code.INVALID_QUERY, "; ".join(map(str, error.problems))[:4000], problems=error.problems[:100]
            ) from None
        mirror = self._tenants.synced()
        holders: dict[str, TenantRecord] = {}
        for record in sorted(mirror.records.values(), key=lambda record: (record.created, record.name)):
            for host in record.tenant.hosts:
                holders.setdefault(host, record)
        hosts = [host for host, record in holders.items() if not query.text or query.text in host + " " + record.name]
        page = page_of(hosts, lambda host: ("", host), query)
        return _json(
            {
                "items": [_route(host, holders[host]) for host in page.items],
                "total": page.total,
                "next": page.next,
                "stale": mirror.source.stale,
            }
        )

    async def proxies(self, request: web.Request) -> web.Response:
        """The proxies that are alive."""
        return await self._members(request, "gogeta")

    async def passivators(self, request: web.Request) -> web.Response:
        """The passivators that are alive; ``role`` says who leads its group."""
        return await self._members(request, "passivator")

    async def discovery(self, request: web.Request) -> web.Response:
        """Labels of containers that are not in force; none where nobody discovers, or we may not read of it."""
        no_query(request)
        try:
            found = await discoveries(self._registry.store)
        except RegistryRefusedError:
            found = ()
        items = [refusal_data(refusal) for discovery in found for refusal in discovery.refusals]
        return _json({"items": items, "total": len(items) + sum(discovery.more for discovery in found)})

    async def _members(self, request: web.Request, kind: str) -> web.Response:
        no_query(request)
        members = sorted((each for each in await self._registry.members() if each.kind == kind), key=lambda m: m.id)
        return _json({"items": [member_data(member) for member in members], "total": len(members)})


def _route(host: str, record: TenantRecord) -> dict[str, Any]:
    return {
        "host": host,
        "tenant": record.name,
        "state": state_of(record),
        "meets": record.meeting.value,
        "endpoints": [str(endpoint) for endpoint in record.endpoints],
    }


def _json(data: object) -> web.Response:
    return web.json_response(data, headers=NO_STORE)
