"""Write the reference pages beside this file: `python docs/generate.py`. A test fails when they are stale."""  # noqa: INP001

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from gogeta import __version__
from gogeta.admin.listeners import ListenerCollector
from gogeta.admin.metrics import ProxyCollector
from gogeta.admin.questions import QUESTIONS
from gogeta.api.events import Events
from gogeta.api.log_levels import log_level_operations
from gogeta.api.openapi import document
from gogeta.api.site import operations
from gogeta.api.tenant_logs import TenantLogs
from gogeta.cli.metrics_page import Program, metrics_page
from gogeta.cli.reference import Chapter, cli_page, settings_page
from gogeta.cli.reference_api import api_page
from gogeta.cli.reference_values import schema_page, tenants_page
from gogeta.dashboard.serving import serve_admin
from gogeta.domain.upstreams import Forbidden
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tasks import Tasks
from gogeta.kit.tracing import TracingCollector
from gogeta.net.forwarder import Proxy
from gogeta.registry.memory import MemoryStore
from gogeta.registry.metered import MeteredStore, RegistryCollector
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.settings import ServeSettings
from gogeta.workers.supervisor import Supervisor
from passivator.drivers.memory import MemoryDriver
from passivator.metered_driver import MeteredDriver
from passivator.meters import GAUGES, Meters
from passivator.questions import QUESTIONS as PASSIVATORS_QUESTIONS
from passivator.saved import Saved
from passivator.settings import PassivatorSettings

CHAPTERS = (
    Chapter(
        "gogeta",
        "GOGETA_",
        ServeSettings,
        "Of `gogeta serve` and `gogeta up`. The commands about tenants take those under Registry and Logs "
        "(there, `log_level` is `error` if nobody says otherwise).",
    ),
    Chapter(
        "passivator",
        "PASSIVATOR_",
        PassivatorSettings,
        "Of `passivator`. `gogeta up` takes those under Runtime, Several, Life cycle and Memory, as `GOGETA_...`.",
    ),
)


class NoCertificates:
    """TLS at rest."""

    first_end = reloads = failures = 0

    def __len__(self) -> int:
        """None is served."""
        return 0


async def metrics() -> tuple[list[Metric], list[Metric]]:
    """All that gogeta and passivator may show, from their collectors with nothing behind them."""
    gogeta, passivator = CollectorRegistry(), CollectorRegistry()
    settings, store = ServeSettings(), MeteredStore(MemoryStore())
    registry, mirror = Registry(store, "docs"), TenantMirror(store)
    nothing: Any = SimpleNamespace(sent=0, dropped=0, failures=0)
    certificates: Any = NoCertificates()
    async with Tasks("docs") as tasks:
        proxy = Proxy(settings, registry, Forbidden(frozenset(), frozenset(), frozenset()), tasks)
        gogeta.register(ProxyCollector(proxy, mirror, TracingCollector("gogeta", nothing)))
        gogeta.register(RegistryCollector("gogeta", store))
        gogeta.register(ListenerCollector((), certificates))
        gogeta.register(Supervisor(nothing, nothing, tasks))
        for program, shown in (("gogeta", gogeta), ("passivator", passivator)):
            site = AdminSite(settings.admin, shown, program)
            shown.register(serve_admin(site, registry, mirror, tasks, log_level_operations(), auth=settings.admin_auth))
        meters = Meters(passivator, driver="docker")
        meters.watch(dict.fromkeys(GAUGES, lambda: 0.0), lambda _: 0)
        meters.watch_lost(lambda: 0)
        meters.watch_calls(store, MeteredDriver(MemoryDriver()))
        Saved(passivator, mirror, lambda _: 0)
        passivator.register(TracingCollector("passivator", nothing))
        return list(gogeta.collect()), list(passivator.collect())


def programs() -> tuple[Program, Program]:
    """The two programs' chapters."""
    gogetas, passivators = asyncio.run(metrics())
    return (
        Program("gogeta", "Of `gogeta serve`: of all its workers together.", gogetas, QUESTIONS),
        Program(
            "passivator",
            "What happens to tenants is counted by the passivator that leads their group; the others follow, and count "
            "nothing of it.",
            passivators,
            PASSIVATORS_QUESTIONS,
        ),
    )


def described() -> dict[str, Any]:
    """The OpenAPI document as an admin listener serves it."""
    store = MemoryStore()
    registry, mirror = Registry(store, "docs"), TenantMirror(store)
    more = [TenantLogs(registry, None).operation, *log_level_operations()]
    listed = operations(registry, mirror, Events(mirror, program="docs"), Tasks("docs"), more)
    return document(listed, version=__version__)


def pages() -> dict[Path, str]:
    """Each page's place and text."""
    here = Path(__file__).parent
    return {
        here / "settings.md": settings_page(CHAPTERS),
        here / "cli.md": cli_page(),
        here / "metrics.md": metrics_page(programs()),
        here / "tenants.md": tenants_page(),
        here / "api-reference.md": api_page(described()),
        here / "registry-schema.md": schema_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
