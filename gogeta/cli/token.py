"""`gogeta token`: make, list and revoke the tokens of the admin API."""

from __future__ import annotations

import click

from gogeta.cli import showing
from gogeta.cli.connecting import on_registry
from gogeta.cli.parameters import DurationType, output_option, registry_options
from gogeta.domain.tokens import ROLES, Token, is_token_name, make_secret
from gogeta.kit.clock import rfc3339, wall_ms
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.exits import CommandError, ExitStatus, printable
from gogeta.registry.registry import Registry
from gogeta.registry.tokens import add_token, list_tokens, revoke_token


@click.group()
def token() -> None:
    """Make, list and revoke tokens of the admin API.

    A token is sent as `Authorization: Bearer NAME.SECRET`. The registry has
    only a hash of its secret. docs/api.md says when one is needed.

    \b
    Examples:
      gogeta token create ci --role operate --expires 90d
      gogeta token list
      gogeta token revoke ci
    """  # noqa: D301 - \b is click's


@token.command(cls=SettingsCommand)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="read",
    show_default=True,
    help="read: see everything; operate: wake, sleep, start, stop, too; admin: also declare and remove tenants.",
)
@click.option("--expires", type=DurationType(), metavar="DURATION", help="Worth nothing after this time (90d).")
@output_option("text", "json")
@registry_options
def create(settings: Settings, name: str, role: str, expires: float | None, output: str) -> None:
    """Make a token and print it: once, because nobody can read it again.

    \b
    Examples:
      gogeta token create ci --role operate --expires 90d
      gogeta token create grafana
    """  # noqa: D301 - \b is click's
    if not is_token_name(name):
        raise CommandError(
            f"{name!r} cannot be a token's name",
            status=ExitStatus.USAGE,
            hint="expected 1 to 63 small letters, digits and inner hyphens",
        )
    secret, kept = make_secret()
    now = wall_ms()
    ends = None if expires is None else now + round(expires * 1000)

    async def work(registry: Registry) -> None:
        made = Token(role=role, hash=kept, created=now, expires=ends, by=registry.by)
        await add_token(registry.store, name, made)

    on_registry(settings, work, may_create=True)
    if output == "json":
        until = rfc3339(ends) if ends else None
        showing.print_json({"name": name, "role": role, "expires": until, "token": f"{name}.{secret}"})
    else:
        click.echo(f"{name}.{secret}")


@token.command("list", cls=SettingsCommand)
@output_option("text", "json")
@registry_options
def list_(settings: Settings, output: str) -> None:
    """List the tokens, without their secrets.

    \b
    Examples:
      gogeta token list
    """  # noqa: D301 - ditto
    found = on_registry(settings, lambda registry: list_tokens(registry.store))
    rows = [
        {
            "name": name,
            "role": each.role,
            "created": rfc3339(each.created),
            "expires": rfc3339(each.expires) if each.expires else None,
            "by": each.by,
        }
        for name, each in sorted(found.items())
    ]
    if output == "json":
        showing.print_json({"tokens": rows})
        return
    if not rows:
        click.echo("there are no tokens; `gogeta token create NAME` makes one", err=True)
    now = rfc3339(wall_ms())
    for row in rows:
        ends = f"until {row['expires']}" if row["expires"] else "for ever"
        expired = " (expired)" if row["expires"] and row["expires"] <= now else ""
        click.echo(
            printable(f"{row['name']:<20} {row['role']:<8} {ends}{expired}, made {row['created']} by {row['by']}")
        )


@token.command(cls=SettingsCommand)
@click.argument("name")
@registry_options
def revoke(settings: Settings, name: str) -> None:
    """Revoke a token: within a moment it is worth nothing anywhere.

    \b
    Examples:
      gogeta token revoke ci
    """  # noqa: D301 - ditto
    on_registry(settings, lambda registry: revoke_token(registry.store, name))
    click.echo(f"{printable(name)} is revoked")
