"""``/api/v1/log-levels``: how much is logged, read and changed while the program runs.

A change holds until the next start or reload of the program. Where workers serve, it is theirs, too: who composes the
site says how it gets there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from gogeta.api.openapi import problems
from gogeta.api.operation import Operation, Role
from gogeta.api.problems import NO_STORE, ApiError, Code
from gogeta.api.requests import json_body, no_query
from gogeta.domain.errors import InvalidInputError
from gogeta.kit.log_levels import LEVELS, MOST_LOGGERS, LogLevels, change_log_levels, log_levels, read_log_levels

PATH: Final = "/api/v1/log-levels"
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


def log_level_operations(change: Callable[[LogLevels], None] = change_log_levels) -> list[Operation]:
    """Reading and changing levels; ``change`` is what a change does."""

    async def read(request: web.Request) -> web.Response:
        no_query(request)
        return _answer()

    async def write(request: web.Request) -> web.Response:
        no_query(request)
        data = await json_body(request, ("application/json",))
        try:
            levels = read_log_levels(data)
        except InvalidInputError as error:
            raise ApiError(422, Code.BAD_REQUEST, error.message, problems=error.problems) from None
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
                "responses": {**_DONE, **problems(413, 415, 422)},
            },
        ),
    ]


def _answer() -> web.Response:
    return web.json_response(log_levels().plain(), headers=NO_STORE)
