"""``python -m bench``: one subcommand per measurement, each in a module of its own.

A module offers ``HELP``, ``add_options(parser)`` and ``run(options) -> exit status``.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Final

SUBCOMMANDS: Final = ("forward", "wake", "soak", "zero-lost", "one-wake", "many-wakes")


def main() -> int:
    """Parse the command line and run one measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the real programs on this machine.")
    chosen = parser.add_subparsers(dest="what", required=True)
    for name in SUBCOMMANDS:
        module = import_module(f"bench.{name.replace('-', '_')}")
        subparser = chosen.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_options(subparser)
        subparser.set_defaults(run=module.run)
    options = parser.parse_args()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
