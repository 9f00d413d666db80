"""Requests at a fixed rate, whatever the answers do: ``python -m bench.loads.steady PORT RATE SECONDS``.

A request's time is fixed before the run, and its latency is counted from then, also when no connection was free or
this program came late: a slow answer must not hide the wait of those behind it. select() is used because its timeout
is exact to microseconds, which that of epoll and of asyncio's loops is not.
"""

from __future__ import annotations

import collections
import ctypes
import json
import select
import socket
import sys
import time
from typing import Final

from bench.head import plain_head
from bench.loads.answers import Answers
from bench.table import distribution

_CONNECTIONS: Final = 64
_PATIENCE: Final = 10.0
_SET_TIMER_SLACK: Final = 29
"""PR_SET_TIMERSLACK of prctl(2)."""


def main() -> None:
    """Run and print count, seconds, and latencies in milliseconds."""
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    # Otherwise the kernel may be 50 us late on purpose.
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1, 0, 0, 0)
    began = time.perf_counter()
    latencies = _drive(port, rate, max(1, round(rate * seconds)))
    took = time.perf_counter() - began
    found = distribution(latencies)
    print(json.dumps({"count": len(latencies), "seconds": took, "p50": found["p50"], "p99": found["p99"]}))


def _drive(port: int, rate: float, count: int) -> list[float]:
    request = plain_head()
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    free = collections.deque(connections)
    busy: dict[socket.socket, float] = {}
    answers = {connection: Answers() for connection in connections}
    latencies: list[float] = []
    begin = time.perf_counter() + 0.05
    sent = 0
    while len(latencies) < count:
        now = time.perf_counter()
        while sent < count and free and begin + sent / rate <= now:
            connection = free.popleft()
            busy[connection] = begin + sent / rate
            connection.sendall(request)
            sent += 1
        wait = max(0.0, begin + sent / rate - time.perf_counter()) if sent < count and free else _PATIENCE
        readable = select.select(list(busy), (), (), wait)[0]
        now = time.perf_counter()
        if not readable and wait == _PATIENCE:
            raise TimeoutError(f"no answer in {_PATIENCE:g} s")
        for connection in readable:
            data = connection.recv(65536)
            if not data:
                raise ConnectionError("the proxy closed a connection")
            if answers[connection].fed(data):
                latencies.append((now - busy.pop(connection)) * 1000)
                free.append(connection)
    for connection in connections:
        connection.close()
    return latencies


if __name__ == "__main__":
    main()
