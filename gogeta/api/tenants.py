"""Tenants as resources: list, get, put, patch, delete; and what is told of one: why it is so, and what happened to it.

Reads are made from the mirror where that is enough, so that they come while the registry is away; a change is guarded
by the revision that its maker saw. Whoever may not see secrets gets an environment without its values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from gogeta.api.listing import read_query, tenants_page
from gogeta.api.operation import Role
from gogeta.api.problems import NO_STORE, ApiError, Code
from gogeta.api.representations import etag_of, summary_data, tenant_data
from gogeta.api.requests import (
    json_body,
    no_body,
    no_query,
    not_modified,
    refused_body,
    require_match,
    tenant_name,
)
from gogeta.domain.errors import InvalidInputError, Problem, UnknownTenantError
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName, read_tenant, tenant_to_data
from gogeta.registry.conditional import DeclarationChangedError, declare, remove
from gogeta.registry.declarations import ATTEMPTS
from gogeta.registry.explaining import explained, recounted
from gogeta.registry.forbidding import forbidden_upstreams
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry

logger = logging.getLogger(__name__)

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
CALLER_ROLE: Final = web.RequestKey("gogeta.role", Role)
"""Where a guard leaves the caller's role in the request; without one, everything may be seen."""
_CATCH_UP: Final = 1.0
"""Seconds that an answered change may take to be in this process' own lists, too."""


def sees_secrets(request: web.Request) -> bool:
    """Whether the caller may see values of environments."""
    role = request.get(CALLER_ROLE)
    return role is None or role >= Role.ADMIN


class Tenants:
    """The handlers (see the module's docstring)."""

    def __init__(self, registry: Registry, mirror: TenantMirror) -> None:
        """Both are used and not owned; the mirror runs elsewhere."""
        self._registry = registry
        self._mirror = mirror

    def synced(self) -> TenantMirror:
        """The mirror, once it has been whole. Raises ApiError before that."""
        if not self._mirror.source.synced:
            raise ApiError(
                503,
                Code.REGISTRY_UNAVAILABLE,
                "the tenants have not been read from the registry yet",
                headers={"Retry-After": "1"},
            )
        return self._mirror

    async def record(self, name: str) -> TenantRecord:
        """A tenant as of now; as it was last known while the registry is away. Raises UnknownTenantError."""
        if self._mirror.source.synced and self._mirror.source.stale:
            known = self._mirror.records.get(TenantName(name))
            if known is not None:
                return known
        record, _ = await self._registry.look_up(name)
        return record

    async def caught_up(self, revision: int) -> None:
        """Return when this process' own copy has seen ``revision``, or when that takes too long."""
        waited = 0.0
        while self._mirror.source.revision < revision and waited < _CATCH_UP:
            await asyncio.sleep(0.01)
            waited += 0.01

    async def list(self, request: web.Request) -> web.Response:
        """A page of tenants."""
        try:
            query = read_query(request.query.items())
        except InvalidInputError as error:
            raise ApiError(
                400, Code.INVALID_QUERY, "; ".join(map(str, error.problems))[:4000], problems=error.problems[:100]
            ) from None
        mirror = self.synced()
        page = tenants_page(mirror.records.values(), query)
        return _json(
            {
                "items": [summary_data(record) for record in page.items],
                "total": page.total,
                "next": page.next,
                "stale": mirror.source.stale,
            }
        )

    async def get(self, request: web.Request) -> web.Response:
        """One tenant."""
        no_query(request)
        record = await self.record(tenant_name(request))
        etag = etag_of(record)
        if not_modified(request, etag):
            return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-cache"})
        return _tenant(request, record)

    async def put(self, request: web.Request) -> web.Response:
        """Declare a tenant, as tenants.yaml would."""
        no_query(request)
        data = await json_body(request, (JSON,))
        if not isinstance(data, dict):
            raise refused_body((Problem((), "expected an object with the fields of a tenant"),))
        name = _new_name(request)
        data.setdefault("name", name)
        return await self._change(request, name, lambda _: data, creating=True)

    async def patch(self, request: web.Request) -> web.Response:
        """Change some fields of a declaration: a merge patch (RFC 7396); null puts a field back to its default."""
        no_query(request)
        change = await json_body(request, (MERGE_PATCH, JSON))
        if not isinstance(change, dict):
            raise refused_body((Problem((), "expected an object with the fields to change"),))
        name = tenant_name(request)

        def changed(record: TenantRecord | None) -> object:
            assert record is not None  # noqa: S101 - `creating` is off
            return merged(tenant_to_data(record.tenant), change)

        return await self._change(request, name, changed, creating=False)

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a tenant: passivator ends what runs for it."""
        no_query(request)
        await no_body(request)
        name = tenant_name(request)
        for _ in range(ATTEMPTS):
            record = await self._existing(name)
            if record is None:
                # Raises, with the nearest name.
                record = await self._registry.record(name)
            expected = require_match(request, record, required=False)
            try:
                await remove(self._registry, name, record.revision if expected is None else expected)
            except DeclarationChangedError as error:
                if expected is not None:
                    raise _changed(error) from None
                continue
            logger.info("tenant %s was removed by the API", name)
            return web.Response(status=204, headers=NO_STORE)
        raise _busy(name)

    async def explain(self, request: web.Request) -> web.Response:
        """Why it is as it is."""
        return await self._told(request, explained)

    async def timeline(self, request: web.Request) -> web.Response:
        """What happened to it lately."""
        return await self._told(request, recounted)

    async def _told(
        self, request: web.Request, tell: Callable[[Registry, str], Awaitable[dict[str, Any]]]
    ) -> web.Response:
        no_query(request)
        return _json(await tell(self._registry, tenant_name(request)))

    async def _existing(self, name: str) -> TenantRecord | None:
        try:
            record, _ = await self._registry.look_up(name)
        except UnknownTenantError:
            return None
        return record

    async def _change(
        self, request: web.Request, name: str, make: Callable[[TenantRecord | None], object], *, creating: bool
    ) -> web.Response:
        for _ in range(ATTEMPTS):
            record = await self._existing(name)
            if record is None and not creating:
                # Raises, with the nearest name.
                await self._registry.record(name)
            expected = require_match(request, record, required=True)
            # Whoever changes it by hand declares it: from now on it is not the labels' any more.
            tenant = replace(_read(make(record), name), discovered=False)
            await self._check_upstreams(tenant)
            found = record.revision if record is not None else 0
            try:
                revision = await declare(self._registry, tenant, found if expected is None else expected)
            except DeclarationChangedError as error:
                if expected is not None:
                    raise _changed(error) from None
                continue
            logger.info("tenant %s was %s by the API", name, "changed" if record else "created")
            await self.caught_up(revision)
            now = await self._existing(name)
            if now is None:
                raise ApiError(409, Code.OVERTAKEN, f"tenant {name!r} was written, and removed by somebody at once")
            response = _tenant(request, now, 200 if record is not None else 201)
            if record is None:
                response.headers["Location"] = f"/api/v1/tenants/{name}"
            return response
        raise _busy(name)

    async def _check_upstreams(self, tenant: Tenant) -> None:
        if not tenant.upstreams:
            return
        forbidden = forbidden_upstreams(await self._registry.members(), self._registry.store.endpoints)
        problems = tuple(
            Problem(("upstreams", place), rule)
            for place, upstream in enumerate(tenant.upstreams)
            if (rule := forbidden.rule_against(upstream)) is not None
        )
        if problems:
            raise refused_body(problems)


def merged(target: object, change: object) -> object:
    """``change`` applied to ``target`` as a merge patch (RFC 7396)."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _new_name(request: web.Request) -> str:
    try:
        return tenant_name(request)
    except ApiError as error:
        raise refused_body((Problem(("name",), error.detail),)) from None


