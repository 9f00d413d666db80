"""One worker process: started by a supervisor (``relaunch.WORKER``) and by nobody else.

Its settings and sockets come from its parent; what it tells goes there, too (``gogeta.admin.reports``).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from gogeta.admin.reports import WorkerLink
from gogeta.app import ROUTES_PATIENCE, Front, in_loop, serve
from gogeta.domain.upstreams import Endpoint
from gogeta.kit import logs
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.channel import Channel
from gogeta.kit.listening import adopt
from gogeta.kit.signals import asked_once
from gogeta.kit.tasks import Tasks, first_of
from gogeta.settings import ServeSettings


class OneOfSeveral:
    """The worker's place: its supervisor tells it when, and is told how it is."""

    has_site = False
    """The supervisor's is asked instead."""

    def __init__(
        self, sockets: Mapping[str, Sequence[socket.socket]], channel: Channel, stop: asyncio.Event, *, successor: bool
    ) -> None:
        """``successor``: others serve still, so there is time until everything is there."""
        self._sockets = sockets
        self._channel = channel
        self._stop = stop
        self._successor = successor
        self._link: WorkerLink | None = None

    def metrics(self, own: CollectorRegistry) -> CollectorRegistry:
        """Its own, which are reported."""
        self._metrics = own
        return own

    async def enter(self, site: AdminSite, tasks: Tasks) -> Front:
        """The supervisor is told instead of the site."""
        self._link = link = WorkerLink(self._metrics, self._channel, self._stop)
        tasks.start(link.report(), "reports")
        tasks.start(link.obey(), "orders")
        return link

    def sockets(self) -> Mapping[str, Sequence[socket.socket]]:
        """Those that the supervisor lends."""
        return self._sockets

    async def may_accept(self, loading: asyncio.Future[None], stopping: asyncio.Future[Any]) -> None:
        """A successor waits for the routes, and then for the word; another one is waited for by visitors."""
        assert self._link is not None  # noqa: S101 - it was entered
        patience = None if self._successor else ROUTES_PATIENCE
        await asyncio.wait((loading, stopping), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if self._successor and not stopping.done():
            await first_of(self._link.prepared(), self._stop)

    def serving(self) -> None:
        """The supervisor is told."""
        assert self._link is not None  # noqa: S101 - it was entered
        self._link.serving()

    async def over(self, stop: asyncio.Event) -> None:
        """At the stop, or when others serve."""
        assert self._link is not None  # noqa: S101 - it was entered
        await first_of(stop, self._link.retired)

    async def leave(self) -> None:
        """The last report is complete."""
        if self._link is not None:
            self._link.close()


def work(knowledge: Mapping[str, Any]) -> int:
    """Serve until the supervisor says or ends; the exit status as that of ``gogeta serve``."""
    settings = pickle.loads(knowledge["settings"])  # noqa: S301 - our parent wrote it, see relaunch.py
    if not isinstance(settings, ServeSettings):
        raise TypeError(f"expected settings, not {type(settings).__name__}")
    logs.setup(settings.log_level, settings.log_format, f"gogeta[{os.getpid()}]")
    settings = settings.at({name: Endpoint(*place) for name, place in knowledge["endpoints"].items()})
    sockets = {name: [adopt(number) for number in numbers] for name, numbers in knowledge["sockets"].items()}
    channel = Channel(adopt(knowledge["channel"]))

    async def run() -> int:
        with asked_once() as stop:
            place = OneOfSeveral(sockets, channel, stop, successor=knowledge["successor"])
            return await serve(settings, place, stop)

    return in_loop(run())
