"""The baseline: what one would write first, aiohttp's server and client with nothing in between, on uvloop."""

from __future__ import annotations

from importlib.metadata import version as package_version
from typing import Final

from bench.peers.peer import Peer
from bench.stage import Server, Stage


def start(stage: Stage, upstream: int) -> Server:
    """Start it in front of ``upstream``."""
    return stage.python_server("aiohttp", "bench.peers.plain_proxy", upstream, cores=stage.cores.proxy)


def version() -> str:
    """Of what it stands on."""
    return f"aiohttp {package_version('aiohttp')}, uvloop {package_version('uvloop')}"


PEER: Final = Peer("aiohttp", start, version)
