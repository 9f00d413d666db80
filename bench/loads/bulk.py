"""Large bodies on a few connections: ``python -m bench.loads.bulk PORT down|up SIZE SECONDS``.

What is under way at the end of the time is counted by its bytes until then, so that a few large bodies give an exact
figure. Down, the body's bytes are counted as they arrive here; up, as they leave.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from typing import Final

from bench.backends import LARGE_TARGET
from bench.head import browser_head, plain_head
from bench.loads.answers import Answers

_CONNECTIONS: Final = 4
_BLOCK: Final = 256 * 1024
_PATIENCE: Final = 10.0


class Download:
    """One connection that asks for the body, again and again."""

    events = selectors.EVENT_READ

    def __init__(self, connection: socket.socket, size: int) -> None:
        self._connection = connection
        self._size = size
        self._buffer = bytearray(_BLOCK)
        self._head = b""
        self._left = 0
        self._ask()

    def _ask(self) -> None:
        self._connection.sendall(plain_head(LARGE_TARGET))

    def step(self) -> int:
        """Read what is there; how many bytes of a body that was."""
        got = self._connection.recv_into(self._buffer)
        if not got:
            raise ConnectionError("the proxy closed a connection")
        if not self._left:
            self._head += self._buffer[:got]
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return 0
            if head[9:12] != b"200":
                raise ValueError(f"answered with {head!r}")
            self._head, self._left, got = b"", self._size, len(body)
        self._left -= got
        if self._left == 0:
            self._ask()
        return got


class Upload:
    """One connection that sends the body, again and again, each when the one before is answered."""

    def __init__(self, connection: socket.socket, size: int) -> None:
        self._connection = connection
        self._block = memoryview(bytes(_BLOCK))
        self._request = browser_head("/", method="PUT", more=(f"Content-Length: {size}",)).encode()
        self._size = size
        self._answers = Answers()
        self._begin()

    def _begin(self) -> None:
        self._connection.settimeout(_PATIENCE)
        self._connection.sendall(self._request)
        self._connection.settimeout(0)
        self._left = self._size

    @property
    def events(self) -> int:
        """What it waits for: room, or the answer."""
        return selectors.EVENT_WRITE if self._left else selectors.EVENT_READ

    def step(self) -> int:
        """Send what the socket takes; how many bytes of a body that was."""
        if self._left:
            sent = self._connection.send(self._block[: min(self._left, _BLOCK)])
            self._left -= sent
            return sent
        data = self._connection.recv(65536)
        if not data:
            raise ConnectionError("the proxy closed a connection")
        if self._answers.fed(data):
            self._begin()
        return 0


def main() -> None:
    """Run and print bytes and seconds."""
    port, size, seconds = int(sys.argv[1]), int(sys.argv[3]), float(sys.argv[4])
    selector = selectors.DefaultSelector()
    for _ in range(_CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        transfer = Download(connection, size) if sys.argv[2] == "down" else Upload(connection, size)
        selector.register(connection, transfer.events, transfer)
    count, began = 0, time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        ready = selector.select(_PATIENCE)
        if not ready:
            raise TimeoutError(f"nothing moved for {_PATIENCE:g} s")
        for key, _ in ready:
            count += key.data.step()
            if key.data.events != key.events:
                selector.modify(key.fileobj, key.data.events, key.data)
    print(json.dumps({"bytes": count, "seconds": now - began}))


if __name__ == "__main__":
    main()
