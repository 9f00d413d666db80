"""``python -m passivator`` and the console script ``passivator``: options, a loop, and an exit status."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final

import click
import uvloop

from gogeta.domain.quantities import parse_duration
from gogeta.kit.command import Settings, SettingsCommand, settings_options, start, version_option
from gogeta.kit.sources import Program
from passivator.app import rehearse, serve
from passivator.rehearsal import as_text
from passivator.settings import PassivatorSettings

PROGRAM: Final = Program("passivator", lambda: (PassivatorSettings,))


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if not seconds:
        raise click.BadParameter("expected more than nothing", ctx, param)
    return seconds


@click.command(cls=SettingsCommand)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Start and stop nothing: say what would be put to sleep, and what would then have been woken again.",
)
@click.option(
    "--for",
    "seconds",
    metavar="DURATION",
    callback=_duration,
    help="With --dry-run: end and report after so long.  [default: at SIGINT or SIGTERM]",
)
@click.option(
    "--idle-timeout",
    metavar="DURATION",
    callback=_duration,
    help="With --dry-run: judge as if tenants had this idle timeout (at least a fifth of their own).",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="With --dry-run: how its report is written.",
)
@settings_options(PassivatorSettings, program=PROGRAM)
@version_option()
def passivator(
    settings: Settings, seconds: float | None, idle_timeout: float | None, output: str, *, dry_run: bool
) -> None:
    """Bring tenants to what they should be, and put idle ones to sleep.

    Reads from the registry what each tenant should be, sees in the container runtime what it is, and starts and stops
    it accordingly. A tenant that nobody used for its idle timeout is put to sleep.

    With --dry-run it runs beside a live installation, reads the registry alone, and writes nothing anywhere.
    """
    if not dry_run and (seconds is not None or idle_timeout is not None):
        raise click.UsageError("--for and --idle-timeout are for --dry-run")
    chosen = settings[PassivatorSettings]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not dry_run:
            runner.run(serve(chosen))
            return
        report = runner.run(rehearse(chosen, seconds=seconds, idle_timeout=idle_timeout))
    click.echo(json.dumps(report, indent=2) if output == "json" else as_text(report))


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(start(passivator, PROGRAM.name))


if __name__ == "__main__":
    main()
