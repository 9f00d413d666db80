"""`gogeta completion`: the script that makes a shell complete our words, and the tenant names it offers.

Completing must be quick and must never print anything but completions, whatever is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from gogeta.cli.program import GOGETA
from gogeta.domain.errors import GogetaError
from gogeta.kit.sources import Sources, read_file
from gogeta.settings import RegistrySettings

SHELLS: Final = ("bash", "zsh", "fish")
_PATIENCE: Final = 1.0
"""Longest wait for the registry, in seconds: a person has pressed Tab."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    Completes commands, options, settings' choices, and tenant names where the
    registry answers within a second.

    \b
    Examples:
      source <(gogeta completion bash)                        # now, in bash
      gogeta completion zsh > "${fpath[1]}/_gogeta"           # for good, in zsh
      gogeta completion fish > ~/.config/fish/completions/gogeta.fish
    """  # noqa: D301 - \b is click's
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    click.echo(kind(ctx.find_root().command, {}, "gogeta", "_GOGETA_COMPLETE").source())


def known_names(ctx: click.Context) -> list[str]:
    """The names of all tenants, as far as the registry tells at once; none when anything is wrong."""
    # No logs are set up here, and logging would write warnings to stderr, into the line that is being typed.
    logging.disable(logging.CRITICAL)
    environ = dict(os.environ)
    flags = {name: value for name, value in ctx.params.items() if isinstance(value, str)}
    sources = Sources(GOGETA, flags, environ)
    try:
        if path := flags.get("config") or environ.get("GOGETA_CONFIG"):
            sources = replace(sources, file=read_file(path, said_by="--config"))
        settings = sources.load(RegistrySettings)
        if settings.registry.scheme == "embedded" and not Path(settings.registry.path).exists():
            return []
        return asyncio.run(_names(replace(settings, registry_timeout=_PATIENCE)))
    except (GogetaError, TimeoutError):
        # The command itself will say what is wrong, once it is run.
        return []


async def _names(settings: RegistrySettings) -> list[str]:
    from gogeta.cli.connecting import connected  # noqa: PLC0415 - the script alone needs no registry

    async with asyncio.timeout(_PATIENCE), connected(settings) as registry:
        return sorted((await registry.load()).by_name)
