"""Whether a transport is being read: several sides may ask for a pause, and it flows again when all of them let go."""

from __future__ import annotations

import asyncio
from enum import IntFlag
from typing import Final


class Hold(IntFlag):
    """Who asks for a pause; several at once are joined by ``|``."""

    PEER = 1
    """The other side's write buffer is full."""
    PENDING = 2
    """Nobody takes the bytes yet."""
    ORDER = 4
    """An earlier exchange is still being answered."""


class ReadGate:
    """The reading side of one transport. Idempotent in every direction."""

    __slots__ = ("_over", "_transport", "holds")

    def __init__(self, transport: asyncio.Transport) -> None:
        """Reading, to begin with."""
        self._transport: Final = transport
        self.holds = 0
        """Who holds it; 0 when it flows."""
        self._over = False

    def hold(self, who: Hold) -> None:
        """Pause, in the name of ``who``."""
        if not self.holds and not self._transport.is_closing():
            self._transport.pause_reading()
        self.holds |= who

    def release(self, who: Hold) -> None:
        """``who`` lets go."""
        if self.holds:
            self.holds &= ~who
            if not self.holds and not self._over and not self._transport.is_closing():
                self._transport.resume_reading()

    def over(self) -> None:
        """The end has been read: reading on would only meet it again."""
        self._over = True
