"""Clients that read a large body slowly: ``python -m bench.loads.slow PORT CLIENTS BYTES_PER_SECOND``.

Says ``open`` when every client has asked, and reads until it is ended; then all connections are cut. The receive
buffers are small, so that what is not read waits in the proxy and not in this machine's kernel.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Final

from bench.backends import LARGE_TARGET
from bench.head import plain_head

_STEPS: Final = 10
"""Reads of each client a second."""
_RECEIVE_BUFFER: Final = 16 * 1024


def main() -> None:
    """Ask, say so, and read."""
    port, clients, rate = (int(argument) for argument in sys.argv[1:4])
    connections = []
    for _ in range(clients):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        connection.connect(("127.0.0.1", port))
        connection.sendall(plain_head(LARGE_TARGET))
        connection.settimeout(0)
        connections.append(connection)
    print("open", flush=True)
    begin, step = time.monotonic(), 0
    while True:
        # One after the other, spread over the step, as clients that do not know each other.
        for number, connection in enumerate(connections):
            if number % 10 == 0:
                due = begin + (step + number / clients) / _STEPS
                time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not connection.recv(rate // _STEPS):
                    raise ConnectionError("the proxy closed a connection")
            except BlockingIOError:
                continue
        step += 1


if __name__ == "__main__":
    main()
