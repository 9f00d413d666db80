"""A plan in words, as JSON, and as a tenants.yaml with what a person should know beside each tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import yaml

from gogeta.cli.arken.planning import Imported, Plan
from gogeta.cli.declaring import Difference
from gogeta.cli.showing import print_columns
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.tenant import Tenant, tenant_to_data
from gogeta.kit.clock import rfc3339
from gogeta.kit.exits import printable

_MOST_PROBLEMS: Final = 100
_COLUMNS: Final = ("RESULT", "TENANT", "FROM", "BEGINS", "LAST ACCESS", "RUNS", "HOSTS")


def refusal(what: str, problems: Sequence[Problem]) -> InvalidInputError:
    """The tree is refused whole; the first hundred problems are told one by one."""
    shown = list(problems[:_MOST_PROBLEMS])
    if len(problems) > len(shown):
        shown.append(Problem((), f"and {len(problems) - len(shown)} more problems"))
    return InvalidInputError(
        what,
        tuple(shown),
        hint="mend them there, or leave them out by --skip PATTERN; nothing was changed",
    )


def print_plan(plan: Plan, what: str, differences: Sequence[Difference]) -> None:
    """What was read, the table, and every note below it."""
    click.echo(printable(what))
    print_columns(
        _COLUMNS,
        [
            (
                difference.result,
                item.tenant.name,
                item.source,
                begins(item) if difference.result == "created" else "-",
                "-" if item.last_access is None else rfc3339(item.last_access),
                runs(item.tenant),
                ",".join(item.tenant.hosts),
            )
            for item, difference in zip(plan.tenants, differences, strict=True)
        ],
    )
    for line in _notes(plan, differences):
        click.echo(f"note: {printable(line)}")


def _notes(plan: Plan, differences: Sequence[Difference]) -> list[str]:
    lines = []
    for item, difference in zip(plan.tenants, differences, strict=True):
        changes = [f"what changes is {', '.join(difference.fields)}"] if difference.fields else []
        lines += [f"{item.tenant.name}: {note}" for note in (*changes, *item.notes)]
    lines += [str(note) for note in plan.notes]
    if existing := sum(difference.result != "created" for difference in differences):
        lines.append(f"{existing} of them exist already: their states and last accesses stay as they are")
    return lines


def begins(item: Imported) -> str:
    """The state that a new tenant begins in."""
    return "routed" if item.desired is None else item.desired.value


def runs(tenant: Tenant) -> str:
    """What answers for a tenant, in a word or by its addresses."""
    if tenant.docker is not None:
        docker = tenant.docker
        return f"docker {docker.image or docker.container or docker.label}"
    return tenant.driver or ",".join(str(upstream) for upstream in tenant.upstreams)


def plan_data(plan: Plan, what: str, differences: Sequence[Difference], *, dry_run: bool) -> dict[str, Any]:
    """The plan as JSON; docs/cli.md has its shape."""
    return {
        "dry_run": dry_run,
        "source": what,
        "tenants": [
            {
                "name": item.tenant.name,
                "result": difference.result,
                "fields": list(difference.fields),
                "from": item.source,
                "begins": begins(item) if difference.result == "created" else None,
                "last_access": None if item.last_access is None else rfc3339(item.last_access),
                "notes": list(item.notes),
                "declaration": tenant_to_data(item.tenant),
            }
            for item, difference in zip(plan.tenants, differences, strict=True)
        ],
        "notes": [{"key": note.field, "message": note.message} for note in plan.notes],
    }


def print_yaml(plan: Plan, what: str) -> None:
    """A tenants.yaml of the plan; comments say where each comes from, and what the tree knows besides."""
    click.echo(f"# Made by `gogeta import-arken` from the {printable(what)}.")
    click.echo("# Say how each is run (docker: or process: in the place of upstreams:), then import with this file:")
    click.echo("#   gogeta import-arken --etcd URL -f tenants.yaml")
    click.echo("# so that states and last accesses of the tree are kept.")
    for note in plan.notes:
        click.echo(f"# {printable(str(note))}")
    click.echo("tenants:" if plan.tenants else "tenants: []")
    for item in plan.tenants:
        access = "" if item.last_access is None else f", last access {rfc3339(item.last_access)}"
        was = f"was {item.was}" if item.was is not None else "an address"
        click.echo(f"# {printable(item.source)}: {was}{access}")
        for text in item.notes:
            click.echo(f"# {printable(text)}")
        click.echo(yaml.safe_dump([tenant_to_data(item.tenant)], sort_keys=False), nl=False)
