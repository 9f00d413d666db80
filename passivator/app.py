"""How passivator is put together: as a part of ``gogeta up`` (``controller``), and as a program (``serve``)."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from gogeta.api.log_levels import log_level_operations
from gogeta.dashboard.serving import serve_admin
from gogeta.domain.upstreams import Endpoint
from gogeta.kit import notify
from gogeta.kit.activation import passed_sockets
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.log_levels import level_signals
from gogeta.kit.signals import stop_signals
from gogeta.kit.tasks import Tasks, first_of
from gogeta.kit.tracing import TracingCollector, traced
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store, open_to_read
from gogeta.registry.registry import Registry
from gogeta.registry.store import Store
from passivator.controller import Controller, ReadyCallback
from passivator.core.labels import ASKED_FOR
from passivator.drivers.base import Driver
from passivator.drivers.choosing import open_driver, open_labels
from passivator.meters import Meters
from passivator.reading_logs import reader_of
from passivator.rehearsal import Rehearsal
from passivator.settings import ControllerSettings, PassivatorSettings
from passivator.webhooks import posting

logger = logging.getLogger(__name__)

_ADMIN: Final = "admin"
"""The one listener, as a service manager that holds it calls it; any other name will do."""


async def run_controller(
    settings: ControllerSettings,
    store: Store,
    driver: Driver,
    *,
    metrics: CollectorRegistry,
    ready: ReadyCallback,
    listeners: tuple[Endpoint, ...] = (),
) -> None:
    """Reconcile tenants until cancelled, and close the driver.

    ``listeners`` are addresses of ours that no upstream may point at.
    """
    labels = open_labels(settings, ASKED_FOR)
    ready("registry", "not read yet")
    ready("runtime", "not reached yet")
    async with (
        traced(
            settings.tracing, "passivator", share=settings.tracing_sample, capacity=settings.tracing_queue
        ) as tracing,
        AsyncExitStack() as stack,
    ):
        if tracing is not None:
            metrics.register(TracingCollector("passivator", tracing))
        if labels is not None:
            stack.push_async_callback(labels.close)
        post = await stack.enter_async_context(posting(settings.webhook_timeout)) if settings.webhook_urls else None
        await Controller(
            settings,
            store,
            driver,
            member=f"{socket.gethostname()}-{os.getpid()}",
            listeners=listeners,
            meters=Meters(metrics, driver=driver.kind),
            ready=ready,
            tracing=tracing,
            post=post,
            labels=labels,
        ).run()


class EmbeddedController:
    """passivator as a part of another process: what ``gogeta up`` finds as an entry point."""

    name: ClassVar[str] = "passivator"
    settings: ClassVar[type[ControllerSettings]] = ControllerSettings

    def prepare(self, settings: ControllerSettings) -> Prepared:
        """Everything but running. Raises InvalidInputError naming the setting that makes no sense."""
        return Prepared(settings)


class Prepared:
    """passivator before its run, and meanwhile: what can be asked of it."""

    def __init__(self, settings: ControllerSettings) -> None:
        """Nothing is reached yet."""
        self._settings = settings
        self._driver = open_driver(settings)
        self.logs = reader_of(self._driver)

    async def run(self, store: Store, *, metrics: CollectorRegistry, ready: ReadyCallback) -> None:
        """Reconcile until cancelled; ``ready(part, problem)`` hears of ``registry`` and ``runtime``."""
        await run_controller(self._settings, store, self._driver, metrics=metrics, ready=ready)


controller: Final = EmbeddedController()


async def serve(settings: PassivatorSettings) -> None:
    """The whole program: until SIGTERM or SIGINT.

    Raises AddressTakenError when the admin listener cannot be had, and ActivationError when a service manager passed
    something else than one; what else is missing is waited for.
    """
    given = passed_sockets((_ADMIN,), (_ADMIN,)).get(_ADMIN)
    metrics = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=metrics)
    with stop_signals() as stop, level_signals():
        site = AdminSite(settings.admin, metrics, "passivator", names=settings.admin_names)
        store = open_store(settings)
        mirror = TenantMirror(store)
        registry = Registry(store, f"passivator/{socket.gethostname()}-{os.getpid()}")
        driver = open_driver(settings)
        try:
            async with Tasks("passivator program") as tasks:
                more = log_level_operations()
                reader = reader_of(driver)
                metrics.register(
                    serve_admin(site, registry, mirror, tasks, more, auth=settings.admin_auth, logs=reader)
                )
                await site.start(given)
                logger.info(
                    "passivator: admin on http://%s, registry %s, driver %s",
                    site.endpoint,
                    settings.registry,
                    settings.driver,
                )
                tasks.start(mirror.source.run(), "mirror")
                running = tasks.start(
                    run_controller(
                        settings, store, driver, metrics=metrics, ready=site.ready, listeners=(site.endpoint,)
                    ),
                    "controller",
                )
                running.add_done_callback(lambda _: stop.set())
                tasks.start(notify.signs_of_life(), "signs of life")
                notify.ready("watching the registry and the runtime")
                await first_of(stop)
                notify.stopping("letting go of what it drives")
                if running.done() and not running.cancelled():
                    running.result()
                logger.info("passivator: ending")
        finally:
            await site.stop()
            await store.close()


async def rehearse(
    settings: PassivatorSettings, *, seconds: float | None = None, idle_timeout: float | None = None
) -> dict[str, Any]:
    """The dry run: until SIGTERM or SIGINT, or for so many seconds; its report. It opens no driver and no listener."""
    with stop_signals() as stop:
        store = open_to_read(settings)
        try:
            logger.info("passivator: dry run on registry %s; nothing is started, stopped or written", settings.registry)
            rehearsal = Rehearsal(store, idle_timeout=idle_timeout)
            return rehearsal.report(await rehearsal.run(stop, seconds))
        finally:
            await store.close()
