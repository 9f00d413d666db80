"""The OpenAPI 3.1 document, made from the list of operations and from the model that declarations are read with.

Nothing is described twice: paths, methods and roles come from ``Operation``, the schema of a tenant from
``gogeta/domain/tenant.py``. What an operation adds to the document stands beside it in the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import TypeAdapter

from gogeta.api.listing import RUNS
from gogeta.api.operation import Operation
from gogeta.api.problems import MEDIA_TYPE, Code
from gogeta.api.representations import STATES
from gogeta.domain.discovery import Refused
from gogeta.domain.lifecycle import Cause, Desired, Meeting, Observed
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant

SCHEMAS: Final = "#/components/schemas/"
_LOOSE: Final = {"number": ["number", "string"], "integer": ["integer", "string"]}
"""Quantities are also read from text: ``30m``, ``256m``."""


def document(operations: Iterable[Operation], *, version: str) -> dict[str, Any]:
    """The document. Operations for every method (``*``) and HEAD are left out: they are no part of the contract."""
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        if each.method in ("*", "HEAD"):
            continue
        described = dict(each.described)
        parameters = [*_path_parameters(each.path), *described.pop("parameters", [])]
        responses = {**described.pop("responses", {}), **_shared_responses(each.method)}
        entry: dict[str, Any] = {
            "operationId": _id(each),
            "summary": each.summary,
            "x-role": each.role.name.lower(),
            **described,
            "responses": dict(sorted(responses.items())),
        }
        if parameters:
            entry["parameters"] = parameters
        paths.setdefault(each.path, {})[each.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gogeta admin API",
            "version": version,
            "description": "See and change the tenants of a gogeta registry. Errors are problem+json (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Roles: read, operate, admin (`x-role`)."}
            },
        },
    }


def answer(schema: str, description: str, *, etag: bool = False) -> dict[str, Any]:
    """A JSON answer of a named schema, for ``described``."""
    found: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": SCHEMAS + schema}}},
    }
    if etag:
        found["headers"] = {"ETag": {"schema": {"type": "string"}, "required": True}}
    return found


def query(name: str, schema: Mapping[str, Any], description: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """An optional query parameter."""
    return {"name": name, "in": "query", "required": False, "schema": dict(schema), "description": description, **more}


def header(name: str, description: str, pattern: str = "") -> dict[str, Any]:
    """An optional header."""
    schema = {"type": "string", **({"pattern": pattern} if pattern else {})}
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


def problem(status: int, description: str = "") -> dict[str, Any]:
    """An error answer, for ``described``."""
    return {
        "description": description or HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS + "Problem"}}},
    }


def problems(*statuses: int) -> dict[str, Any]:
    """Several of them."""
    return {str(status): problem(status) for status in statuses}


def _shared_responses(method: str) -> dict[str, Any]:
    return problems(*((400, 401, 403, 503) if method == "GET" else (400, 401, 403, 502, 503)))


def _id(operation: Operation) -> str:
    words = re.findall(r"[a-z0-9]+", operation.path.removeprefix("/api/v1"))
    return "_".join((operation.method.lower(), *words))


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
            if name == "name"
            else {"type": "string"},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _tenant_schemas() -> dict[str, Any]:
    schema = TypeAdapter(Tenant).json_schema(ref_template=SCHEMAS + "{model}", mode="validation")
    found: dict[str, Any] = {name: _loosened(part) for name, part in schema.pop("$defs", {}).items()}
    declaration = _loosened(schema)
    # The path says the name.
    declaration["required"] = [each for each in declaration.get("required", ()) if each != "name"]
    declaration["description"] = "A tenant as tenants.yaml has it; exactly one of docker, process and upstreams."
    found["Declaration"] = declaration
    return found


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """What is read more generously than the model's types say: quantities as text. The server is the judge of them."""
    found = dict(schema)
    found["properties"] = {name: _loose(part) for name, part in schema.get("properties", {}).items()}
    return found


