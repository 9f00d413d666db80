"""The one process of `gogeta serve --workers 1`: it serves by itself, until it is succeeded.

That costs the memory of one process. When a new version takes over for the first time, this process stays for as long
as its own visitors need it, and then becomes the supervisor of its successor: to whoever started it, it is the same.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from gogeta.admin.ending import announce_end
from gogeta.admin.reports import SERVING, Report, snapshot
from gogeta.app import ROUTES_PATIENCE, Front, in_loop, serve
from gogeta.domain.upstreams import Endpoint
from gogeta.kit import notify
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.log_levels import level_signals
from gogeta.kit.signals import hangups, stop_signals
from gogeta.kit.tasks import Tasks
from gogeta.settings import ADMIN, LISTENERS, ServeSettings
from gogeta.workers.crew import SINGLE
from gogeta.workers.listeners import Listeners
from gogeta.workers.plan import Plan
from gogeta.workers.supervising import Supervising
from gogeta.workers.supervisor import Supervisor


def run_one(settings: ServeSettings, plan: Plan, listeners: Listeners) -> int:
    """Serve in this process until the stop; the exit status."""
    return in_loop(_one(settings, plan, listeners))


async def _one(settings: ServeSettings, plan: Plan, listeners: Listeners) -> int:
    settings = settings.at({name: Endpoint(*place) for name, place in listeners.endpoints().items()})
    async with Tasks("gogeta") as tasks:
        supervisor = Supervisor(plan, listeners, tasks)
        with stop_signals(supervisor.kill) as stop, hangups(stop) as hangup, level_signals(supervisor.set_log_levels):
            supervising = Supervising(supervisor, settings, tasks, stop, hangup)
            place = _BeforeSuccession(supervising)
            status = await serve(settings, place, stop)
            if place.ending is None:
                return status
            # Our visitors are served: what is left of us is to look after the successor.
            await supervising.become_new()
            if stop.is_set():
                return max(status, await place.ending)
            return await supervising.run()


class _BeforeSuccession:
    """The place of the one process of `gogeta serve --workers 1`, before a new version has taken over."""

    has_site = True

    def __init__(self, supervising: Supervising) -> None:
        """``supervising`` gets its first worker when the time has come."""
        self._supervising = supervising
        self._listeners = supervising.supervisor.listeners
        self._site: AdminSite | None = None
        self.ending: asyncio.Task[int] | None = None
        """Once succeeded: passes the stop on to the successor; gives the status that it ends with."""

    def metrics(self, own: CollectorRegistry) -> CollectorRegistry:
        """Its own, and one day those of its successor."""
        supervisor = self._supervising.supervisor
        supervisor.own = lambda: Report(SERVING, {}, snapshot(own))
        shown = CollectorRegistry()
        shown.register(supervisor)
        return shown

    async def enter(self, site: AdminSite, tasks: Tasks) -> Front:
        """The admin listener itself."""
        await site.start(self._listeners.copies(ADMIN))
        self._site = site
        self._supervising.supervisor.show_on(site)
        return site

    def sockets(self) -> Mapping[str, Sequence[socket.socket]]:
        """Other descriptors of what the supervisor holds."""
        return {name: copies for name in LISTENERS if name not in SINGLE and (copies := self._listeners.copies(name))}

    async def may_accept(self, loading: asyncio.Future[None], stopping: asyncio.Future[Any]) -> None:
        """In a moment: a visitor who comes a moment too early is better served a moment later than told so."""
        await asyncio.wait((loading, stopping), timeout=ROUTES_PATIENCE, return_when=asyncio.FIRST_COMPLETED)

    def serving(self) -> None:
        """The service manager is told."""
        notify.ready()

    async def over(self, stop: asyncio.Event) -> None:
        """At the stop, or when a new version has taken over."""
        assert self._site is not None  # noqa: S101 - it was entered
        supervisor = self._supervising.supervisor
        if await self._supervising.handed_over():
            notify.ready()
            if supervisor.listeners[ADMIN] is not self._listeners[ADMIN]:
                await self._site.add(supervisor.listeners.copies(ADMIN))
            self.ending = self._supervising.tasks.start(self._pass_on(stop), "passing the stop on")
            return
        await announce_end(self._site, supervisor.plan.drain_delay)
        if self._listeners[ADMIN].given:
            await self._site.stop()
        if supervisor.crew is None:
            supervisor.listeners.end(SINGLE)
        else:
            # It had just been succeeded.
            self.ending = self._supervising.tasks.start(supervisor.stop(), "stopping")

    async def _pass_on(self, stop: asyncio.Event) -> int:
        await stop.wait()
        assert self._site is not None  # noqa: S101 - it was entered
        await announce_end(self._site, 0.0)
        return await self._supervising.supervisor.stop()

    async def leave(self) -> None:
        """The admin listener ends last."""
        if self._site is not None:
            await self._site.stop()