def _read(data: object, name: str) -> Tenant:
    try:
        tenant = read_tenant(data, what="tenant")
    except InvalidInputError as error:
        raise refused_body(error.problems) from None
    problems = []
    if tenant.name != name:
        problems.append(Problem(("name",), f"expected {name!r}, as the path says, not {tenant.name!r}"))
    cwd = tenant.process.cwd if tenant.process is not None else None
    if cwd is not None and not cwd.startswith("/"):
        problems.append(
            Problem(("process", "cwd"), f"expected an absolute path: there is no file that {cwd[:80]!r} starts from")
        )
    if problems:
        raise refused_body(tuple(problems))
    return tenant


def _changed(error: DeclarationChangedError) -> ApiError:
    return ApiError(
        412, Code.CHANGED, error.message, hint="nothing was changed; read it again, and make your change to that"
    )


def _busy(name: str) -> ApiError:
    return ApiError(
        503,
        Code.REGISTRY_UNAVAILABLE,
        f"others kept changing tenant {name!r} at the same time",
        hint="try again in a moment",
        headers={"Retry-After": "1"},
    )


def _tenant(request: web.Request, record: TenantRecord, status: int = 200) -> web.Response:
    response = _json(tenant_data(record, secrets=sees_secrets(request)), status)
    response.headers["ETag"] = etag_of(record)
    response.headers["Cache-Control"] = "no-cache" if status == 200 and request.method == "GET" else "no-store"
    return response


def _json(data: object, status: int = 200) -> web.Response:
    return web.json_response(data, status=status, headers=NO_STORE)