def _loose(part: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(part, dict):
        return part
    if part.get("type") in _LOOSE:
        return {**part, "type": _LOOSE[part["type"]]}
    if "anyOf" in part:
        return {**part, "anyOf": [_loose(each) for each in part["anyOf"]]}
    return part


def _schemas() -> dict[str, Any]:
    text, time = {"type": "string"}, {"type": ["string", "null"], "format": "date-time"}
    texts, maybe, count = (
        {"type": "array", "items": text},
        {"type": ["string", "null"]},
        {"type": "integer", "minimum": 0},
    )
    reason = _object(
        code={"enum": [each.value for each in ReasonCode]},
        message=text,
        retry_at=time,
        failures=count,
        given_up={"type": "boolean"},
    )
    summary = {
        "name": text,
        "state": {"enum": list(STATES)},
        "since": time,
        "meets": {"enum": [each.value for each in Meeting]},
        "hosts": texts,
        "runs": {"enum": list(RUNS)},
        "group": maybe,
        "endpoints": texts,
        "desired": _or_null("Desired"),
        "observed": _or_null("Observed"),
        "etag": text,
        "revision": count,
    }
    number = {"type": ["number", "null"]}
    return {
        **_tenant_schemas(),
        "MergePatch": {"type": "object", "description": "RFC 7396: fields to set; null puts one back to its default."},
        "Summary": _object(**summary),
        "Tenant": _object(
            **summary,
            policy=_object(
                idle_timeout=number,
                sleeps_after=number,
                stop_grace=number,
                wake_mode=text,
                https_only={"type": "boolean"},
            ),
            declaration={"type": "object", "description": "Like Declaration, without what is at its default."},
        ),
        "Desired": _object(
            state={"enum": [each.value for each in Desired]},
            since=time,
            cause={"enum": [*(each.value for each in Cause), None]},
            by=text,
            wakes=count,
        ),
        "Observed": _object(
            state={"enum": [each.value for each in Observed]},
            since=time,
            phase=maybe,
            phases={"type": "array", "items": _object(name=text, ms={"type": "number"})},
            ahead={"type": ["integer", "null"]},
            instance=maybe,
            wakes=count,
            reason={"anyOf": [reason, {"type": "null"}]},
        ),
        "Tenants": _page("Summary"),
        "Route": _object(host=text, tenant=text, state=text, meets=text, endpoints=texts),
        "Routes": _page("Route"),
        "Member": _object(id=text, since=time, listeners=texts, driver=maybe, group=maybe, role=maybe),
        "Members": _object(items={"type": "array", "items": {"$ref": SCHEMAS + "Member"}}, total=count),
        "Refusal": _object(source=text, why={"enum": [each.value for each in Refused]}, message=text, tenants=texts),
        "Refusals": _object(items={"type": "array", "items": {"$ref": SCHEMAS + "Refusal"}}, total=count),
        "Asked": _object(
            name=text,
            action=text,
            desired={"enum": [each.value for each in Desired]},
            changed={"type": "boolean"},
            reached={"type": "boolean"},
            tenant=_or_null("Summary"),
        ),
        "Told": {"type": "object", "description": "docs/explaining.md describes its members."},
        "Problem": {
            **_object(
                type=text, title=text, status={"type": "integer"}, detail=text, code={"enum": [c.value for c in Code]}
            ),
            "description": "RFC 9457. `hint` says what to do next; `problems` names the fields of a refused body.",
        },
    }


def _page(item: str) -> dict[str, Any]:
    return _object(
        items={"type": "array", "items": {"$ref": SCHEMAS + item}},
        total={"type": "integer", "minimum": 0},
        next={"type": ["string", "null"]},
        stale={"type": "boolean"},
    )


def _object(**members: Any) -> dict[str, Any]:  # noqa: ANN401 - schemas are JSON
    return {"type": "object", "properties": members, "required": list(members)}


def _or_null(name: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": SCHEMAS + name}, {"type": "null"}]}
