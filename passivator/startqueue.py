"""At most so many starts at the same time, first come first served.

Plain bookkeeping on the loop: who starts, who waits. A waiter is told by a call, so that it can change its mind while
it waits. It knows no tenant but its name.
"""

from __future__ import annotations

from collections.abc import Callable


class StartQueue:
    """The starts under way and those waiting for their turn, by name."""

    def __init__(self, limit: int) -> None:
        """``limit``: most starts at the same time."""
        self.limit = limit
        self._active: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}

    def __repr__(self) -> str:
        """One line: who starts, who waits."""
        return f"<StartQueue {len(self._active)}/{self.limit} active, {len(self._waiting)} waiting>"

    @property
    def active(self) -> int:
        """How many starts are under way."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def ahead_of(self, name: str) -> int:
        """How many wait before this one."""
        for place, waiter in enumerate(self._waiting):
            if waiter == name:
                return place
        return 0

    def enter(self, name: str, granted: Callable[[], None]) -> bool:
        """True when ``name`` may start now (or is starting); else it waits, and ``granted`` is called at its turn."""
        if name in self._active:
            return True
        if not self._waiting and len(self._active) < self.limit:
            self._active.add(name)
            return True
        self._waiting.setdefault(name, granted)
        return False

    def join(self, name: str) -> None:
        """Count a start that is under way already, e.g. from before a restart, even past the limit."""
        self._waiting.pop(name, None)
        self._active.add(name)

    def leave(self, name: str) -> None:
        """The start has ended, or is not wanted any more."""
        self._waiting.pop(name, None)
        self._active.discard(name)
        while self._waiting and len(self._active) < self.limit:
            following = next(iter(self._waiting))
            granted = self._waiting.pop(following)
            self._active.add(following)
            granted()
