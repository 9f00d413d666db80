"""``/api/v1/log-levels``: how much is logged, read and changed while the program runs.

A change holds until the next start or reload of the program. Where workers serve, it is theirs, too: who composes the
site says how it gets there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from gogeta.api.operation import Operation, Role
from gogeta.domain.errors import InvalidInputError
from gogeta.kit.log_levels import LEVELS, MOST_LOGGERS, LogLevels, change_log_levels, log_levels, read_log_levels
from gogeta.kit.tenant_site import problem

PATH: Final = "/api/v1/log-levels"
_LONGEST: Final = 16 * 1024
_LEVEL: Final = {"type": "string", "enum": list(LEVELS)}
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["level"],
    "additionalProperties": False,
    "properties": {
        "level": {**_LEVEL, "description": "For all loggers that have no level of their own."},
        "loggers": {
            "type": "object",
            "description": "Levels of single loggers, and of all below them.",
            "maxProperties": MOST_LOGGERS,
            "propertyNames": {
                "pattern": r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
                "maxLength": 128,
            },
            "additionalProperties": _LEVEL,
        },
    },
}
_CONTENT: Final = {"application/json": {"schema": SCHEMA}}
_DONE: Final = {"200": {"description": "The levels as they are now.", "content": _CONTENT}}
_REFUSED: Final = {
    "description": "Nothing is changed; `problems` says what is wrong with each part.",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}


def log_level_operations(change: Callable[[LogLevels], None] = change_log_levels) -> list[Operation]:
    """Reading and changing levels; ``change`` is what a change does."""

    async def read(_request: web.Request) -> web.Response:
        return _answer()

    async def write(request: web.Request) -> web.Response:
        if (request.content_length or 0) > _LONGEST:
            return problem(413, "too-large", f"expected at most {_LONGEST} bytes")
        body = await request.content.read(_LONGEST + 1)
        while len(body) <= _LONGEST and (more := await request.content.read(_LONGEST + 1)):
            body += more
        if len(body) > _LONGEST:
            return problem(413, "too-large", f"expected at most {_LONGEST} bytes")
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            return problem(400, "not-json", f"the body is not JSON: {error}")
        try:
            levels = read_log_levels(data)
        except InvalidInputError as error:
            return problem(422, "invalid", str(error))
        change(levels)
        return _answer()

    return [
        Operation("GET", PATH, Role.ADMIN, read, "How much is logged", {"responses": _DONE}),
        Operation(
            "PUT",
            PATH,
            Role.ADMIN,
            write,
            "Change how much is logged, until the next start or reload",
            {
                "requestBody": {"required": True, "content": _CONTENT},
                "responses": {**_DONE, "400": _REFUSED, "413": _REFUSED, "422": _REFUSED},
            },
        ),
    ]


def _answer() -> web.Response:
    return web.json_response(log_levels().plain(), headers={"Cache-Control": "no-store"})
