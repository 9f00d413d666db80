"""`gogeta up`: everything in one process, and the quick start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from gogeta.cli.connecting import connected
from gogeta.cli.controllers import find_controllers
from gogeta.cli.declaring import check, refused_upstreams
from gogeta.cli.program import GOGETA
from gogeta.cli.tenants_file import TenantsFile, read_tenants_file
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.command import Settings, SettingsCommand, settings_options
from gogeta.kit.exits import CommandError
from gogeta.registry.forbidding import forbidden_upstreams
from gogeta.registry.store import RegistryUnavailableError
from gogeta.settings import ServeSettings

DEFAULT_FILE: Final = "tenants.yaml"
_MOST_SHOWN: Final = 20
_CONTROLLERS: Final = find_controllers()

logger = logging.getLogger(__name__)


@click.command(cls=SettingsCommand)
@click.option(
    "-f",
    "--file",
    "file",
    metavar="FILE",
    help=f"Tenants to apply first.  [default: {DEFAULT_FILE} where there is one]",
)
@settings_options(
    ServeSettings,
    *(controller.settings for controller in _CONTROLLERS),
    program=GOGETA,
    tables={controller.settings: controller.name for controller in _CONTROLLERS},
)
def up(settings: Settings, file: str | None) -> int:
    """Run everything in one process: proxy, controller and registry.

    Applies the tenants of FILE, then serves them on --listen. Each is asleep
    until its first request, and goes back to sleep after its idle timeout. A
    file with a mistake in it starts nothing (exit status 2).

    The file is read once: after a change to it, run `gogeta apply -f FILE` in
    the same folder. Tenants that it does not name stay; `gogeta rm` removes
    one. State is kept in --registry, ./gogeta.db if not told otherwise.

    \b
    Examples:
      gogeta up
      gogeta up -f tenants.yaml --listen :8080
      gogeta up --driver docker

    The settings of `gogeta serve` and of the controller are taken, all as
    flags, GOGETA_... variables or from the file's table [gogeta]; those of the
    controller also from [passivator].
    """  # noqa: D301 - \b is click's
    from gogeta.app import Running, run_up  # noqa: PLC0415 - the whole data plane; mistakes need none of it

    serving = settings[ServeSettings]
    if not _CONTROLLERS:
        raise CommandError(
            "no controller is installed, so nothing could start tenants",
            hint="`gogeta serve` runs the proxy alone",
        )
    if serving.workers > 1:
        logger.warning("`gogeta up` is one process; %d workers are for `gogeta serve`", serving.workers)
    if file is None and Path(DEFAULT_FILE).exists():
        file = DEFAULT_FILE
    declared = read_tenants_file(file) if file is not None else None
    known = asyncio.run(_check(serving, declared))

    def started(running: Running) -> None:
        for line in banner(known, running.listen, running.admin, running.secure):
            click.echo(line)

    controllers: list[tuple[Any, Any]] = [(controller, settings[controller.settings]) for controller in _CONTROLLERS]
    return run_up(serving, declared.tenants if declared else None, controllers, started)


async def _check(settings: ServeSettings, file: TenantsFile | None) -> Sequence[Tenant]:
    """Check the file as `apply` does; the tenants there will be. Raises InvalidInputError."""
    tenants = file.tenants if file is not None else ()
    listeners = settings.listeners
    async with connected(settings) as registry:
        try:
            async with asyncio.timeout(settings.registry_timeout):
                if file is not None:
                    await check(file, registry, listeners)
                known = {str(name): record.tenant for name, record in (await registry.load()).by_name.items()}
        except (RegistryUnavailableError, TimeoutError) as error:
            # Not a reason not to start: what can be told without it is told, and the rest once it is there.
            logger.warning("the registry %s does not answer yet: %s", settings.registry, str(error) or "too slow")
            forbidden = forbidden_upstreams((), registry.store.endpoints, listeners)
            if file is not None and (problems := refused_upstreams(tenants, forbidden)):
                raise file.refuse(problems) from None
            known = {}
    known.update((tenant.name, tenant) for tenant in tenants)
    return [tenant for _, tenant in sorted(known.items())]


def banner(
    tenants: Sequence[Tenant], listen: Endpoint, admin: Endpoint, secure: Endpoint | None = None
) -> Iterable[str]:
    """What a person sees once it runs: each URL (of TLS, where it is spoken), the admin's, and how to stop."""
    yield ""
    if not tenants:
        yield "No tenants yet: `gogeta apply -f tenants.yaml` creates some."
    urls = [
        (url, tenant.name) for tenant in tenants for url in urls_of(tenant, secure or listen, secure=secure is not None)
    ]
    width = max((len(url) for url, _ in urls[:_MOST_SHOWN]), default=0)
    for url, name in urls[:_MOST_SHOWN]:
        yield f"  {url.ljust(width)}  {name}"
    if len(urls) > _MOST_SHOWN:
        yield f"  ... and {len(urls) - _MOST_SHOWN} more; `gogeta tenants` lists them"
    local = admin if admin.host not in ("", "0.0.0.0", "::") else Endpoint("127.0.0.1", admin.port)  # noqa: S104 - compared
    yield ""
    yield f"Admin: http://{local.authority}/   Stop: Ctrl-C"
    yield ""


def urls_of(tenant: Tenant, listen: Endpoint, *, secure: bool = False) -> list[str]:
    """Where a browser finds the tenant. A pattern is shown only where there is no exact host."""
    scheme, usual = ("https", 443) if secure else ("http", 80)
    port = "" if listen.port == usual else f":{listen.port}"
    exact = [host for host in tenant.hosts if "*" not in host]
    return [f"{scheme}://{host}{port}/" for host in exact or tenant.hosts]
