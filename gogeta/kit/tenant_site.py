"""What an admin listener tells of single tenants: ``/api/v1/tenants/NAME/explain`` and ``.../timeline``, read-only.

It knows paths and answers and no registry: what there is to say comes from two functions. Errors are problem+json
(RFC 9457).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from gogeta.domain.errors import Fault, GogetaError, UnknownTenantError
from gogeta.domain.hosts import normalise_tenant_name

Teller = Callable[[str], Awaitable[dict[str, Any]]]
"""Takes a tenant's name; raises GogetaError, UnknownTenantError among them."""

_NO_STORE: Final = {"Cache-Control": "no-store"}


def tenant_routes(explained: Teller, recounted: Teller) -> list[web.RouteDef]:
    """Routes for ``AdminSite.add_routes``."""
    return [
        web.get("/api/v1/tenants/{name}/explain", _handler(explained)),
        web.get("/api/v1/tenants/{name}/timeline", _handler(recounted)),
    ]


def _handler(tell: Teller) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            name = normalise_tenant_name(request.match_info["name"])
        except ValueError as error:
            return problem(404, "no-such-tenant", str(error))
        try:
            data = await tell(name)
        except UnknownTenantError as error:
            return problem(404, "no-such-tenant", error.message, hint=error.hint)
        except GogetaError as error:
            away = error.fault is Fault.REGISTRY
            return problem(503 if away else 500, "registry-unavailable" if away else "error", error.message)
        return web.json_response(data, headers=_NO_STORE)

    return handle


def problem(status: int, code: str, detail: str, *, hint: str = "") -> web.Response:
    """An error as RFC 9457 has it. ``code`` is one of a closed set, for programs; ``hint`` says what to do next."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    if hint:
        body["hint"] = hint
    return web.Response(
        text=json.dumps(body) + "\n", status=status, content_type="application/problem+json", headers=_NO_STORE
    )
