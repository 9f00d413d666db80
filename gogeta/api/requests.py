"""What a request of the API says: its body, its conditions, its name of a tenant. Everything wrong is an ApiError."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from aiohttp import web

from gogeta.api.problems import ApiError, Code
from gogeta.domain.errors import Problem
from gogeta.domain.hosts import normalise_tenant_name
from gogeta.domain.quantities import parse_duration
from gogeta.domain.state import TenantRecord

MAX_BODY: Final = 128 * 1024
"""Most bytes of a body."""
MAX_WAIT: Final = 300.0
"""Longest ``wait``, in seconds."""
_TAG: Final = re.compile(r'\s*(W/)?"([!#-~\x80-\uffff]*)"\s*(?:,|$)')
_ANY: Final = "*"


def tenant_name(request: web.Request) -> str:
    """The tenant that the path names. What cannot be a name is the name of no tenant."""
    try:
        return normalise_tenant_name(request.match_info["name"])
    except ValueError as error:
        raise ApiError(404, Code.NO_SUCH_TENANT, str(error)) from None


async def json_body(request: web.Request, media_types: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON is anything
    """The body as JSON."""
    if request.content_type not in media_types or "Content-Type" not in request.headers:
        raise ApiError(
            415,
            Code.UNSUPPORTED_MEDIA_TYPE,
            f"expected a body of type {' or '.join(media_types)}, not {request.content_type[:80]!r}",
            headers={"Accept-Patch" if request.method == "PATCH" else "Accept": ", ".join(media_types)},
        )
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(413, Code.TOO_LARGE, f"the body is larger than {MAX_BODY} bytes")
    try:
        text = body.decode("utf-8")
        data = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
        # Lone surrogates are valid JSON and no text that anything could be written with.
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ApiError(400, Code.NOT_JSON, "the body is nested too deeply") from None
    except ValueError as error:
        raise ApiError(400, Code.NOT_JSON, f"the body is not JSON ({str(error)[:200]})") from None
    return data


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


async def no_body(request: web.Request) -> None:
    """Raises ApiError when there is a body: it would say something that nobody reads."""
    async for chunk in request.content.iter_any():
        if chunk.strip():
            raise ApiError(400, Code.BAD_REQUEST, "expected no body")


def require_match(request: web.Request, record: TenantRecord | None, *, required: bool) -> int | None:
    """The revision of the declaration that a change is made over, by ``If-Match`` and ``If-None-Match``.

    0: there must be none. None: whatever there is. ``If-Match`` looks at the first part of an entity tag, the
    declaration's revision: what a tenant is meanwhile doing is nobody's edit. With ``required``, what exists is not
    changed without a condition.
    """
    match, none_match = request.headers.getall("If-Match", []), request.headers.getall("If-None-Match", [])
    if match and none_match:
        raise ApiError(400, Code.BAD_REQUEST, "expected If-Match or If-None-Match, not both")
    current = record.revision if record is not None else 0
    if none_match:
        if ",".join(none_match).strip() != _ANY:
            raise ApiError(400, Code.BAD_REQUEST, "of If-None-Match, a change takes * only: create, never replace")
        if record is not None:
            raise ApiError(412, Code.CHANGED, f"there is a tenant {record.name!r} already")
        return 0
    if not match:
        if record is not None and required:
            raise ApiError(
                428,
                Code.PRECONDITION_REQUIRED,
                f"tenant {record.name!r} exists, and is not changed without If-Match",
                hint="send the ETag of what you read, or If-Match: * to change whatever is there",
            )
        return None if record is not None else 0
    text = ",".join(match)
    if text.strip() == _ANY:
        if record is None:
            raise ApiError(412, Code.CHANGED, "there is no such tenant, and If-Match: * wants one")
        return None
    tags = _tags(text, "If-Match")
    # A weak tag never matches here (RFC 9110, 13.1.1).
    if record is None or not any(not weak and tag.partition(".")[0] == str(current) for weak, tag in tags):
        raise ApiError(
            412,
            Code.CHANGED,
            "there is no such tenant any more" if record is None else f"tenant {record.name!r} was changed meanwhile",
            hint="read it again, and make your change to what it is now",
        )
    return current


def not_modified(request: web.Request, etag: str) -> bool:
    """Whether the caller has it already, by ``If-None-Match``."""
    given = request.headers.getall("If-None-Match", [])
    if not given:
        return False
    text = ",".join(given)
    return text.strip() == _ANY or any(f'"{tag}"' == etag for _, tag in _tags(text, "If-None-Match"))


def _tags(text: str, field: str) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    place = 0
    while place < len(text) or not found:
        tag = _TAG.match(text, place)
        if tag is None:
            raise ApiError(
                400, Code.BAD_REQUEST, f'{field}: expected * or entity tags such as "12.13.14", not {text[:80]!r}'
            )
        found.append((tag[1] is not None, tag[2]))
        place = tag.end()
    return found


def wait_of(request: web.Request) -> float:
    """Seconds to wait, by ``?wait=``; 0 when it is not given."""
    for name in request.query:
        if name != "wait":
            raise ApiError(400, Code.INVALID_QUERY, f"{name[:80]} is not a parameter here; valid: wait")
    given = request.query.getall("wait", [])
    if len(given) > 1:
        raise ApiError(400, Code.INVALID_QUERY, "wait is given twice")
    if not given:
        return 0.0
    try:
        seconds = parse_duration(given[0])
    except ValueError as error:
        raise ApiError(400, Code.INVALID_QUERY, f"wait: {error}") from None
    if not 0 <= seconds <= MAX_WAIT:
        raise ApiError(400, Code.INVALID_QUERY, f"wait: expected at most {MAX_WAIT:.0f} seconds, not {given[0][:80]!r}")
    return seconds


def no_query(request: web.Request) -> None:
    """Raises ApiError for any parameter."""
    for name in request.query:
        raise ApiError(400, Code.INVALID_QUERY, f"{name[:80]} is not a parameter here; there are none")


def refused_body(problems: tuple[Problem, ...]) -> ApiError:
    """A declaration that was refused, every problem named."""
    detail = "; ".join(str(problem) for problem in problems)
    return ApiError(
        422, Code.INVALID_TENANT, detail[:4000], problems=problems[:100], hint="nothing was changed; see docs/api.md"
    )
