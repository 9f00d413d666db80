"""What a bench has to know of a proxy to measure it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.backends import SEEN_TARGET, SMALL_BODY
from bench.stage import HOST, Server, Stage

_PATIENCE: Final = 10.0
"""Seconds until a proxy has to answer as it shall: one may learn of its backend a moment after it listens."""


@dataclass(frozen=True)
class Peer:
    """A proxy that can be measured."""

    name: str
    start: Callable[[Stage, int], Server] = field(repr=False)
    """Starts it on the proxy's core in front of a backend's port."""
    version: Callable[[], str] = field(repr=False)
    """What it says it is. Raises FileNotFoundError when it is not on this machine."""
    install: str = ""
    """The command that brings it here."""


@dataclass(frozen=True)
class Found:
    """Which peers there are, with their versions, and which are missing, with how to get them."""

    peers: tuple[Peer, ...]
    versions: dict[str, str]
    missing: dict[str, str]


def find(peers: tuple[Peer, ...]) -> Found:
    """Look for each on this machine."""
    here, versions, missing = [], {}, {}
    for peer in peers:
        try:
            versions[peer.name] = peer.version()
        except FileNotFoundError:
            missing[peer.name] = peer.install
        else:
            here.append(peer)
    return Found(tuple(here), versions, missing)


def check(proxy: Server) -> None:
    """See that it answers with the backend's page and does a proxy's work. Raises AssertionError saying what it did.

    The work: X-Forwarded-For, -Proto and -Host are set, and the Host is the visitor's.
    """
    check_answer(proxy, "/", 200, SMALL_BODY)
    check_answer(proxy, SEEN_TARGET, 200, f"127.0.0.1|http|{HOST}|{HOST}")


def check_answer(proxy: Server, target: str, status: int, body: str) -> None:
    """See that this is the answer, after a moment at the latest. Raises AssertionError with the one that came."""
    deadline = time.monotonic() + _PATIENCE
    while (got := _ask(proxy.port, target)) != (status, body):
        assert time.monotonic() < deadline, f"{proxy.name} answers {target} with {got}, not with {(status, body)}"
        time.sleep(0.05)


def _ask(port: int, target: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", target, headers={"Host": HOST})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()
