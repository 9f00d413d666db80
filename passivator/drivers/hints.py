"""Hints to whoever follows a driver's events: each change is told at least once, and nothing piles up.

For drivers that see every change themselves (process, memory). Must not know what a change is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from gogeta.domain.tenant import TenantName
from passivator.drivers.base import RuntimeEvent, RuntimeUnavailableError


class _Follower:
    """What one follower has still to be told. A name is there once, however often it changed."""

    def __init__(self) -> None:
        self.pending: dict[TenantName | None, None] = {None: None}
        self.cut = ""
        self.some = asyncio.Event()
        self.some.set()


class Hints:
    """Any number of followers; each starts with an event without a name, because it cannot know what it missed."""

    def __init__(self) -> None:
        self._followers: set[_Follower] = set()

    def tell(self, name: TenantName | None = None) -> None:
        """This tenant may have changed; without a name, any may have."""
        for follower in self._followers:
            follower.pending[name] = None
            follower.some.set()

    def cut(self, why: str) -> None:
        """Break off all who follow now; they may follow again."""
        for follower in self._followers:
            follower.cut = why
            follower.some.set()

    async def follow(self) -> AsyncGenerator[RuntimeEvent, None]:
        """Hints as they come, for ever. Raises RuntimeUnavailableError when it is cut."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            while True:
                await follower.some.wait()
                if follower.cut:
                    raise RuntimeUnavailableError(follower.cut)
                pending, follower.pending = follower.pending, {}
                follower.some.clear()
                for name in pending:
                    yield RuntimeEvent(name)
        finally:
            self._followers.discard(follower)
