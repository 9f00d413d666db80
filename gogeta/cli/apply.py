"""`gogeta apply`: declarations from a file into the registry, all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gogeta.cli.connecting import on_registry
from gogeta.cli.declaring import Difference, check
from gogeta.cli.parameters import output_option, registry_options
from gogeta.cli.showing import echo, print_json
from gogeta.cli.tenants_file import read_tenants_file
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.options import declared
from gogeta.registry.registry import Registry
from gogeta.settings import ServeSettings

_COLOURS = {"created": "green", "changed": "yellow", "unchanged": None, "withdrawn": "yellow"}


@click.command(cls=SettingsCommand)
@click.option("-f", "--file", "file", required=True, metavar="FILE", help="The tenants, in YAML; - is standard input.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would change; change nothing.")
@output_option("text", "json")
@registry_options
def apply(settings: Settings, file: str, output: str, *, dry_run: bool) -> None:
    """Create or change the tenants of a file.

    Tenants that the file does not name stay as they are (`gogeta rm` removes
    one). A new tenant is asleep: its first request wakes it. Changed hosts and
    policies count at once; a change of how it runs counts from its next start
    (`gogeta sleep NAME`, then `gogeta wake NAME`, make one now).

    The file is checked whole, and against the registry: hosts that another
    tenant has, and upstreams that point at our own listeners, the registry or
    the container runtime, are refused. When anything is wrong, everything
    wrong is listed with its line, and nothing is applied. Tenants that were
    discovered by the labels of containers give way to those of the file.

    \b
    Examples:
      gogeta apply -f tenants.yaml
      gogeta apply -f tenants.yaml --dry-run
      generate-tenants | gogeta apply -f - -o json
    """  # noqa: D301 - \b is click's
    tenants = read_tenants_file(file)

    async def work(registry: Registry) -> list[Difference]:
        differences = await check(tenants, registry, explicit_listeners(settings))
        if not dry_run:
            await registry.apply(tenants.tenants)
        return differences

    print_differences(on_registry(settings, work, may_create=not dry_run), output=output, dry_run=dry_run)


def explicit_listeners(settings: Settings) -> list[Endpoint]:
    """The proxy's listeners where somebody set them: a default says nothing about what runs, and where."""
    return [
        endpoint
        for option in declared(ServeSettings)
        if option.name in ("listen", "admin") and (endpoint := settings.sources.explicit(option)) is not None
    ]


def print_differences(differences: Sequence[Difference], *, output: str, dry_run: bool) -> None:
    """What was changed, or would be: one line a tenant, or JSON."""
    if output == "json":
        tenants = [{"name": item.name, "result": item.result, "fields": list(item.fields)} for item in differences]
        print_json({"dry_run": dry_run, "tenants": tenants})
        return
    for item in differences:
        fields = f"  ({', '.join(item.fields)})" if item.fields else ""
        echo((f"{item.result:<9}", _COLOURS[item.result]), f"  {item.name}{fields}")
    if dry_run:
        click.echo("dry run: nothing was changed")
