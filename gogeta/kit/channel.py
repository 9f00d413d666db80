"""Messages between a process and one that it started: whole, in order, and without waiting for a slow reader.

A pair of sequenced-packet unix sockets keeps the borders of messages by itself, so either side may be replaced between
two of them (the supervisor re-executes itself) and nothing is half read. The end of the other side is a message, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any, Final

logger = logging.getLogger(__name__)

_MAX_MESSAGE: Final = 1 << 20
_BUFFER: Final = 1 << 20
"""Asked of the system; it grants what net.core.wmem_max allows, which is enough for several messages of ours."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ours, theirs


class Channel:
    """One end of a pair."""

    def __init__(self, end: socket.socket) -> None:
        """``end`` is closed with the channel."""
        end.settimeout(0.0)
        self._end = end

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    def send(self, message: dict[str, Any]) -> bool:
        """Send one message, if the other side is there and not too far behind; whether it was taken."""
        try:
            self._end.send(json.dumps(message, separators=(",", ":")).encode())
        except (BlockingIOError, ConnectionError):
            return False
        except OSError as error:
            logger.warning("a message to another process of ours could not be sent: %s", error)
            return False
        return True

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other side is gone."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._end, _MAX_MESSAGE)
        except OSError:
            return None
        message: dict[str, Any] | None = json.loads(data) if data else None
        return message

    def close(self) -> None:
        """End it. Idempotent."""
        self._end.close()
