"""Whether a transport is being read: several sides may ask for a pause, and it flows again when all of them let go."""

from __future__ import annotations

import asyncio
from enum import IntFlag
from typing import Final


class Hold(IntFlag):
    """Who asks for a pause."""

    PEER = 1
    """The other side's write buffer is full."""
    PENDING = 2
    """Nobody takes the bytes yet."""
    ORDER = 4
    """An earlier exchange is still being answered."""


class ReadGate:
    """The reading side of one transport. Idempotent in every direction."""

    __slots__ = ("_holds", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        """Reading, to begin with."""
        self._transport: Final = transport
        self._holds = 0

    @property
    def held(self) -> int:
        """Who holds it; 0 when it flows."""
        return self._holds

    def hold(self, who: Hold) -> None:
        """Pause, in the name of ``who``."""
        if not self._holds and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holds |= who

    def release(self, who: Hold) -> None:
        """``who`` lets go."""
        if self._holds:
            self._holds &= ~who
            if not self._holds and not self._transport.is_closing():
                self._transport.resume_reading()
