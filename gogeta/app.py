"""Composition: which parts a running gogeta is made of, in which order they start, and in which they end.

``serve`` is the proxy, wherever it stands (``Place``); ``run_up`` is the proxy with controllers in one process, for one
machine. Both give the exit status and raise GogetaError for what an operator has to mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import uvloop
from prometheus_client import CollectorRegistry

from gogeta.admin.ending import announce_end
from gogeta.admin.listeners import ListenerCollector
from gogeta.admin.metrics import ProxyCollector
from gogeta.api.log_levels import log_level_operations
from gogeta.api.tenant_logs import LogReader
from gogeta.dashboard.serving import serve_admin
from gogeta.domain.state import Member
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.kit import notify
from gogeta.kit.activation import passed_sockets
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import wall_ms
from gogeta.kit.listening import address
from gogeta.kit.local_addresses import local_addresses
from gogeta.kit.log_levels import level_signals
from gogeta.kit.signals import stop_signals
from gogeta.kit.tasks import Tasks
from gogeta.kit.tracing import TracingCollector, traced
from gogeta.net.access_log import access_logged
from gogeta.net.certificates import Certificates
from gogeta.net.forwarder import Proxy
from gogeta.net.server import Server
from gogeta.net.theming import Theming
from gogeta.net.tracing import TracedProxy
from gogeta.registry.metered import MeteredStore, RegistryCollector
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryUnavailableError, Store
from gogeta.settings import ADMIN, LISTENERS, UNNAMED, ServeSettings

logger = logging.getLogger(__name__)


_COLLECT_AFTER: Final = 20_000
"""Objects made and not yet gone until the youngest are looked through."""
ROUTES_PATIENCE: Final = 1.0
"""Seconds to wait for the routes before visitors are served; after that they are told to come again."""


class Controller(Protocol):
    """A controller that can run beside the proxy (entry point group ``gogeta.controllers``)."""

    name: str

    def prepare(self, settings: Any) -> PreparedController:  # noqa: ANN401 - each has its own class of settings
        """Everything but running. Raises GogetaError for settings that make no sense."""
        ...


class PreparedController(Protocol):
    """A controller with its settings."""

    logs: LogReader
    """Reads what its tenants wrote, also before and while it runs."""

    async def run(
        self,
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
    secure: Endpoint | None = None
    """Where TLS is spoken; the same as ``listen`` when that is the only listener."""


class Place(Protocol):
    """How a proxy stands among processes: alone, one of several workers, or about to be succeeded by another.

    It is asked in this order, once each.
    """

    has_site: bool
    """Whether the proxy's own admin listener is the one that is asked; else nothing more is put on it."""

    def metrics(self, own: CollectorRegistry) -> CollectorRegistry:
        """What the admin listener shows of a proxy whose metrics are ``own``."""
        ...

    async def enter(self, site: AdminSite, tasks: Tasks) -> Front:
        """Open what tells how the proxy is: ``site``, or something in its stead."""
        ...

    def sockets(self) -> Mapping[str, Sequence[socket.socket]]:
        """Sockets that listen already, by name of listener; without one the proxy takes the address itself."""
        ...

    async def may_accept(self, loading: asyncio.Future[None], stopping: asyncio.Future[Any]) -> None:
        """Return when visitors may be served; ``loading`` ends when the routes are known."""
        ...

    def serving(self) -> None:
        """Visitors are served from now on."""
        ...

    async def over(self, stop: asyncio.Event) -> None:
        """Return when the proxy should drain: ``stop`` is set, or others serve in its place."""
        ...

    async def leave(self) -> None:
        """Close what ``enter`` opened. Also after a start that failed half-way."""
        ...


class Alone:
    """One process that nobody supervises or succeeds; on sockets of a service manager if it passed some."""

    has_site = True

    def __init__(self, given: Mapping[str, Sequence[socket.socket]], drain_delay: float) -> None:
        """``given``: sockets by name of listener."""
        self._given = given
        self._drain_delay = drain_delay
        self._site: AdminSite | None = None

    def metrics(self, own: CollectorRegistry) -> CollectorRegistry:
        """Its own."""
        return own

    async def enter(self, site: AdminSite, tasks: Tasks) -> Front:
        """The admin listener itself."""
        await site.start(self._given.get(ADMIN))
        self._site = site
        return site

    def sockets(self) -> Mapping[str, Sequence[socket.socket]]:
        """Those of the service manager, if there are any."""
        return self._given

    async def may_accept(self, loading: asyncio.Future[None], stopping: asyncio.Future[Any]) -> None:
        """In a moment: a visitor who comes a moment too early is better served a moment later than told so."""
        await asyncio.wait((loading, stopping), timeout=ROUTES_PATIENCE, return_when=asyncio.FIRST_COMPLETED)

    def serving(self) -> None:
        """The service manager is told."""
        notify.ready()

    async def over(self, stop: asyncio.Event) -> None:
        """At the stop alone."""
        await stop.wait()
        assert self._site is not None  # noqa: S101 - it was entered
        await announce_end(self._site, self._drain_delay)
        if ADMIN in self._given:
            # The socket lives on: who asks there from now on is for whoever comes after us.
            await self._site.stop()

    async def leave(self) -> None:
        """The admin listener ends last."""
        if self._site is not None:
            await self._site.stop()


