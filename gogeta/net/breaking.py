"""Breaking a connection off so that its other side knows.

A plain close, even an abort, ends a connection in good order when nothing unread is left; to a message that ends with
its connection that looks complete (RFC 9112 section 8). Only a reset does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import Final

_LINGER_NOT: Final = struct.pack("ii", 1, 0)


def break_off(transport: asyncio.Transport) -> None:
    """End a connection with a reset; what it has not sent yet is lost."""
    own = transport.get_extra_info("socket")
    if own is not None and not transport.is_closing():
        # A descriptor of our own: neither loop's sockets let themselves be set.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(own.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
