"""``python -m passivator`` and the console script ``passivator``: options, a loop, and an exit status."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import click
import uvloop

from gogeta.kit.command import Settings, SettingsCommand, settings_options, start, version_option
from gogeta.kit.sources import Program
from passivator.app import serve
from passivator.settings import PassivatorSettings

PROGRAM: Final = Program("passivator", lambda: (PassivatorSettings,))


@click.command(cls=SettingsCommand)
@settings_options(PassivatorSettings, program=PROGRAM)
@version_option()
def passivator(settings: Settings) -> None:
    """Bring tenants to what they should be, and put idle ones to sleep.

    Reads from the registry what each tenant should be, sees in the container runtime what it is, and starts and stops
    it accordingly. A tenant that nobody used for its idle timeout is put to sleep.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings[PassivatorSettings]))


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(start(passivator, PROGRAM.name))


if __name__ == "__main__":
    main()
