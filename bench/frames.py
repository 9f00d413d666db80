"""The one WebSocket message of the bench, as either side writes it (RFC 6455, section 5.2)."""

from __future__ import annotations

from typing import Final

PAYLOAD: Final = bytes(range(32, 132))
MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FINAL_BINARY: Final = 0x82
_MASKED: Final = 0x80

CLIENT_FRAME: Final = bytes((_FINAL_BINARY, _MASKED | len(PAYLOAD))) + bytes(4) + PAYLOAD
"""Masked with zeros, which leaves the payload as it is."""
SERVER_FRAME: Final = bytes((_FINAL_BINARY, len(PAYLOAD))) + PAYLOAD
