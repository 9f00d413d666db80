"""`gogeta tenants`: what the registry says about tenants."""

from __future__ import annotations

import asyncio

import click

from gogeta.api.representations import STATES, state_of
from gogeta.cli import showing
from gogeta.cli.connecting import on_registry
from gogeta.cli.parameters import output_option, registry_options, tenant_argument
from gogeta.cli.showing import warn
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.state import LastAccess
from gogeta.kit.clock import wall_ms
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.exits import CommandError
from gogeta.registry import keys
from gogeta.registry.codec import decode
from gogeta.registry.discovering import discoveries
from gogeta.registry.records import Records
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryRefusedError


@click.command(cls=SettingsCommand)
@tenant_argument(required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    metavar="STATE",
    help=f"Only tenants in this state ({', '.join(STATES)}); may be given again.",
)
@output_option("table", "json")
@registry_options
def tenants(settings: Settings, name: str | None, states: tuple[str, ...], output: str) -> None:
    """List tenants, or show one in full.

    Changes nothing. STATE is what a tenant is; where nothing runs, it is what
    the tenant is meant to be: passivated (its next request wakes it) or
    stopped (only `gogeta start` or `gogeta sleep` ends that). Values in the
    registry that cannot be read are named on stderr, and so are labels of
    containers that are wrong or in conflict (`passivator --discover`).

    \b
    Examples:
      gogeta tenants
      gogeta tenants acme
      gogeta tenants --state failed --state starting
      gogeta tenants -o json | jq -r '.tenants[].name'
    """  # noqa: D301 - \b is click's
    if name is not None:
        on_registry(settings, lambda registry: _show(registry, name, output))
        return
    on_registry(settings, lambda registry: _list(registry, states, output))


async def _show(registry: Registry, name: str, output: str) -> None:
    records, (access, _) = await asyncio.gather(registry.load(), registry.access(name))
    if (problem := records.quarantine.get(keys.tenant_key(name))) is not None:
        raise CommandError(
            f"the declaration of tenant {name!r} in the registry cannot be read: {problem}",
            hint="`gogeta apply` with its declaration replaces it",
        )
    _warn(records, only=f"/{name}")
    await _warn_of_labels(registry, name)
    record = await registry.record(name)
    if output == "json":
        showing.print_json(showing.to_data(record, access))
    else:
        showing.print_details(showing.details(record, access, wall_ms()))


async def _list(registry: Registry, states: tuple[str, ...], output: str) -> None:
    records, accesses = await asyncio.gather(registry.load(), _accesses(registry))
    _warn(records)
    await _warn_of_labels(registry)
    found = [record for _, record in sorted(records.by_name.items()) if not states or state_of(record) in states]
    if output == "json":
        showing.print_json({"tenants": [showing.to_data(record, accesses.get(record.name)) for record in found]})
        return
    if found:
        now = wall_ms()
        showing.print_table([showing.row(record, accesses.get(record.name), now) for record in found])
    elif states:
        click.echo(f"no tenant is {' or '.join(states)}", err=True)
    else:
        click.echo("there are no tenants; `gogeta apply -f tenants.yaml` creates some", err=True)


async def _accesses(registry: Registry) -> dict[str, LastAccess]:
    accesses = {}
    for entry in (await registry.store.list(keys.ACCESS)).entries:
        try:
            accesses[str(keys.name_of(entry.key, keys.ACCESS))] = decode(LastAccess, entry.value, what=entry.key)
        except InvalidInputError as error:
            warn(str(error))
    return accesses


def _warn(records: Records, only: str = "") -> None:
    for key, problem in sorted(records.quarantine.items()):
        if not key.endswith(only):
            continue
        warn(f"{key} cannot be read and is passed over: {problem}")


async def _warn_of_labels(registry: Registry, name: str = "") -> None:
    """Labels of containers that are not in force: all, or those that concern one tenant."""
    try:
        found = await discoveries(registry.store)
    except RegistryRefusedError:
        return  # where nobody discovers, nobody need be allowed to read of it
    for discovery in found:
        for refusal in discovery.refusals:
            if not name or name in refusal.names:
                warn(str(refusal))
        if discovery.more and not name:
            warn(f"and the labels of {discovery.more} more")
