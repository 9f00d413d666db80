"""One operation of the admin API: a method on a path, who may do it, and what answers it.

The list of operations is the one description of the API: routes, the roles that a guard demands and the OpenAPI
document are all made from it. It must not know any resource, nor how a caller shows who they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Role(IntEnum):
    """What a token allows; each includes those before it."""

    READ = 1
    """See everything but secrets."""
    OPERATE = 2
    """Wake, sleep, stop, start, restart."""
    ADMIN = 3
    """Declare, change and remove tenants; make and revoke tokens."""


@dataclass(frozen=True, slots=True)
class Operation:
    """``path`` as aiohttp writes it, e.g. ``/api/v1/tenants/{name}``; ``method`` in upper case."""

    method: str
    path: str
    role: Role
    handler: Handler
    summary: str
    """One line for the document."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the operation in the OpenAPI document: parameters, requestBody, responses."""


STILL_ALLOWED: Final[web.RequestKey[Callable[[], bool]]] = web.RequestKey("still_allowed")
"""The request's key under which a guard leaves what says whether the caller would be let in now, as it was before.

Answers without an end ask it: a token that was revoked, that expired or that lost its role shows nothing more.
"""
OPERATION: Final = "gogeta.api.operation"
"""The attribute under which a route's handler carries its operation, for a guard to read."""


def still_allowed(request: web.Request) -> Callable[[], bool]:
    """What ``STILL_ALLOWED`` says of a request; where no guard stands, everybody is allowed."""
    allowed: Callable[[], bool] = request.get(STILL_ALLOWED, _always)
    return allowed


def _always() -> bool:
    return True


def route(operation: Operation) -> web.RouteDef:
    """The aiohttp route of an operation."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await operation.handler(request)

    setattr(handle, OPERATION, operation)
    return web.route(operation.method, operation.path, handle)


def operation_of(request: web.Request) -> Operation | None:
    """The operation that a request was routed to; None for routes that are none, such as ``/healthz``."""
    found = getattr(request.match_info.handler, OPERATION, None)
    return found if isinstance(found, Operation) else None
