"""Composition: which parts a running gogeta is made of, in which order they start, and in which they end.

``run_serve`` is the proxy alone; ``run_up`` is the proxy with controllers in one process, for one machine. Both return
the program's exit status and raise GogetaError for what an operator has to mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import uvloop
from prometheus_client import CollectorRegistry

from gogeta.admin.metrics import ProxyCollector
from gogeta.admin.reports import WorkerLink
from gogeta.domain.state import Member
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import wall_ms
from gogeta.kit.local_addresses import local_addresses
from gogeta.kit.signals import stop_signals
from gogeta.kit.tasks import Tasks
from gogeta.net.access_log import access_logged
from gogeta.net.forwarder import Proxy
from gogeta.net.server import Server
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryUnavailableError, Store
from gogeta.settings import ServeSettings

logger = logging.getLogger(__name__)


ROUTES_PATIENCE: Final = 1.0
"""Seconds to wait for the routes before visitors are served; after that they are told to come again."""


class Controller(Protocol):
    """A controller that can run beside the proxy (entry point group ``gogeta.controllers``)."""

    name: str

    async def run(
        self,
        settings: Any,  # noqa: ANN401 - each controller has its own class of settings
        store: Store,
        *,
        metrics: CollectorRegistry,
        ready: Callable[[str, str | None], None],
    ) -> None:
        """Run until cancelled; ``ready`` is told of each of its problems by name, and None when it is over."""
        ...


class Front(Protocol):
    """Where readiness is told: the admin listener, or a worker's supervisor."""

    def ready(self, name: str, problem: str | None) -> None:
        """Part ``name`` has this problem, or (None) is well."""
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """What a started proxy tells those who started it."""

    listen: Endpoint
    admin: Endpoint


def run_serve(settings: ServeSettings) -> int:
    """Run the proxy until SIGTERM or SIGINT; 0 when everything in flight had finished, 1 when some was cut."""
    return _run(_serve(settings, None, (), lambda _: None))


def run_worker(settings: ServeSettings, end: socket.socket) -> int:
    """Run one of several workers: as ``run_serve``, with its readiness and metrics reported through ``end``."""
    return _run(_serve(settings, None, (), lambda _: None, end=end))


def run_up(
    settings: ServeSettings,
    tenants: Sequence[Tenant] | None,
    controllers: Sequence[tuple[Controller, Any]],
    started: Callable[[Running], None] = lambda _: None,
) -> int:
    """Run the proxy and controllers in one process; ``tenants`` are applied first.

    ``started`` is called once visitors are served, with the addresses really taken.
    """
    return _run(_serve(settings, tenants, controllers, started))


def _run(work: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _serve(
    settings: ServeSettings,
    tenants: Sequence[Tenant] | None,
    controllers: Sequence[tuple[Controller, Any]],
    started: Callable[[Running], None],
    *,
    end: socket.socket | None = None,
) -> int:
    store = open_store(settings)
    metrics = CollectorRegistry()
    site = AdminSite(settings.admin, metrics, "gogeta")
    try:
        with stop_signals() as stop:
            async with Tasks("gogeta") as tasks, access_logged(settings) as access_log:
                me = f"{socket.gethostname()}-{os.getpid()}"
                registry = Registry(store, f"gogeta/{me}")
                mirror = TenantMirror(store)
                proxy = Proxy(settings, registry, _forbidden(settings, store), tasks, access_log)
                mirror.subscribe(proxy.fleet.changed)
                metrics.register(ProxyCollector(proxy, mirror))
                server = Server(proxy, settings.listen)

                front: Front = site
                if end is None:
                    await site.start()
                else:
                    front = link = WorkerLink(metrics, end, stop)
                    tasks.start(link.run(), "reports")
                front.ready("routes", "the routes have not been read from the registry yet")
                await server.start(shared=end is not None)
                running = Running(replace(settings.listen, port=server.port), site.endpoint)
                logger.info("serving on %s, admin on %s, registry %s", running.listen, running.admin, settings.registry)

                listeners = (running.listen, running.admin)
                member = Member(kind="gogeta", id=me, since=wall_ms(), listeners=listeners)
                tasks.start(mirror.source.run(), "mirror")
                tasks.start(proxy.activity.run(), "activity")
                tasks.start(registry.announce(member), "announce")
                stopping = tasks.start(stop.wait(), "stop")
                loading = tasks.start(_load(registry, mirror, tenants, proxy, front), "load")
                # A visitor who comes a moment too early is better served a moment later than told so.
                await asyncio.wait((loading, stopping), timeout=ROUTES_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                await server.accept()
                if tenants is not None:
                    await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
                    if not loading.done():
                        return 0
                    await loading
                for controller, chosen in controllers:
                    work = controller.run(chosen, store, metrics=metrics, ready=front.ready)
                    tasks.start(work, controller.name)
                started(running)
                await stop.wait()

                front.ready("draining", "this process is shutting down")
                logger.info("draining for up to %.0f s", settings.drain_timeout)
                cut = await server.drain(settings.drain_timeout)
                await proxy.activity.flush(proxy.loop_time(), everything=True)
                if cut:
                    logger.warning("%d exchanges did not finish in time and were cut", cut)
                return 1 if cut else 0
    finally:
        await site.stop()
        await store.close()


def _forbidden(settings: ServeSettings, store: Store) -> Forbidden:
    return Forbidden(
        listeners=frozenset({settings.listen, settings.admin}),
        registry=frozenset(Endpoint(host, port) for host, port in store.endpoints),
        local=local_addresses(),
    )


async def _load(
    registry: Registry, mirror: TenantMirror, tenants: Sequence[Tenant] | None, proxy: Proxy, front: Front
) -> None:
    """Bring the routes in, those of a file first; ready from then on.

    A registry that goes away later does not take a proxy out of service: it still serves every route it knows.
    """
    if tenants is not None:
        await _apply(registry, tenants)
        with contextlib.suppress(TimeoutError):
            # Whoever is told of a URL finds it there: the mirror hears of it a moment later.
            await asyncio.wait_for(_until_known(mirror, tenants), ROUTES_PATIENCE)
    await mirror.source.wait_synced()
    proxy.loaded = True
    front.ready("routes", None)


async def _apply(registry: Registry, tenants: Sequence[Tenant]) -> None:
    """Apply the tenants of a file, as soon as the registry is there."""
    backoff = Backoff(first=0.2, limit=5.0)
    while True:
        try:
            applied = await registry.apply(tenants)
        except RegistryUnavailableError as error:
            logger.warning("the tenants cannot be applied yet, trying again: %s", error)
            await asyncio.sleep(backoff.next())
        else:
            logger.info(
                "tenants: %d created, %d changed, %d unchanged",
                len(applied.created),
                len(applied.changed),
                len(applied.unchanged),
            )
            return


async def _until_known(mirror: TenantMirror, tenants: Sequence[Tenant]) -> None:
    known = asyncio.Event()

    def look(*_: object) -> None:
        records = mirror.records
        if all(tenant.name in records and records[tenant.name].tenant == tenant for tenant in tenants):
            known.set()

    end = mirror.subscribe(look)
    try:
        look()
        await known.wait()
    finally:
        end()
