"""``/api/v1/events``: the feed to those who listen, as server-sent events and over WebSocket.

A listener is a place in the ring and nothing else: it costs no queue, and one that cannot follow is cut by name,
without anybody waiting for it. Listeners, the time of a write and the events of the ring are bounded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gogeta.api.feed import Event, Feed, Missed
from gogeta.api.operation import still_allowed
from gogeta.api.problems import ApiError, Code
from gogeta.api.representations import change_data
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.kit.clock import wall_ms
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror

logger = logging.getLogger(__name__)

MAX_LISTENERS: Final = 256
HEARTBEAT: Final = 15.0
"""Seconds of silence after which a listener is shown that the connection lives."""
WRITE_LIMIT: Final = 10.0
"""Seconds that a listener may take to make room for what it is sent."""
_BATCH: Final = 64
_RETRY_MS: Final = 1000
_TOO_SLOW: Final = "too-slow"
_GOING_AWAY: Final = "going-away"
_REVOKED: Final = "revoked"


class _TooSlow(Exception):
    """The listener did not follow."""


class Events(Collector):
    """The feed of a mirror's changes, and its listeners (see the module's docstring)."""

    def __init__(
        self,
        mirror: TenantMirror,
        *,
        program: str,
        feed: Feed | None = None,
        max_listeners: int = MAX_LISTENERS,
        heartbeat: float = HEARTBEAT,
        write_limit: float = WRITE_LIMIT,
    ) -> None:
        """``mirror`` is used and not owned; ``program`` begins the names of the metrics."""
        self.feed = feed or Feed(secrets.token_hex(6))
        self._mirror = mirror
        self._program = program
        self._max_listeners = max_listeners
        self._heartbeat = heartbeat
        self._write_limit = write_limit
        self._news = asyncio.Event()
        self._listeners = 0
        self._closing = False
        self._cut: Counter[str] = Counter({_TOO_SLOW: 0, _GOING_AWAY: 0, _REVOKED: 0})
        self._refused = 0
        mirror.subscribe(self._changed)

    def close(self) -> None:
        """End all listeners; more are refused."""
        self._closing = True
        self._wake()

    def collect(self) -> Iterable[Metric]:
        """The feed's metrics."""
        name = f"{self._program}_api_"
        listeners = GaugeMetricFamily(name + "listeners", "Listeners of the event stream.")
        listeners.add_metric([], self._listeners)
        events = CounterMetricFamily(name + "events", "Changes of tenants told by the event stream.")
        events.add_metric([], self.feed.last)
        cut = CounterMetricFamily(name + "listeners_cut", "Listeners cut, by reason.", labels=["reason"])
        for reason, number in self._cut.items():
            cut.add_metric([reason], number)
        refused = CounterMetricFamily(name + "listeners_refused", "Listeners refused: there were too many.")
        refused.add_metric([], self._refused)
        return (listeners, events, cut, refused)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, or a WebSocket where that is asked for; until the caller leaves or is cut."""
        start = self._start_of(request)
        if self._closing:
            raise ApiError(503, Code.TOO_MANY, "this process is ending", headers={"Retry-After": "1"})
        if self._listeners >= self._max_listeners:
            self._refused += 1
            raise ApiError(
                503,
                Code.TOO_MANY,
                f"there are {self._max_listeners} listeners already",
                hint="end one, or come again later",
                headers={"Retry-After": "5"},
            )
        socket = web.WebSocketResponse(heartbeat=self._heartbeat, max_msg_size=1024, compress=False)
        wants_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if wants_socket and not socket.can_prepare(request).ok:
            raise ApiError(400, Code.BAD_REQUEST, "the upgrade to a WebSocket is not complete")
        if not wants_socket and request.path.endswith("/ws"):
            raise ApiError(
                400, Code.BAD_REQUEST, "expected an upgrade to a WebSocket", hint="/api/v1/events is for plain requests"
            )
        self._listeners += 1
        try:
            if wants_socket:
                return await self._over_socket(request, socket, start)
            return await self._as_stream(request, start)
        finally:
            self._listeners -= 1

    def _start_of(self, request: web.Request) -> int | Missed:
        """Where to begin: after the id that the listener had last, or now."""
        unknown = [name for name in request.query if name != "last_event_id"]
        if unknown:
            raise ApiError(400, Code.INVALID_QUERY, f"{unknown[0][:80]} is not a parameter here; valid: last_event_id")
        text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
        if not text:
            return self.feed.last
        try:
            return self.feed.number_of(text)
        except ValueError as error:
            raise ApiError(400, Code.INVALID_QUERY, f"last_event_id: {error}") from None

    async def _as_stream(self, request: web.Request, start: int | Missed) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                # Proxies before us must pass each event on at once.
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)

        async def send(events: list[Event]) -> None:
            text = "".join(_as_text(event) for event in events) if events else ": \n\n"
            await response.write(text.encode())

        await self._bounded(response.write(f"retry: {_RETRY_MS}\n\n".encode()))
        cut = await self._pour(start, send, still_allowed(request))
        if cut == _TOO_SLOW and request.transport is not None:
            # What is buffered for it would never leave.
            request.transport.abort()
        return response

    async def _over_socket(
        self, request: web.Request, socket: web.WebSocketResponse, start: int | Missed
    ) -> web.StreamResponse:
        await socket.prepare(request)

        async def send(events: list[Event]) -> None:
            for event in events:
                await socket.send_str(json.dumps({"id": event.id, "event": event.kind, "data": event.data}))

        async with Tasks("event socket") as tasks:
            still = still_allowed(request)
            pouring = tasks.start(self._pour(start, send, still), "pour")
            # Reading answers pings and sees the end; what a listener says is nothing to us.
            reading = tasks.start(_read_out(socket), "read")
            await asyncio.wait((pouring, reading), return_when=asyncio.FIRST_COMPLETED)
            cut = pouring.result() if pouring.done() and not pouring.cancelled() else None
        if cut == _TOO_SLOW and request.transport is not None:
            request.transport.abort()
        elif cut is not None:
            # RFC 6455 section 7.4.1: the process goes away, or what is asked for is against a policy.
            code = WSCloseCode.GOING_AWAY if cut == _GOING_AWAY else WSCloseCode.POLICY_VIOLATION
            await socket.close(code=code, message=cut.encode())
        return socket

    async def _pour(
        self, start: int | Missed, send: Callable[[list[Event]], Awaitable[None]], still_allowed: Callable[[], bool]
    ) -> str | None:
        """Send what there is and what comes; the reason why it ended, None when the listener left."""
        try:
            async for events in self._batches(start):
                if not still_allowed():
                    self._cut[_REVOKED] += 1
                    return _REVOKED
                await self._bounded(send(events))
        except _TooSlow:
            self._cut[_TOO_SLOW] += 1
            logger.info("a listener of the event stream was cut: it did not follow")
            return _TOO_SLOW
        except (ConnectionError, RuntimeError):
            # aiohttp has RuntimeError for writing to a connection that is closing.
            return None
        self._cut[_GOING_AWAY] += 1
        return _GOING_AWAY

    async def _bounded(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._write_limit):
                await work
        except TimeoutError:
            raise _TooSlow from None

    async def _batches(self, start: int | Missed) -> AsyncIterator[list[Event]]:
        """``hello`` or ``reset`` first, then events; an empty batch is a heartbeat. Ends when we close."""
        feed = self.feed
        if isinstance(start, Missed):
            place = feed.last
            yield [_at(feed, place, "reset", start.why)]
        else:
            place = start
            missed = feed.after(place, 1)
            if isinstance(missed, Missed):
                place = feed.last
                yield [_at(feed, place, "reset", missed.why)]
            else:
                yield [_at(feed, place, "hello", "events after this id follow")]
        while not self._closing:
            news = self._news
            events = feed.after(place, _BATCH)
            if isinstance(events, Missed):
                raise _TooSlow
            if events:
                place = events[-1].number
                yield events
                continue
            try:
                async with asyncio.timeout(self._heartbeat):
                    await news.wait()
            except TimeoutError:
                yield []

    def _changed(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        # The first listing is the state, not a change of it.
        if self._mirror.source.synced:
            kind = "removed" if after is None else "tenant"
            self.feed.append(kind, change_data(name, before, after, wall_ms()))
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _at(feed: Feed, number: int, kind: str, why: str) -> Event:
    return Event(number, feed.id_of(number), kind, {"id": feed.id_of(number), "message": why})


def _as_text(event: Event) -> str:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"


async def _read_out(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type in (WSMsgType.ERROR, WSMsgType.CLOSE):
            return
