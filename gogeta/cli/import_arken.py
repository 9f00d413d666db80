"""`gogeta import-arken`: tenants from the tree of the older gogeta and passivator in etcd. That tree stays as it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from gogeta.cli.apply import explicit_listeners
from gogeta.cli.arken.options import tenant_options, tree_options
from gogeta.cli.arken.planning import Container, Imported, Plan, Wishes, make_plan
from gogeta.cli.arken.reading import Reading, read_heritage
from gogeta.cli.arken.showing import plan_data, print_plan, print_yaml, refusal
from gogeta.cli.connecting import on_registry
from gogeta.cli.declaring import Declared, Difference, check
from gogeta.cli.parameters import registry_options
from gogeta.cli.showing import print_json
from gogeta.cli.tenants_file import TenantsFile, read_tenants_file
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.state import LastAccess
from gogeta.domain.tenant import Tenant
from gogeta.kit.clock import wall_ms
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.exits import CommandError, ExitStatus
from gogeta.registry.declarations import NEW, Applied, Beginning
from gogeta.registry.registry import Registry
from gogeta.settings import RegistrySettings

BY: Final = "import-arken"
"""Who had a tenant in use last, as far as its last access tells."""


@click.command("import-arken", cls=SettingsCommand)
@tree_options
@tenant_options
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "yaml"]),
    default="text",
    show_default=True,
    help="Output for people, JSON for programs, or a tenants.yaml to edit (then nothing is changed).",
)
@registry_options
def import_arken(settings: Settings, output: str, *, dry_run: bool, yes: bool, **options: Any) -> None:  # noqa: ANN401 - see above
    """Make tenants of what the older gogeta kept in etcd.

    Reads the tree of the Arken family's gogeta and passivator: `/domains`
    and `/services`. A service becomes a tenant with the hosts of its domains.
    The addresses of its indexes become its upstreams, which take turns; a
    domain of type uri becomes a tenant with that one upstream. The plan is
    shown, and applied after a yes. The tree itself is never changed.

    What is routed to upstreams is never put to sleep. To have services put
    to sleep and woken, say which containers they run in, or write the
    tenants to a file, say there how each is run, and import with that file:
    `passivated`, `stopped` and the last access are then kept.

    When anything in the tree is wrong, everything wrong is listed with its
    key, and nothing is applied.

    \b
    Examples:
      gogeta import-arken --etcd http://10.0.0.5:4001 --dry-run
      gogeta import-arken --etcd http://10.0.0.5:4001 --timezone Europe/Paris
      gogeta import-arken --etcd URL --container-name 'nuxeo-{service}'
      gogeta import-arken --etcd URL -o yaml > tenants.yaml
      gogeta import-arken --etcd URL -f tenants.yaml --yes
    """  # noqa: D301 - \b is click's
    container = _container(options)
    _check_asking(output, dry_run=dry_run, yes=yes)
    if output == "yaml" and options["file"]:
        raise click.UsageError("-o yaml makes the file that -f reads; give one of them")
    file = read_tenants_file(options["file"]) if options["file"] else None
    what, plan = _read(settings, options, container, file)
    if output == "yaml":
        print_yaml(plan, what)
        return
    declared: Declared = file if file is not None else _Made(what, plan.tenants)
    listeners = explicit_listeners(settings)
    differences = on_registry(
        settings, lambda registry: _differences(declared, plan, registry, listeners), may_create=not dry_run
    )
    if output == "text":
        print_plan(plan, what, differences)
    changes = any(item.result != "unchanged" for item in differences)
    if changes and not dry_run:
        if not yes:
            click.confirm(f"Import {len(plan.tenants)} tenants?", abort=True, err=True)
        on_registry(settings, lambda registry: _apply(plan, registry), may_create=True)
    if output == "json":
        print_json(plan_data(plan, what, differences, dry_run=dry_run))
    elif dry_run:
        click.echo("dry run: nothing was changed")
    else:
        counts = {
            word: sum(item.result == word for item in differences) for word in ("created", "changed", "unchanged")
        }
        click.echo(", ".join(f"{count} {word}" for word, count in counts.items()))


def _container(options: dict[str, Any]) -> Container | None:
    given = [f"--{name.replace('_', '-')}" for name in ("container_name", "container_label", "file") if options[name]]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)}: give one of them, each says how services are run")
    name, label, port = (options[f"container_{part}"] for part in ("name", "label", "port"))
    if port is not None and not name and not label:
        raise click.UsageError("--container-port needs --container-name or --container-label")
    if name:
        return Container("container", name, port)
    return Container("label", label, port) if label else None


def _check_asking(output: str, *, dry_run: bool, yes: bool) -> None:
    # A program that reads JSON is not asked, terminal or not.
    if dry_run or yes or output == "yaml" or (output == "text" and sys.stdin.isatty()):
        return
    why = "and there is no terminal to ask on" if output == "text" else "and with -o json nobody is asked"
    raise CommandError(
        f"importing needs a yes, {why}", status=ExitStatus.USAGE, hint="look at it with --dry-run, then give --yes"
    )


def _read(
    settings: Settings, options: dict[str, Any], container: Container | None, file: TenantsFile | None
) -> tuple[str, Plan]:
    """The tree's name, and the plan. Raises InvalidInputError for what is wrong in the tree, or with the file."""
    # It brings aiohttp along, which the help does not need.
    from gogeta.cli.arken.source import Source, read_tree  # noqa: PLC0415

    source = Source(
        settings=RegistrySettings(
            registry=options["etcd"],
            registry_ca=options["etcd_ca"],
            registry_cert=options["etcd_cert"],
            registry_key=options["etcd_key"],
            registry_password_file=options["etcd_password_file"],
            registry_timeout=settings[RegistrySettings].registry_timeout,
        ),
        api=options["etcd_api"],
        domain_dir=options["domain_dir"],
        service_dir=options["service_dir"],
    )
    tree = asyncio.run(read_tree(source))
    reading = Reading(
        domain_dir=source.domain_dir, service_dir=source.service_dir, zone=options["timezone"], skip=options["skip"]
    )
    declared = None if file is None else {str(tenant.name): tenant for tenant in file.tenants}
    wishes = Wishes(now=wall_ms(), www=options["www"], container=container, declared=declared)
    plan = make_plan(read_heritage(tree.domains, tree.services, reading), wishes)
    if plan.problems:
        raise refusal(source.what, plan.problems)
    if file is not None and plan.strangers:
        raise file.refuse(
            [
                Problem(("tenants", index, "name"), f"nothing in the {source.what} becomes tenant {tenant.name!r}")
                for index, tenant in enumerate(file.tenants)
                if tenant.name in plan.strangers
            ]
        )
    return f"{source.what} ({tree.keys} keys, {tree.api})", plan


