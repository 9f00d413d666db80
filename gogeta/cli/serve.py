"""`gogeta serve`: the proxy alone."""

from __future__ import annotations

import click

from gogeta.cli.program import GOGETA
from gogeta.kit.command import Settings, SettingsCommand, settings_options
from gogeta.settings import ServeSettings


@click.command(cls=SettingsCommand)
@settings_options(ServeSettings, program=GOGETA)
def serve(settings: Settings) -> int:
    """Run the reverse proxy.

    Serves visitors on --listen, and health, readiness and metrics on --admin.
    Routes come live from the registry; a request for a sleeping tenant asks
    for its wake there, and passivator, which runs by itself, starts it. While
    the registry is away, everything known is served on. SIGTERM lets what is
    in flight finish (--drain-timeout), then ends. SIGHUP has the version that
    is installed now take over, with the settings as they are now.

    \b
    Examples:
      gogeta serve
      gogeta serve --listen :80 --registry etcd://10.0.0.5:2379
      GOGETA_LISTEN=:80 gogeta serve --config /etc/gogeta.toml

    Each setting is taken from its flag, else from its variable, else from the
    file's table [gogeta], else from the file's top level, else its default.
    """  # noqa: D301 - \b is click's
    from gogeta.workers.serving import run  # noqa: PLC0415 - the whole data plane; help and mistakes need none of it

    return run(settings[ServeSettings])
