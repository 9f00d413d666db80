"""How a backend of ours runs: a protocol on uvloop, on the port given as first argument, until it is ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import uvloop


def serve(protocol: Callable[[], asyncio.BaseProtocol]) -> None:
    """Listen on 127.0.0.1 and serve every connection with a protocol of its own."""
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve(protocol, int(sys.argv[1])))


async def _serve(protocol: Callable[[], asyncio.BaseProtocol], port: int) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()