@dataclass(frozen=True, slots=True)
class _Made:
    """Tenants made from a tree, for ``check``: what is wrong is told by the key that a tenant is made from."""

    what: str
    items: Sequence[Imported]

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        return tuple(item.tenant for item in self.items)

    def refuse(self, problems: list[Problem]) -> InvalidInputError:
        found = []
        for problem in problems:
            _, index, *rest = problem.path
            assert isinstance(index, int)  # noqa: S101 - `check` speaks of tenants by their place
            found.append(Problem((self.items[index].source, *rest), problem.message))
        return refusal(self.what, found)


async def _differences(
    declared: Declared, plan: Plan, registry: Registry, listeners: Sequence[Any]
) -> list[Difference]:
    """What importing changes, in the order of the plan."""
    by_name = {item.name: item for item in await check(declared, registry, listeners)}
    return [by_name[item.tenant.name] for item in plan.tenants]


async def _apply(plan: Plan, registry: Registry) -> Applied:
    beginnings: dict[str, Beginning] = {}
    for item in plan.tenants:
        access = None if item.last_access is None else LastAccess(at=item.last_access, by=BY)
        beginnings[item.tenant.name] = Beginning(item.desired or NEW.desired, access)
    return await registry.apply([item.tenant for item in plan.tenants], beginnings)
