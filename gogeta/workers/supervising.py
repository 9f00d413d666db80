"""What a supervisor does all day: wait for a signal, and do what it asks."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Final

from prometheus_client import CollectorRegistry

from gogeta.admin.ending import announce_end
from gogeta.api.log_levels import log_level_operations
from gogeta.dashboard.serving import serve_admin
from gogeta.kit import logs, notify, signals
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tasks import Tasks, first_of
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.settings import ADMIN, ServeSettings
from gogeta.workers import relaunch
from gogeta.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

_FIRST_SECONDS: Final = 5.0
"""How long the service manager is left waiting for the first workers."""


class Supervising:
    """A supervisor at work (see the module's docstring)."""

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
        self.tasks.start(notify.signs_of_life(), "signs of life")
        while True:
            metrics = CollectorRegistry()
            metrics.register(self.supervisor)
            endpoint = self.supervisor.listeners[ADMIN].endpoint
            site = AdminSite(endpoint, metrics, "gogeta", names=self.settings.admin_names)
            # A registry and a copy of its own: a supervisor has no proxy whose it could ask.
            store = open_store(self.settings)
            mirror = TenantMirror(store)
            registry = Registry(store, f"gogeta/{socket.gethostname()}-{os.getpid()}")
            api = Tasks("admin API")
            more = log_level_operations(self.supervisor.set_log_levels)
            metrics.register(serve_admin(site, registry, mirror, api, more, auth=self.settings.admin_auth))
            try:
                await site.start(self.supervisor.listeners.copies(ADMIN))
                self.supervisor.show_on(site)
                api.start(mirror.source.run(), "mirror")
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
                await api.close()
                await store.close()
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
        blocked = signals.Blocked()
        try:
            # A signal that was caught before still has to arrive.
            for _ in range(3):
                await asyncio.sleep(0)
            if not self.stop.is_set():
                told = self.supervisor.plain(again=self.hangup.is_set())
                if not blocked.caught():
                    relaunch.become(relaunch.SUPERVISOR, *told)
        except OSError as error:
            logs.setup(self.settings.log_level, self.settings.log_format, "gogeta")
            logger.error("this process cannot become the new version, and supervises it as it is: %s", error)  # noqa: TRY400 - its words say all
        finally:
            blocked.end()
