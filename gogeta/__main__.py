"""``python -m gogeta`` and the console script ``gogeta``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, or the part that another process of ours started this one for; exit with its status."""
    if os.environ.get("_GOGETA_PART", "").partition(":")[0] in ("worker", "supervisor"):
        from gogeta.workers.parts import play  # noqa: PLC0415 - a command line needs none of it

        sys.exit(play())
    from gogeta.cli.main import gogeta  # noqa: PLC0415 - and parts need no command line
    from gogeta.kit.command import start  # noqa: PLC0415 - ditto

    sys.exit(start(gogeta, "gogeta"))


if __name__ == "__main__":
    main()
