"""Write the reference pages beside this file: `python docs/generate.py`. A test fails when they are stale."""  # noqa: INP001

from __future__ import annotations

from pathlib import Path
from typing import Any

from gogeta import __version__
from gogeta.api.events import Events
from gogeta.api.log_levels import log_level_operations
from gogeta.api.openapi import document
from gogeta.api.site import operations
from gogeta.api.tenant_logs import TenantLogs
from gogeta.cli.reference import Chapter, cli_page, settings_page
from gogeta.cli.reference_api import api_page
from gogeta.cli.reference_values import schema_page, tenants_page
from gogeta.kit.tasks import Tasks
from gogeta.registry.memory import MemoryStore
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.settings import ServeSettings
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
        here / "tenants.md": tenants_page(),
        here / "api-reference.md": api_page(described()),
        here / "registry-schema.md": schema_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
