"""``/api/v1/tenants/{name}/logs``: what a tenant's own programs wrote, its end at once and the rest as it comes.

Only who drives the runtime can read that: a process that does not is given no reader, and says who has one. What is
written may hold secrets, so it takes more than the role that reads. Lines, listeners and the time of a write are
bounded; nothing is kept here. It must not know any driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from gogeta.api.openapi import problems, query
from gogeta.api.operation import Operation, Role, still_allowed
from gogeta.api.problems import ApiError, Code
from gogeta.api.requests import tenant_name
from gogeta.domain.errors import Fault, GogetaError
from gogeta.domain.state import Member
from gogeta.domain.tenant import Tenant
from gogeta.kit.tasks import Tasks
from gogeta.registry.registry import Registry

PATH: Final = "/api/v1/tenants/{name}/logs"
DEFAULT_LINES: Final = 100
MAX_LINES: Final = 10_000
_STREAM: Final = "text/event-stream"
_END: Final = "event: end\ndata: {}\n\n"
_AHEAD: Final = 16
"""Portions that are read before the follower has taken them."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"}
_YES_NO: Final = {"true": True, "1": True, "false": False, "0": False}


class NotReadableError(GogetaError):
    """A tenant's logs cannot be read by this process, and a retry does not help: another one drives it."""

    fault = Fault.OPERATOR


class LogReader(Protocol):
    """Reads what tenants wrote, for one kind of runtime."""

    def __call__(self, tenant: Tenant, lines: int, *, follow: bool) -> AsyncGenerator[Sequence[str], None]:
        """The last ``lines`` lines, oldest first, in portions; with ``follow`` also those that come, until it ends.

        Raises GogetaError where there is no reading them.
        """
        ...


@dataclass(frozen=True, slots=True)
class LogLimits:
    """What following may cost."""

    followers: int = 32
    """Most that follow at a time; each holds a connection to the runtime."""
    heartbeat: float = 15.0
    """Seconds of silence after which a follower is shown that the connection lives."""
    write: float = 10.0
    """Seconds that a follower may take to make room for what it is sent."""


_Coming = asyncio.Queue[Sequence[str] | GogetaError | None]


