"""What the commands about tenants have in common on the command line: the registry, names, durations, formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from gogeta.cli.program import GOGETA
from gogeta.domain.hosts import normalise_tenant_name
from gogeta.domain.quantities import parse_duration
from gogeta.kit.command import settings_options
from gogeta.settings import RegistrySettings

Callback = TypeVar("Callback", bound=Callable[..., Any])

QUIET: Final = {"log_level": "error"}
"""A command that ends soon says what went wrong itself; a server's news and worries would only stand in between."""


def registry_options(callback: Callback) -> Callback:
    """The options of a command that works on the registry alone."""
    return settings_options(RegistrySettings, program=GOGETA, defaults=QUIET)(callback)


class TenantNameType(click.ParamType[str]):
    """A tenant's name, in its one spelling; completed from the registry where that is quick."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a refusal that says what a name looks like."""
        try:
            return normalise_tenant_name(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of the registry that begin with what is typed."""
        from gogeta.cli.completion import known_names  # noqa: PLC0415 - opens the registry, only completion needs that

        return [CompletionItem(name) for name in known_names(ctx) if name.startswith(incomplete)]


class DurationType(click.ParamType[float]):
    """A duration, in seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds, or a refusal with the accepted forms."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def tenant_argument(*, required: bool = True) -> Callable[[Callback], Callback]:
    """The argument NAME."""
    return click.argument("name", type=TenantNameType(), metavar="NAME" if required else "[NAME]", required=required)


def output_option(*formats: str) -> Callable[[Callback], Callback]:
    """``-o``: the first of ``formats`` is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Output for people, or JSON for programs (errors too, then on stderr).",
    )
