"""The root command. It knows each command's name, its place in the help and its module, and imports it when asked."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click

from gogeta.kit.command import version_option
from gogeta.kit.sources import nearest


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: ``module:attribute``, and its line in the list (the first sentence of its own help)."""

    where: str
    summary: str


COMMANDS: Final[dict[str, dict[str, Entry]]] = {
    "Run": {
        "up": Entry("up:up", "Run everything in one process: proxy, controller and registry."),
        "serve": Entry("serve:serve", "Run the reverse proxy."),
    },
    "Tenants": {
        "apply": Entry("apply:apply", "Create or change the tenants of a file."),
        "tenants": Entry("tenants:tenants", "List tenants, or show one in full."),
        "explain": Entry("explain:explain", "Say why a tenant is as it is, and what happened to it lately."),
        "logs": Entry("logs:logs", "Show what a tenant's containers wrote."),
        "wake": Entry("act:wake", "Start a sleeping tenant and wait until it answers."),
        "sleep": Entry("act:sleep", "Put a tenant to sleep now; its next request wakes it."),
        "stop": Entry("act:stop", "Stop a tenant; requests do not wake it."),
        "start": Entry("act:start", "Start a tenant, also one that was stopped."),
        "rm": Entry("act:rm", "Remove a tenant."),
        "import-arken": Entry("import_arken:import_arken", "Make tenants of what the older gogeta kept in etcd."),
    },
    "Access": {
        "token": Entry("token:token", "Make, list and revoke tokens of the admin API."),
    },
    "Shell": {
        "completion": Entry("completion:completion", "Print the completion script of a shell."),
    },
}
"""Section of the help -> command -> where it is."""

_ENTRIES: Final = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


class LazyCommands(click.Group):
    """A group whose commands are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(_ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in _ENTRIES:
            return None
        module, _, attribute = _ENTRIES[cmd_name].where.partition(":")
        command = getattr(import_module(f"gogeta.cli.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above names commands
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name; a mistyped one is answered with the nearest."""
        if args and args[0] not in _ENTRIES and not args[0].startswith("-"):
            close = nearest(args[0], _ENTRIES)
            raise click.UsageError(
                f"there is no command {args[0]!r}" + (f"; did you mean {close!r}?" if close else ""), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing anything."""
        for section, entries in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, entry.summary) for name, entry in entries.items()])


@click.group(
    cls=LazyCommands,
    epilog="`gogeta COMMAND --help` tells more, with examples. Exit statuses: docs/cli.md.",
)
@version_option()
def gogeta() -> None:
    """A reverse proxy that wakes sleeping tenants on their first request.

    `gogeta up -f tenants.yaml` is the quick start: everything in one process. For many machines run `gogeta serve`
    and `passivator` on an etcd registry. The commands about tenants work on the registry alone, and so also while
    either is down.
    """