class TenantLogs:
    """The handler (see the module's docstring)."""

    def __init__(
        self,
        registry: Registry,
        reader: LogReader | None,
        limits: LogLimits = LogLimits(),
    ) -> None:
        """Both are used and not owned; without a reader it says who has one."""
        self._registry = registry
        self._reader = reader
        self._limits = limits
        self._following: set[_Coming] = set()
        self._closing = False

    def close(self) -> None:
        """End all that follow."""
        self._closing = True
        for coming in self._following:
            with contextlib.suppress(asyncio.QueueFull):
                coming.put_nowait(None)

    @property
    def readable(self) -> bool:
        """Whether logs can be read here."""
        return self._reader is not None

    @property
    def operation(self) -> Operation:
        """For the list of operations."""
        count = {"type": "integer", "minimum": 0, "maximum": MAX_LINES, "default": DEFAULT_LINES}
        text = {"schema": {"type": "string"}}
        described = {
            "parameters": [
                query("lines", count, "How many of the last lines."),
                query("follow", {"type": "boolean", "default": False}, "Go on with what is written, until it ends."),
            ],
            "responses": {
                "200": {
                    "description": "Plain text, a line each; as server-sent events (`line`, `end`) where Accept asks.",
                    "content": {"text/plain": text, _STREAM: text},
                },
                **problems(404, 409, 502, 503),
            },
        }
        return Operation("GET", PATH, Role.OPERATE, self.handle, "What its containers wrote.", described)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The lines; until the caller leaves or is cut where they follow."""
        lines, follow, events = _read(request)
        record, _ = await self._registry.look_up(tenant_name(request))
        if record.tenant.routed_only:
            raise ApiError(409, Code.ROUTED_ONLY, f"tenant {record.name!r} runs elsewhere: its logs are not ours")
        if self._reader is None:
            raise await self._elsewhere(record.tenant)
        if not follow:
            return await self._tail(request, record.tenant, lines, events=events)
        if len(self._following) >= self._limits.followers:
            raise ApiError(
                503,
                Code.TOO_MANY,
                f"logs are followed by {self._limits.followers} already",
                hint="end one, or read them without follow",
                headers={"Retry-After": "5"},
            )
        return await self._follow(request, record.tenant, lines, events=events)

    async def _elsewhere(self, tenant: Tenant) -> ApiError:
        members = await self._registry.members()
        found = readers_of(members, tenant)
        who = ", ".join(f"{each.id} at {each.listeners[-1]}" for each in found if each.listeners)
        return ApiError(
            409,
            Code.REFUSED,
            "logs are read where containers are driven, and this process drives none",
            hint=f"ask passivator {who}" if who else "ask passivator's admin listener; none is there now",
        )

    async def _tail(self, request: web.Request, tenant: Tenant, lines: int, *, events: bool) -> web.StreamResponse:
        assert self._reader is not None  # noqa: S101 - looked at before
        found: list[str] = []
        async with aclosing(self._reader(tenant, lines, follow=False)) as portions:
            async for portion in portions:
                found.extend(portion)
        text = _as_events(found) + _END if events else _as_text(found)
        return web.Response(text=text, content_type=_STREAM if events else "text/plain", headers=_HEADERS)

    async def _follow(self, request: web.Request, tenant: Tenant, lines: int, *, events: bool) -> web.StreamResponse:
        written, silence = (_as_events, ": \n\n") if events else (_as_text, "")
        allowed = still_allowed(request)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": f"{_mime(events=events)}; charset=utf-8"})
        coming: _Coming = asyncio.Queue(_AHEAD)
        self._following.add(coming)
        try:
            async with Tasks(f"logs of {tenant.name}") as tasks:
                tasks.start(self._pump(tenant, lines, coming), "read")
                portion = await self._next(coming)
                # What is refused is refused before the first byte.
                await response.prepare(request)
                while portion is not None and allowed() and not (self._closing or _has_gone(request)):
                    if not await self._written(response, written(portion) or silence):
                        return response
                    portion = await self._next(coming)
                if events and portion is None and not self._closing:
                    await self._written(response, _END)
        finally:
            self._following.discard(coming)
        return response

    async def _pump(self, tenant: Tenant, lines: int, coming: _Coming) -> None:
        """Read as fast as the follower takes it."""
        assert self._reader is not None  # noqa: S101 - looked at before
        try:
            async with aclosing(self._reader(tenant, lines, follow=True)) as portions:
                async for portion in portions:
                    await coming.put(portion)
        except GogetaError as error:
            await coming.put(error)
        else:
            await coming.put(None)

    async def _next(self, coming: _Coming) -> Sequence[str] | None:
        """The next portion; an empty one after a silence, None at the end. Raises what the reader raised."""
        try:
            async with asyncio.timeout(self._limits.heartbeat):
                portion = await coming.get()
        except TimeoutError:
            return ()
        if isinstance(portion, GogetaError):
            raise portion
        return portion

    async def _written(self, response: web.StreamResponse, text: str) -> bool:
        """Whether it was taken in time."""
        try:
            async with asyncio.timeout(self._limits.write):
                await response.write(text.encode())
        except TimeoutError:
            # What is buffered for it would never leave.
            response.force_close()
            return False
        except (ConnectionError, RuntimeError):
            # aiohttp has RuntimeError for writing to a connection that is closing.
            return False
        return True


def readers_of(members: Sequence[Member], tenant: Tenant) -> list[Member]:
    """The passivators that can read a tenant's logs, the leader first."""
    found = [
        each
        for each in members
        if each.kind == "passivator"
        and each.driver == tenant.driver
        and (not tenant.group or each.group == tenant.group)
    ]
    return sorted(found, key=lambda each: (each.role != "leader", each.id))


def _read(request: web.Request) -> tuple[int, bool, bool]:
    """How many lines, whether to follow, and whether as events."""
    given = request.query
    for name in given:
        if name not in ("lines", "follow"):
            raise ApiError(400, Code.INVALID_QUERY, f"{name[:80]} is not a parameter here; valid: lines, follow")
        if len(given.getall(name)) > 1:
            raise ApiError(400, Code.INVALID_QUERY, f"{name} is given twice")
    text = given.get("lines", str(DEFAULT_LINES))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_LINES):
        raise ApiError(
            400, Code.INVALID_QUERY, f"lines: expected a whole number from 0 to {MAX_LINES}, not {text[:80]!r}"
        )
    follow = given.get("follow", "false")
    if follow not in _YES_NO:
        raise ApiError(400, Code.INVALID_QUERY, f"follow: expected true or false, not {follow[:80]!r}")
    return int(text), _YES_NO[follow], _STREAM in request.headers.get("Accept", "")


def _mime(*, events: bool) -> str:
    return _STREAM if events else "text/plain"


def _as_text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _as_events(lines: Sequence[str]) -> str:
    return "".join(f"event: line\ndata: {json.dumps(line)}\n\n" for line in lines)


def _has_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
