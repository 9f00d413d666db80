"""The admin API in one list: every operation with its path, role and description.

Both programs serve it, each over its own registry and mirror. Routes, the guard's roles and the OpenAPI document are
made from this list, and from nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web

from gogeta import __version__
from gogeta.api.actions import CAUSES, Actions
from gogeta.api.events import Events
from gogeta.api.listing import DEFAULT_LIMIT, MAX_LIMIT, MAX_TEXT, ORDERS, RUNS
from gogeta.api.openapi import SCHEMAS, answer, document, header, problems, query
from gogeta.api.operation import Handler, Operation, Role
from gogeta.api.problems import NO_STORE, ApiError, Code, answering
from gogeta.api.representations import STATES
from gogeta.api.requests import MAX_WAIT, no_query
from gogeta.api.surroundings import Surroundings
from gogeta.api.tenants import JSON, MERGE_PATCH, Tenants
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry

ROOT: Final = "/api/v1"
_TENANT: Final = ROOT + "/tenants/{name}"
_TAG: Final = r'(W/)?"[!#-~]*"'
_TAGS: Final = rf"^(\*|{_TAG}(, ?{_TAG})*)$"
_IF_MATCH: Final = header("If-Match", "The ETag of what the change is made to, or * for whatever is there.", _TAGS)
_KNOWN: Final = header("If-None-Match", "The ETag that is known: 304 when it is still so.", _TAGS)
_ONLY_NEW: Final = header("If-None-Match", "*: create only, never replace.", r"^\*$")
_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_PAGING: Final = (
    query("q", {"type": "string", "maxLength": MAX_TEXT}, "Part of a name or of a host."),
    query("limit", _COUNT, "Most items of the page."),
    query("cursor", {"type": "string", "minLength": 1}, "`next` of the page before."),
)
_WAIT: Final = query(
    "wait",
    {"type": "number", "minimum": 0, "maximum": MAX_WAIT},
    f"Seconds to wait until it is so, at most {MAX_WAIT:.0f}; a duration such as 1m30s is read, too.",
)
_SORTS: Final = [sign + name for name in ORDERS for sign in ("", "-")]
_SUMMARIES: Final = {
    "wake": "Wake it, as its first request would.",
    "sleep": "Put it to sleep; its next request wakes it.",
    "stop": "Stop it; requests do not wake it.",
    "start": "Start it, also one that was stopped.",
}


def operations(
    registry: Registry,
    mirror: TenantMirror,
    events: Events,
    tasks: Tasks,
    more: Sequence[Operation] = (),
) -> list[Operation]:
    """All operations, ``more`` (of other modules) among them, in the order in which they have to be routed.

    Everything is used and not owned: the mirror and the tasks run elsewhere.
    """
    tenants = Tenants(registry, mirror)
    actions = Actions(registry, mirror, tenants, tasks)
    surroundings = Surroundings(registry, tenants)
    listed = [
        *_resources(tenants),
        *_actions(actions),
        Operation(
            "GET", ROOT + "/routes", Role.READ, surroundings.routes, "Hosts and the tenants that answer for them.",
            {"parameters": list(_PAGING), "responses": {"200": answer("Routes", "A page of routes.")}},
        ),
        Operation(
            "GET", ROOT + "/proxies", Role.READ, surroundings.proxies, "The proxies that are alive.",
            {"responses": {"200": answer("Members", "The proxies.")}},
        ),
        Operation(
            "GET", ROOT + "/passivators", Role.READ, surroundings.passivators,
            "The passivators that are alive, and who leads.",
            {"responses": {"200": answer("Members", "The passivators.")}},
        ),
        Operation(
            "GET", ROOT + "/discovery", Role.READ, surroundings.discovery,
            "Labels of containers that are not in force, and why.",
            {"responses": {"200": answer("Refusals", "What `passivator --discover` could not take.")}},
        ),
        *_event_streams(events),
        *more,
    ]  # fmt: skip
    described: dict[str, object] = {}

    async def openapi(request: web.Request) -> web.Response:
        no_query(request)
        return web.json_response(described, headers=NO_STORE)

    content = {JSON: {"schema": {"type": "object"}}}
    listed.append(
        Operation(
            "GET",
            ROOT + "/openapi.json",
            Role.READ,
            openapi,
            "This document.",
            {"responses": {"200": {"description": "OpenAPI 3.1.", "content": content}}},
        )
    )
    described.update(document(listed, version=__version__))
    heads = [
        replace(each, method="HEAD")
        for each in listed
        if each.method == "GET" and "events" not in each.path and "logs" not in each.path
    ]
    listed.extend(heads)
    listed.append(Operation("*", "/api{rest:(/.*)?}", Role.READ, _unrouted(listed), "What is none of the above."))
    return [replace(each, handler=answering(each.handler)) for each in listed]


def _resources(tenants: Tenants) -> list[Operation]:
    one = {"200": answer("Tenant", "The tenant.", etag=True)}
    changed = problems(404, 409, 412, 413, 415, 422, 428)
    declaration = {"required": True, "content": {JSON: {"schema": {"$ref": SCHEMAS + "Declaration"}}}}
    patch = {"schema": {"$ref": SCHEMAS + "MergePatch"}}
    filters = [
        query(
            "state", {"type": "array", "items": {"enum": list(STATES)}}, "Any of these states.",
            style="form", explode=True,
        ),
        query("runs", {"enum": list(RUNS)}, "How it runs."),
        query("group", {"type": "string"}, "Its group of passivators."),
        query("sort", {"enum": _SORTS, "default": "name"}, "The order; `state` puts what fails first."),
        *_PAGING,
    ]  # fmt: skip
    created = answer("Tenant", "It was created.", etag=True)
    created["headers"]["Location"] = {"schema": {"type": "string"}}
    return [
        Operation(
            "GET", ROOT + "/tenants", Role.READ, tenants.list, "A page of tenants.",
            {"parameters": filters, "responses": {"200": answer("Tenants", "A page of tenants.")}},
        ),
        Operation(
            "GET", _TENANT, Role.READ, tenants.get, "One tenant.",
            {
                "parameters": [_KNOWN],
                "responses": {**one, "304": {"description": "It is as the caller has it."}, **problems(404)},
            },
        ),
        Operation(
            "PUT", _TENANT, Role.ADMIN, tenants.put, "Declare a tenant: create it, or replace its declaration.",
            {
                "parameters": [_IF_MATCH, _ONLY_NEW],
                "requestBody": declaration,
                "responses": {**one, "201": created, **changed},
            },
        ),
        Operation(
            "PATCH", _TENANT, Role.ADMIN, tenants.patch, "Change parts of its declaration.",
            {
                "parameters": [_IF_MATCH],
                "requestBody": {"required": True, "content": {MERGE_PATCH: patch, JSON: patch}},
                "responses": {**one, **changed},
            },
        ),
        Operation(
            "DELETE", _TENANT, Role.ADMIN, tenants.delete, "Remove it; passivator ends what runs for it.",
            {"parameters": [_IF_MATCH], "responses": {"204": {"description": "It is removed."}, **problems(404, 412)}},
        ),
        Operation(
            "GET", _TENANT + "/explain", Role.READ, tenants.explain, "Why it is as it is.",
            {"responses": {"200": answer("Told", "The explanation."), **problems(404)}},
        ),
        Operation(
            "GET", _TENANT + "/timeline", Role.READ, tenants.timeline, "What happened to it lately.",
            {"responses": {"200": answer("Told", "Its timeline."), **problems(404)}},
        ),
    ]  # fmt: skip


def _actions(actions: Actions) -> list[Operation]:
    described = {
        "parameters": [_WAIT],
        "responses": {
            "200": answer("Asked", "It is so."),
            "202": answer("Asked", "It was asked for."),
            **problems(404, 409),
        },
    }
    found = [
        Operation("POST", f"{_TENANT}/{action}", Role.OPERATE, actions.handler(action), _SUMMARIES[action], described)
        for action in CAUSES
    ]
    restart = "Stop it, and start it again."
    return [*found, Operation("POST", _TENANT + "/restart", Role.OPERATE, actions.restart, restart, described)]


def _event_streams(events: Events) -> list[Operation]:
    since = [
        header("Last-Event-ID", "The id of the last event that was received: those after it follow."),
        query("last_event_id", {"type": "string"}, "The same, for those who cannot set a header."),
    ]
    stream = {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    upgraded = {"101": {"description": "A WebSocket: one JSON object a message, with id, event and data."}}
    return [
        Operation(
            "GET", ROOT + "/events", Role.READ, events.handle, "Every change of a tenant, as it happens.",
            {"parameters": since, "responses": {"200": stream, **upgraded}},
        ),
        Operation(
            "GET", ROOT + "/events/ws", Role.READ, events.handle, "The same over WebSocket alone.",
            {"parameters": since, "responses": upgraded},
        ),
    ]  # fmt: skip


def _unrouted(listed: Iterable[Operation]) -> Handler:
    """Answers what no operation does: an unknown path, or a method that the path does not have."""
    known: dict[str, tuple[re.Pattern[str], list[str]]] = {}
    for each in listed:
        pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(each.path)))
        known.setdefault(each.path, (pattern, []))[1].append(each.method)

    async def handle(request: web.Request) -> web.Response:
        for pattern, methods in known.values():
            if pattern.fullmatch(request.path):
                allow = ", ".join(sorted(methods))
                raise ApiError(
                    405,
                    Code.METHOD_NOT_ALLOWED,
                    f"{request.path[:200]} does not take {request.method[:40]}, only {allow}",
                    headers={"Allow": allow},
                )
        raise ApiError(
            404,
            Code.NOT_FOUND,
            f"there is nothing at {request.path[:200]}",
            hint=f"{ROOT}/openapi.json describes what there is",
        )

    return handle
