"""One worker process: ``python -m gogeta.workers.worker FD``, started by the supervisor and by nobody else.

Its settings come on standard input, as one pickle of its own parent; FD is its end of the socket pair for reports.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys

from gogeta.app import run_worker
from gogeta.kit import logs
from gogeta.settings import ServeSettings


def main() -> None:
    """Serve until the supervisor says or ends; exit status as ``gogeta serve``."""
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - our parent wrote it, into a pipe that nobody else has
    if not isinstance(settings, ServeSettings):
        raise TypeError(f"expected settings, not {type(settings).__name__}")
    logs.setup(settings.log_level, settings.log_format, f"gogeta[{os.getpid()}]")
    try:
        status = run_worker(settings, socket.socket(fileno=int(sys.argv[1])))
    finally:
        logs.shutdown()
    sys.exit(status)


if __name__ == "__main__":
    main()
