"""``python -m gogeta`` and the console script ``gogeta``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from gogeta.cli.main import gogeta  # noqa: PLC0415 - so that worker processes may import this module for free
    from gogeta.kit.command import start  # noqa: PLC0415 - ditto

    sys.exit(start(gogeta, "gogeta"))


if __name__ == "__main__":
    main()
