"""`gogeta logs NAME`: what a tenant's containers wrote, as passivator's admin listener tells it.

The one command that asks a process besides the registry: only passivator may speak to the runtime. Where it listens is
read from the registry.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import click

from gogeta.api.tenant_logs import DEFAULT_LINES, MAX_LINES, readers_of
from gogeta.cli.connecting import on_registry
from gogeta.cli.parameters import registry_options, tenant_argument
from gogeta.domain.state import Member
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint, is_unspecified
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.exits import CommandError, ExitStatus, printable
from gogeta.registry.registry import Registry

TOKEN: Final = "GOGETA_TOKEN"  # noqa: S105 - the name of a variable
_CONNECT: Final = 5.0
"""Seconds for a connection to the admin listener."""
_LINE_LIMIT: Final = 1 << 20


@click.command(cls=SettingsCommand)
@tenant_argument()
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, MAX_LINES),
    default=DEFAULT_LINES,
    show_default=True,
    help="How many of the last lines.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes, until it ends.")
@click.option("--admin", metavar="URL", help="The admin listener to ask, instead of the one that the registry knows.")
@registry_options
def logs(settings: Settings, name: str, lines: int, admin: str | None, *, follow: bool) -> None:
    """Show what a tenant's containers wrote.

    It is read where containers are driven: this command finds passivator's
    admin listener in the registry and asks there. Where a token is needed (role
    operate), it is taken from the environment variable GOGETA_TOKEN. On a
    terminal, control characters are shown escaped; in a pipe lines are as they
    were written.

    \b
    Examples:
      gogeta logs acme
      gogeta logs acme -f -n 20
      GOGETA_TOKEN=ci.SECRET gogeta logs acme --admin http://10.0.0.5:9902
    """  # noqa: D301 - \b is click's
    base = admin or on_registry(settings, lambda registry: _where(registry, name))
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).netloc:
        raise CommandError(f"--admin: expected http://HOST:PORT, not {base!r}", status=ExitStatus.USAGE)
    asyncio.run(_show(f"{base.rstrip('/')}/api/v1/tenants/{name}/logs", lines, follow=follow))


async def _where(registry: Registry, name: str) -> str:
    record, _ = await registry.look_up(name)
    if record.tenant.routed_only:
        raise CommandError(f"tenant {name} runs elsewhere: its logs are not ours")
    return f"http://{_listener(await registry.members(), record.tenant)}"


def _listener(members: Sequence[Member], tenant: Tenant) -> Endpoint:
    """The admin listener of a passivator that can read this tenant's logs."""
    for reader in readers_of(members, tenant):
        # In `gogeta up` both are one process, and the proxy's admin listener is passivator's, too.
        hosts = [each for each in members if each.id == reader.id]
        for member in (reader, *hosts):
            if member.listeners:
                return _reachable(member.listeners[-1], member.id)
    raise CommandError(
        f"no passivator that drives {tenant.driver} is there now",
        status=ExitStatus.FAILED,
        hint="start one, or name an admin listener with --admin",
    )


def _reachable(endpoint: Endpoint, member: str) -> Endpoint:
    """An address for a listener on all addresses: by its host's name, or here when it is this host."""
    if not is_unspecified(endpoint.host):
        return endpoint
    host = member.rpartition("-")[0]
    return Endpoint("127.0.0.1" if host in ("", socket.gethostname()) else host, endpoint.port)


async def _show(url: str, lines: int, *, follow: bool) -> None:
    headers = {"Authorization": f"Bearer {os.environ[TOKEN]}"} if os.environ.get(TOKEN) else {}
    query = {"lines": str(lines), "follow": "true" if follow else "false"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
    escaped = sys.stdout.isatty()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, read_bufsize=_LINE_LIMIT) as session,
            session.get(url, params=query, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise await _refused(answer, url)
            async for line in answer.content:
                text = line.decode(errors="replace").rstrip("\n")
                click.echo(printable(text) if escaped else text)
    except (aiohttp.ClientError, OSError) as error:
        raise CommandError(
            f"{url.partition('/api/')[0]} cannot be asked: {error}",
            status=ExitStatus.FAILED,
            hint="is passivator's admin listener reachable from here? --admin URL names another way to it",
        ) from error


async def _refused(answer: aiohttp.ClientResponse, url: str) -> CommandError:
    try:
        said = await answer.json(content_type=None)
        detail, hint = str(said["detail"]), str(said.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        detail, hint = f"{url.partition('/api/')[0]} answered {answer.status}, and is no admin listener", ""
    if answer.status in (401, 403):
        hint = f"put a token of role operate into {TOKEN}: `gogeta token create NAME --role operate`"
    return CommandError(detail, status=ExitStatus.FAILED, hint=hint)
