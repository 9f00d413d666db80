"""`gogeta serve`, whichever part this process has in it.

With one worker there is one process, which serves by itself; the first time that a new version takes over, it stays
for as long as its own visitors need it, and then becomes the supervisor of its successor. With more workers it is a
supervisor from the start. Either way the process that was started first stays the same one to whoever started it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from prometheus_client import CollectorRegistry

from gogeta import __version__
from gogeta.admin.reports import SERVING, Report, snapshot
from gogeta.app import ADMIN, HTTP, LISTENERS, ROUTES_PATIENCE, Front, announce_end, in_loop, serve
from gogeta.kit import logs, notify, signals
from gogeta.kit.activation import passed_sockets
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.channel import Channel
from gogeta.kit.listening import adopt
from gogeta.kit.signals import hangups, stop_signals
from gogeta.kit.tasks import Tasks, first_of
from gogeta.settings import ServeSettings
from gogeta.workers import relaunch
from gogeta.workers.crew import SINGLE
from gogeta.workers.listeners import Listeners
from gogeta.workers.plan import Plan
from gogeta.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

_FIRST_SECONDS: Final = 5.0
"""How long the service manager is left waiting for the first workers."""


def run(settings: ServeSettings) -> int:
    """Serve until SIGTERM or SIGINT; 0 when everything in flight had finished, 1 when some was cut.

    Raises AddressTakenError, which names the setting, and ActivationError.
    """
    plan = Plan.of(settings)
    if relaunch.part() == relaunch.SETTINGS:
        Channel(adopt(relaunch.knowledge()["channel"])).send(plan.message())
        return 0
    given = Listeners.given(passed_sockets(LISTENERS, LISTENERS))
    listeners = given.follow(plan.listeners, plan.workers, SINGLE)
    if plan.workers > 1:
        logger.info(
            "serving on %s with %d workers, admin on %s",
            listeners[HTTP].endpoint,
            plan.workers,
            listeners[ADMIN].endpoint,
        )
    return in_loop(_one(settings, plan, listeners) if plan.workers == 1 else _several(settings, plan, listeners))


def resume(knowledge: dict[str, Any]) -> int:
    """Go on as the supervisor of workers that run already; as ``run``."""
    settings = Plan.told(knowledge["plan"]).read()
    logs.setup(settings.log_level, settings.log_format, "gogeta")
    return in_loop(_resumed(settings, knowledge))


async def _several(settings: ServeSettings, plan: Plan, listeners: Listeners) -> int:
    async with Tasks("gogeta") as tasks:
        supervisor = Supervisor(plan, listeners, tasks)
        with stop_signals(supervisor.kill) as stop, hangups(stop) as hangup:
            supervisor.start()
            return await _Supervising(supervisor, settings, tasks, stop, hangup).run()


async def _resumed(settings: ServeSettings, knowledge: dict[str, Any]) -> int:
    async with Tasks("gogeta") as tasks:
        supervisor = Supervisor.told(knowledge, tasks)
        with stop_signals(supervisor.kill) as stop, hangups(stop) as hangup:
            if knowledge["again"]:
                hangup.set()
            logger.info("version %s supervises %d workers", __version__, supervisor.plan.workers)
            return await _Supervising(supervisor, settings, tasks, stop, hangup).run()


async def _one(settings: ServeSettings, plan: Plan, listeners: Listeners) -> int:
    settings = replace(settings, listen=listeners[HTTP].endpoint, admin=listeners[ADMIN].endpoint)
    async with Tasks("gogeta") as tasks:
        supervisor = Supervisor(plan, listeners, tasks)
        with stop_signals(supervisor.kill) as stop, hangups(stop) as hangup:
            supervising = _Supervising(supervisor, settings, tasks, stop, hangup)
            place = _BeforeSuccession(supervising)
            status = await serve(settings, place, stop)
            if place.ending is None:
                return status
            # Our visitors are served: what is left of us is to look after the successor.
            await supervising.become_new()
            if stop.is_set():
                return max(status, await place.ending)
            return await supervising.run()


class _Supervising:
    """What a supervisor does all day: wait for a signal, and do what it asks."""

    def __init__(
        self,
        supervisor: Supervisor,
        settings: ServeSettings,
        tasks: Tasks,
        stop: asyncio.Event,
        hangup: asyncio.Event,
    ) -> None:
        """``settings`` are those of this very process, not of the workers."""
        self.supervisor = supervisor
        self.settings = settings
        self.tasks = tasks
        self.stop = stop
        self.hangup = hangup

    async def run(self) -> int:
        """Supervise until the stop; the exit status."""
        while True:
            metrics = CollectorRegistry()
            metrics.register(self.supervisor)
            site = AdminSite(self.supervisor.listeners[ADMIN].endpoint, metrics, "gogeta")
            try:
                await site.start(self.supervisor.listeners.copies(ADMIN))
                self.supervisor.show_on(site)
                await first_of(self.supervisor.complete, self.stop, timeout=_FIRST_SECONDS)
                notify.ready()
                if not await self.handed_over():
                    await announce_end(site, self.supervisor.plan.drain_delay)
                    if self.supervisor.listeners[ADMIN].given:
                        # The socket lives on: who asks there from now on is for whoever comes after us.
                        await site.stop()
                    return await self.supervisor.stop()
            finally:
                await site.stop()
            await self.become_new()

    async def handed_over(self) -> bool:
        """Return when a new version has taken over, or (False) at the stop."""
        while not self.stop.is_set():
            await first_of(self.stop, self.hangup)
            if self.stop.is_set():
                break
            self.hangup.clear()
            trying = self.tasks.start(self.supervisor.hand_over(), "handover")
            stopping = self.tasks.start(self.stop.wait(), "stop")
            await asyncio.wait((trying, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            trying.cancel()
            await asyncio.wait((trying,))
            if not trying.cancelled() and trying.exception() is None and trying.result():
                return not self.stop.is_set()
        return False

    async def become_new(self) -> None:
        """Become the supervisor of the new version, in this very process. Returns when that fails, and at the stop."""
        signals.block()
        try:
            # A signal that was caught before still has to arrive.
            for _ in range(3):
                await asyncio.sleep(0)
            if not self.stop.is_set():
                relaunch.become(relaunch.SUPERVISOR, *self.supervisor.plain(again=self.hangup.is_set()))
        except OSError as error:
            logs.setup(self.settings.log_level, self.settings.log_format, "gogeta")
            logger.error("this process cannot become the new version, and supervises it as it is: %s", error)  # noqa: TRY400 - its words say all
        finally:
            signals.unblock()


class _BeforeSuccession:
    """The place of the one process of `gogeta serve --workers 1`, before a new version has taken over."""

    def __init__(self, supervising: _Supervising) -> None:
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
        return {name: self._listeners.copies(name) for name in LISTENERS if name not in SINGLE}

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
            supervisor.listeners.close()
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
