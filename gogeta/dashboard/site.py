"""The dashboard's pages and what their buttons do, as operations beside those of the API.

A page is made whole on the server; its script asks for the part that changes again when the stream of events says so.
It must not know the registry's values in any other way than the modules of the API do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gogeta import __version__
from gogeta.api.actions import CAUSES, Actions
from gogeta.api.guard import CALLER, Guard
from gogeta.api.listing import PARAMETERS, Page, Query, read_query, tenants_page
from gogeta.api.operation import Handler, Operation, Role
from gogeta.api.problems import ApiError, Code, answering, error_of
from gogeta.api.representations import state_of, tenant_data
from gogeta.api.requests import tenant_name
from gogeta.api.tenants import CALLER_ROLE, Tenants, sees_secrets
from gogeta.dashboard import views
from gogeta.dashboard.history import History
from gogeta.domain.errors import GogetaError, InvalidInputError
from gogeta.domain.state import TenantRecord
from gogeta.kit.clock import wall_ms
from gogeta.kit.tasks import Tasks
from gogeta.registry.explaining import explained
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryError

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_ASSETS: Final = {"dashboard.css": "text/css", "dashboard.js": "text/javascript", "icon.svg": "image/svg+xml"}
_MAX_FORM: Final = 4096


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("gogeta.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.globals.update(version=__version__, steps=views.steps)
    return made


@cache
def _asset(name: str) -> bytes:
    return (files("gogeta.dashboard") / "assets" / name).read_bytes()


class Dashboard:
    """The handlers (see the module's docstring)."""

    def __init__(
        self,
        registry: Registry,
        mirror: TenantMirror,
        guard: Guard,
        tasks: Tasks,
        *,
        program: str,
        logs: bool,
    ) -> None:
        """All are used and not owned; ``program`` serves it, and can read tenants' logs or not."""
        self._logs = logs
        self._registry = registry
        self._mirror = mirror
        self._guard = guard
        self._program = program
        self._actions = Actions(registry, mirror, Tenants(registry, mirror), tasks)
        self._history = History()
        mirror.subscribe(lambda _, before, after: self._history.changed(before, after, wall_ms()))

    @property
    def operations(self) -> list[Operation]:
        """What a guard lets in by its role."""
        page = "/tenants/{name}"
        return [
            Operation("GET", "/", Role.READ, self._page(self._list), "The tenants."),
            Operation("GET", page, Role.READ, self._page(self._tenant), "One tenant."),
            *(
                Operation("POST", f"{page}/{action}", Role.OPERATE, self._page(self._act(action)), f"{action} it.")
                for action in (*CAUSES, "restart")
            ),
        ]

    @property
    def routes(self) -> list[web.RouteDef]:
        """What everybody may have: the way in, and what pages are made of."""
        return [
            web.get("/login", self._page(self._login)),
            web.post("/login", self._page(self._sign_in)),
            web.post("/logout", self._page(self._sign_out)),
            web.get("/assets/{name}", self._assets),
        ]

    def _page(self, handler: Handler) -> Handler:
        """What goes wrong as a page."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except ApiError as error:
                return self._failed(request, error)
            except GogetaError as error:
                return self._failed(request, error_of(error))

        return answering(handle)

    def _failed(self, request: web.Request, error: ApiError) -> web.Response:
        hint = f" ({error.hint})" if error.hint else ""
        return self._html(request, "base.html", status=error.status, error=error.detail + hint)

    def _html(self, request: web.Request, template: str, *, status: int = 200, **values: object) -> web.Response:
        caller = request.get(CALLER)
        shown = {
            "program": self._program,
            "signed_in": caller if caller is not None and self._guard.cookie in request.cookies else None,
            "error": "",
            **values,
        }
        text = _templates().get_template(template).render(shown)
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)

    # ------------------------------------------------------------------------------------------------ pages

    async def _list(self, request: web.Request) -> web.Response:
        asked = [(name, value) for name, value in request.query.items() if value and name in PARAMETERS]
        if not any(name == "sort" for name, _ in asked):
            asked.append(("sort", "state"))
        try:
            query = read_query(asked)
        except InvalidInputError as error:
            raise ApiError(400, Code.INVALID_QUERY, error.message, hint="go back to /") from None
        if not self._mirror.source.synced:
            raise ApiError(503, Code.REGISTRY_UNAVAILABLE, "the tenants have not been read from the registry yet")
        records, now = self._mirror.records.values(), wall_ms()
        found: Page[TenantRecord] = tenants_page(records, query)
        hour = self._history.last_hour(now)
        try:
            members = views.processes(await self._registry.members(), now)
        except RegistryError:
            members = None
        values: dict[str, Any] = {
            "query": query,
            "rows": [views.row(record, now) for record in found.items],
            "total": found.total,
            "next": found.next,
            "all": len(records),
            "tiles": views.tiles(records),
            "stale": self._mirror.source.stale,
            "released": views.released(records),
            "bars": views.bars(hour),
            "woke": sum(minute.wakes for minute in hour),
            "slept": sum(minute.sleeps for minute in hour),
            "failed": sum(minute.failures for minute in hour),
            "processes": members,
            "link": lambda **changes: _link(query, changes),
        }
        return self._html(request, "list.html" if "X-Part" in request.headers else "tenants.html", **values)

    async def _tenant(self, request: web.Request, *, status: int = 200, error: str = "") -> web.Response:
        name = tenant_name(request)
        record, _ = await self._registry.look_up(name)
        data = tenant_data(record, secrets=sees_secrets(request))
        state = state_of(record)
        values: dict[str, Any] = {
            "name": name,
            "state": state,
            "explained": await explained(self._registry, name),
            "phase": record.observed.phase if state in ("starting", "stopping") else "",
            "actions": views.actions(state),
            "logs": self._where_logs_are(record, request),
            "may_operate": request.get(CALLER_ROLE, Role.ADMIN) >= Role.OPERATE,
            "hosts": record.tenant.hosts,
            "runs": data["runs"],
            "endpoints": data["endpoints"],
            "declaration": json.dumps(data["declaration"], indent=2, ensure_ascii=False),
        }
        template = "about.html" if "X-Part" in request.headers else "tenant.html"
        return self._html(request, template, status=status, error=error, **values)

    def _where_logs_are(self, record: TenantRecord, request: web.Request) -> str:
        """``here`` where this caller can read them on this very page; ``elsewhere``, or empty for nowhere."""
        if record.tenant.routed_only or request.get(CALLER_ROLE, Role.ADMIN) < Role.OPERATE:
            return ""
        return "here" if self._logs else "elsewhere"

    def _act(self, action: str) -> Handler:
        work = self._actions.restart if action == "restart" else self._actions.handler(action)

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                await work(request)
            except ApiError as error:
                return await self._tenant(request, status=error.status, error=error.detail)
            except GogetaError as error:
                refused = error_of(error)
                if refused.code is Code.NO_SUCH_TENANT:
                    raise
                return await self._tenant(request, status=refused.status, error=refused.detail)
            return _see(f"/tenants/{tenant_name(request)}")

        return handle

    # ------------------------------------------------------------------------------------------------ the way in

    async def _login(self, request: web.Request) -> web.Response:
        return self._html(request, "login.html", next=_inside(request.query.get("next", "/")))

    async def _sign_in(self, request: web.Request) -> web.Response:
        if (request.content_length or 0) > _MAX_FORM:
            raise ApiError(413, Code.TOO_LARGE, "that is no token")
        form = await request.post()
        token, target = str(form.get("token", "")).strip(), _inside(str(form.get("next", "/")))
        try:
            self._guard.caller_of(request, f"Bearer {token}")
        except ApiError as error:
            return self._html(request, "login.html", status=error.status, error=error.detail, next=target)
        answer = _see(target)
        # Not `secure`: the listener itself speaks plain HTTP, and browsers would not send it back.
        answer.set_cookie(self._guard.cookie, token, httponly=True, samesite="Strict", path="/")
        return answer

    async def _sign_out(self, _request: web.Request) -> web.Response:
        answer = _see("/login")
        answer.del_cookie(self._guard.cookie, path="/")
        return answer

    async def _assets(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _ASSETS:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache", "ETag": f'"{__version__}"', "X-Content-Type-Options": "nosniff"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=_asset(name), content_type=_ASSETS[name], charset="utf-8", headers=headers)


def _see(target: str) -> web.Response:
    """Another page to go to; as an answer and no exception, so that the audit log has it as it ended."""
    return web.Response(status=303, headers={"Location": target})


def _inside(target: str) -> str:
    """A path of our own, whatever was asked for: nobody is led to another site."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() else "/"


def _link(query: Query, changes: Mapping[str, str | None]) -> str:
    """The query string of this list with ``changes``; another choice begins at the first page."""
    parts: dict[str, str] = {"q": query.text, "state": ",".join(sorted(query.states))}
    if "cursor" in changes:
        parts["cursor"] = changes["cursor"] or ""
    for name in ("q", "state"):
        if name in changes:
            parts[name] = changes[name] or ""
    given = {name: value for name, value in parts.items() if value}
    return f"?{urlencode(given)}" if given else ""
