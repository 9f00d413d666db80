"""The admin listener of both programs: health, readiness, metrics, and whatever a program adds to it.

It is a listener of its own, never reachable through a tenant's host: it answers only to requests that name it by an IP
address, by ``localhost`` or by a configured name, so that no web page can reach it through a name of its author's
(DNS rebinding). Answers are made from what is in memory and wait for nobody, so that they come under load, too.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gogeta.domain.hosts import normalise_host
from gogeta.domain.upstreams import Endpoint
from gogeta.kit import listening
from gogeta.kit.parsers import require_compiled_parser

logger = logging.getLogger(__name__)

_http = logging.getLogger(f"{__name__}.http")
_GRACE: Final = 2.0
"""Seconds that requests under way get at the end."""
_ANY_ADDRESS: Final = ""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminSite:
    """Serves ``/healthz``, ``/readyz`` and ``/metrics`` on an address of its own."""

    def __init__(
        self,
        endpoint: Endpoint,
        metrics: CollectorRegistry,
        program: str,
        *,
        names: Collection[str] = (),
        setting: str = "admin",
    ) -> None:
        """``program`` stands in answers; ``names`` are further hosts it answers to; ``setting`` names its flag."""
        require_compiled_parser()
        self._wanted = endpoint
        self._metrics = metrics
        self.program = program
        self._names = frozenset(names) | {"localhost"}
        self._setting = setting
        self._problems: dict[str, str | None] = {}
        self._runner: web.AppRunner | None = None
        self._bound: Endpoint | None = None
        self._on_stop: list[Callable[[], None]] = []
        self._app = web.Application(middlewares=[self._guard])
        self._app.on_response_prepare.append(_anonymous)
        self._app.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._readiness),
                web.get("/metrics", self._exposition),
            ]
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, with the port that port 0 became; before ``start``, where it will."""
        return self._bound or self._wanted

    def add_routes(self, routes: Iterable[web.AbstractRouteDef]) -> None:
        """Serve more; before ``start`` only."""
        self._app.add_routes(routes)

    def add_middleware(self, middleware: Middleware) -> None:
        """Let every request pass ``middleware``, within those that are there; before ``start`` only."""
        self._app.middlewares.append(middleware)

    def on_stop(self, call: Callable[[], None]) -> None:
        """Call this when the site begins to stop, before it waits for requests: streams without an end hear of it."""
        self._on_stop.append(call)

    def ready(self, name: str, problem: str | None) -> None:
        """Part ``name`` has this problem, or (None) is well. ``/readyz`` is 200 when all named parts are well."""
        before = self._problems.get(name, problem)
        self._problems[name] = problem
        if before != problem:
            logger.info("%s: %s", name, problem or "well")

    @property
    def problems(self) -> dict[str, str]:
        """What keeps it from being ready, by part."""
        return {name: problem for name, problem in self._problems.items() if problem is not None}

    async def start(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Listen, on ``sockets`` if they listen already; those descriptors are the site's from now on.

        Raises AddressTakenError, which names the setting.
        """
        given = listening.take(self._wanted, self._setting) if sockets is None else sockets
        self._runner = web.AppRunner(
            self._app, access_log=None, logger=_http, handle_signals=False, shutdown_timeout=_GRACE
        )
        await self._runner.setup()
        await self.add(given)
        self._bound = Endpoint(self._wanted.host, int(given[0].getsockname()[1]))

    async def add(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on these, too; after ``start``."""
        assert self._runner is not None  # noqa: S101 - it was started
        for each in sockets:
            await web.SockSite(self._runner, each).start()

    async def stop(self) -> None:
        """Stop listening; requests under way get a moment. Idempotent."""
        for call in self._on_stop:
            call()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._answers_to(request.headers.get("Host", "")):
            return web.Response(
                status=421,
                text="the admin listener answers to its IP address, to localhost and to the names of --admin-names\n",
            )
        return await handler(request)

    def _answers_to(self, authority: str) -> bool:
        try:
            host = normalise_host(authority)
        except ValueError:
            return False
        if host in self._names:
            return True
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})

    async def _readiness(self, _request: web.Request) -> web.Response:
        problems = self.problems
        status = "ready" if self._problems and not problems else "not ready"
        if not self._problems:
            problems = {self.program: "starting"}
        parts = {name: problem or "well" for name, problem in self._problems.items()}
        return web.json_response(
            {"program": self.program, "status": status, "problems": problems, "parts": parts},
            status=200 if status == "ready" else 503,
            headers={"Cache-Control": "no-store"},
        )

    async def _exposition(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encoder(self._metrics), headers={"Content-Type": content_type})


def _not_our_mistake(record: logging.LogRecord) -> bool:
    """Keep what aiohttp says of a request that is no HTTP out of the log: whoever sent it was told (400)."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, HttpProcessingError)


_http.addFilter(_not_our_mistake)


async def _anonymous(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
