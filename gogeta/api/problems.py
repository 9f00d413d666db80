"""Errors of the admin API as problem+json (RFC 9457): a closed set of codes, a sentence, and what to do next.

A handler raises ``ApiError`` or any GogetaError; ``answering`` turns both into the answer. What we did not expect is
logged with its traceback and told as ``internal``, without details.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from gogeta.api.operation import Handler
from gogeta.domain.errors import (
    Fault,
    GogetaError,
    HostConflictError,
    InvalidInputError,
    Problem,
    TransitionRefusedError,
    UnknownTenantError,
)
from gogeta.registry.store import RegistryError, RegistryRefusedError

logger = logging.getLogger(__name__)

NO_STORE: Final = {"Cache-Control": "no-store"}
MEDIA_TYPE: Final = "application/problem+json"


class Code(StrEnum):
    """What went wrong, for programs. The set is closed: docs/api.md lists it."""

    BAD_REQUEST = "bad-request"
    INVALID_QUERY = "invalid-query"
    INVALID_TENANT = "invalid-tenant"
    NOT_JSON = "not-json"
    NOT_FOUND = "not-found"
    NO_SUCH_TENANT = "no-such-tenant"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    TOO_LARGE = "too-large"
    CROSS_ORIGIN = "cross-origin"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    CHANGED = "precondition-failed"
    PRECONDITION_REQUIRED = "precondition-required"
    HOST_CONFLICT = "host-conflict"
    ROUTED_ONLY = "routed-only"
    REFUSED = "refused"
    FAILED = "failed"
    OVERTAKEN = "overtaken"
    TOO_MANY = "too-many"
    REGISTRY_UNAVAILABLE = "registry-unavailable"
    REGISTRY_REFUSED = "registry-refused"
    RUNTIME_UNAVAILABLE = "runtime-unavailable"
    INTERNAL = "internal"


class ApiError(Exception):
    """An answer that is an error. ``hint`` says what to do next; ``problems`` name the fields of a refused body."""

    def __init__(
        self,
        status: int,
        code: Code,
        detail: str,
        *,
        hint: str = "",
        problems: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """``more``: further members of the answer."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> web.Response:
        """The answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code.value,
        }
        if self.hint:
            body["hint"] = self.hint
        if self.problems:
            body["problems"] = [{"field": each.field, "message": each.message} for each in self.problems]
        body.update(self.more)
        return web.Response(
            body=json.dumps(body).encode() + b"\n",
            status=self.status,
            headers={**NO_STORE, **self.headers, "Content-Type": MEDIA_TYPE},
        )


def error_of(error: GogetaError) -> ApiError:
    """What one of our errors is to a caller of the API."""
    match error:
        case UnknownTenantError():
            return ApiError(404, Code.NO_SUCH_TENANT, error.message, hint=error.hint)
        case HostConflictError():
            return ApiError(409, Code.HOST_CONFLICT, error.message, hint=error.hint)
        case TransitionRefusedError():
            return ApiError(409, Code.REFUSED, error.message, hint=error.hint)
        case GogetaError(fault=Fault.RUNTIME):
            # What runs them is away, and may be back in a moment.
            return ApiError(503, Code.RUNTIME_UNAVAILABLE, error.message, hint=error.hint, headers={"Retry-After": "1"})
        case InvalidInputError():
            return ApiError(422, Code.INVALID_TENANT, error.message, hint=error.hint, problems=error.problems)
        case RegistryRefusedError():
            hint = error.hint or "retrying does not help: see docs/registry.md for what the registry's user needs"
            return ApiError(502, Code.REGISTRY_REFUSED, error.message, hint=hint)
        case RegistryError():
            return ApiError(
                503,
                Code.REGISTRY_UNAVAILABLE,
                error.message,
                hint=error.hint or "the registry does not answer; look at the tenant again before repeating a change",
                headers={"Retry-After": "1"},
            )
        case _:
            return ApiError(500, Code.INTERNAL, error.message, hint=error.hint)


def answering(handler: Handler) -> Handler:
    """``handler`` whose errors are answers, and which no other web page may use (``Origin``)."""

    @wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            require_own_origin(request)
            return await handler(request)
        except ApiError as error:
            return error.response()
        except GogetaError as error:
            return error_of(error).response()
        except web.HTTPException:
            raise
        except ConnectionError:
            # The caller went away: there is nobody to tell.
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return ApiError(
                500, Code.INTERNAL, "this is a mistake of ours", hint="the log of this process has it; please report it"
            ).response()

    return handle


def require_own_origin(request: web.Request) -> None:
    """Raises ApiError for a request that a browser makes for another web page than ours."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    _, _, authority = origin.partition("://")
    if authority.lower() != request.headers.get("Host", "").lower():
        raise ApiError(403, Code.CROSS_ORIGIN, "the admin API does not answer other web pages")
