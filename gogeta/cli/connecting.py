"""A command's connection to the registry: opened, used, closed, with errors in words.

The default registry is a file in the current folder. A command that finds none there says so; it does not make an
empty one, in which nothing would ever be found.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from gogeta.cli.showing import warn
from gogeta.kit.command import Settings
from gogeta.kit.exits import CommandError, ExitStatus
from gogeta.kit.options import declared
from gogeta.registry import keys
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.settings import RegistrySettings

T = TypeVar("T")

_PATIENCE: Final = 1.5
"""Seconds without an answer after which a person is told."""


def writer() -> str:
    """This process as a writer in the registry: ``cli/USER@HOST``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        user = str(os.getuid())
    return f"cli/{user}@{socket.gethostname()}"


def on_registry(settings: Settings, work: Callable[[Registry], Awaitable[T]], *, may_create: bool = False) -> T:
    """Run ``work`` on the registry that the settings name.

    ``may_create``: the command writes declarations, so that a file named on purpose may come into being.
    """
    registry = settings[RegistrySettings]
    if registry.registry.scheme == "embedded":
        option = next(option for option in declared(RegistrySettings) if option.name == "registry")
        named = settings.sources.find(option) is not None
        if not (named and may_create):
            _expect_file(registry, named=named)

    async def main() -> T:
        async with connected(registry) as connection:
            await _first_answer(connection, registry)
            return await work(connection)

    return asyncio.run(main())


@asynccontextmanager
async def connected(settings: RegistrySettings) -> AsyncIterator[Registry]:
    """The registry, closed at the end."""
    store = open_store(settings)
    try:
        yield Registry(store, writer())
    finally:
        await store.close()


async def _first_answer(connection: Registry, settings: RegistrySettings) -> None:
    # A store tries for a while before it gives up, since a cluster may be electing a leader; a person wants to know.
    loop = asyncio.get_running_loop()
    note = loop.call_later(_PATIENCE, warn, f"the registry {settings.registry} does not answer yet, trying on")
    try:
        await connection.store.get(keys.GENERATION)
    finally:
        note.cancel()


def _expect_file(settings: RegistrySettings, *, named: bool) -> None:
    if Path(settings.registry.path).exists():
        return
    where = settings.registry.path if named else f"{settings.registry.path} in {Path.cwd()}"
    raise CommandError(
        f"there is no registry {where}",
        status=ExitStatus.REGISTRY,
        hint="`gogeta up` makes one there; name another with --registry or GOGETA_REGISTRY",
    )