def run_up(
    settings: ServeSettings,
    tenants: Sequence[Tenant] | None,
    controllers: Sequence[tuple[Controller, Any]],
    started: Callable[[Running], None] = lambda _: None,
) -> int:
    """Run the proxy and controllers in one process; ``tenants`` are applied first.

    ``started`` is called once visitors are served, with the addresses really taken.
    """

    async def run() -> int:
        given = passed_sockets(LISTENERS, UNNAMED)
        really = settings.at({name: address(sockets[0]) for name, sockets in given.items()})
        with stop_signals() as stop, level_signals():
            return await serve(really, Alone(given, settings.drain_delay), stop, tenants, controllers, started)

    return in_loop(run())


def in_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work`` on a loop made for the data plane."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def serve(
    settings: ServeSettings,
    place: Place,
    stop: asyncio.Event,
    tenants: Sequence[Tenant] | None = None,
    controllers: Sequence[tuple[Controller, Any]] = (),
    started: Callable[[Running], None] = lambda _: None,
) -> int:
    """Serve until ``stop`` or the place says so; 0 when everything in flight had finished, 1 when some was cut."""
    prepared = [(controller.name, controller.prepare(chosen)) for controller, chosen in controllers]
    certificates = Certificates.of(settings)
    theming = Theming.of(settings)
    store = MeteredStore(open_store(settings))
    metrics = CollectorRegistry()
    site = AdminSite(settings.admin, place.metrics(metrics), "gogeta", names=settings.admin_names)
    try:
        async with (
            traced(
                settings.tracing, "gogeta", share=settings.tracing_sample, capacity=settings.tracing_queue
            ) as tracing,
            Tasks("gogeta") as tasks,
            access_logged(settings) as access_log,
        ):
            me = f"{socket.gethostname()}-{os.getpid()}"
            registry = Registry(store, f"gogeta/{me}")
            mirror = TenantMirror(store)
            make = Proxy if tracing is None else partial(TracedProxy, tracing=tracing)
            proxy = make(settings, registry, _forbidden(settings, store), tasks, access_log, theming)
            mirror.subscribe(proxy.fleet.changed)
            spans = None if tracing is None else TracingCollector("gogeta", tracing)
            metrics.register(ProxyCollector(proxy, mirror, spans))
            metrics.register(RegistryCollector("gogeta", store))
            server = Server(proxy, settings.listen, certificates)
            metrics.register(ListenerCollector(server.listeners, certificates))
            if place.has_site:
                reader = prepared[0][1].logs if prepared else None
                more = log_level_operations()
                metrics.register(
                    serve_admin(site, registry, mirror, tasks, more, auth=settings.admin_auth, logs=reader)
                )

            front = await place.enter(site, tasks)
            front.ready("routes", "the routes have not been read from the registry yet")
            server.start(place.sockets())
            running = Running(server.endpoints[0], site.endpoint, server.secure_endpoint)
            logger.info("serving on %s, admin on %s, registry %s", server, running.admin, settings.registry)

            member = Member(kind="gogeta", id=me, since=wall_ms(), listeners=(*server.endpoints, running.admin))
            proxy.yielding.introduce(member)
            for name, work in {
                "signs of life": notify.signs_of_life(),
                "mirror": mirror.source.run(),
                "activity": proxy.activity.run(),
                "theme": theming.watch(),
                "wake reports": proxy.awaiting.run(),
                "yielding": proxy.yielding.run(),
                "announce": registry.announce(proxy.yielding.told, changed=proxy.yielding.changed),
            }.items():
                tasks.start(work, name)
            stopping = tasks.start(stop.wait(), "stop")
            loading = tasks.start(_load(registry, mirror, tenants, proxy, front), "load")
            await place.may_accept(loading, stopping)
            await server.accept()
            place.serving()
            if tenants is not None:
                await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not loading.done():
                    return 0
                await loading
            for name, controller in prepared:
                tasks.start(controller.run(store, metrics=metrics, ready=front.ready), name)
            started(running)
            await place.over(stop)
            return await _drain(settings, server, proxy, stop)
    finally:
        await place.leave()
        await store.close()


def _settle_memory() -> None:
    """Spare the collector what is here to stay, and let it look more rarely: the data plane leaves no cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


async def _drain(settings: ServeSettings, server: Server, proxy: Proxy, hurry: asyncio.Event) -> int:
    """End in good order; the exit status."""
    logger.info("draining for up to %.0f s", settings.drain_timeout)
    cut = await server.drain(settings.drain_timeout, hurry)
    await proxy.activity.flush(proxy.loop_time(), everything=True)
    proxy.awaiting.collect()
    await proxy.awaiting.flush()
    if cut:
        logger.warning("%d exchanges did not finish in time and were cut", cut)
    return 1 if cut else 0


def _forbidden(settings: ServeSettings, store: Store) -> Forbidden:
    return Forbidden(
        listeners=frozenset(settings.listeners),
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
        known = False
        # Whoever is told of a URL finds it there: the mirror hears of it a moment later, or when it hears again at all.
        while not known:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_until_known(mirror, tenants), ROUTES_PATIENCE)
            known = not mirror.source.stale
    await mirror.source.wait_synced()
    proxy.loaded = True
    _settle_memory()
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
