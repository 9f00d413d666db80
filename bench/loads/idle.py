"""Connections that did one request each and then do nothing: ``python -m bench.loads.idle PORT CONNECTIONS``.

Says ``open N`` with the number that are, and holds them until it is ended. They come from many loopback addresses, so
that neither the ports of one nor a limit on one visitor's connections are in the way.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from typing import Final

from bench.head import plain_head
from bench.loads.answers import Answers

_PER_ADDRESS: Final = 250
_PATIENCE: Final = 10.0


def main() -> None:
    """Open, ask once on each, and wait."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    connections = []
    # A proxy that takes no more has told how many it takes.
    with contextlib.suppress(OSError):
        for number in range(count):
            connections.append(_open(port, f"127.0.1.{1 + number // _PER_ADDRESS}"))  # noqa: PERF401 - as far as it goes
    print(f"open {sum(map(_is_open, connections))}", flush=True)
    while True:
        signal.pause()


def _open(port: int, source: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE, source_address=(source, 0))
    connection.sendall(plain_head())
    answers = Answers()
    while not answers.fed(data := connection.recv(65536)):
        if not data:
            raise ConnectionError("the proxy closed a connection")
    return connection


def _is_open(connection: socket.socket) -> bool:
    connection.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        return bool(connection.recv(1, socket.MSG_PEEK))
    return True


if __name__ == "__main__":
    main()
