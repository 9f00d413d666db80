"""Idle upstream connections of one start of one tenant at one endpoint: O(1) take and give, bounded, expiring.

Pure bookkeeping over any kind of connection: it returns what is to be closed and closes nothing itself. A pool belongs
to one instance; when the instance changes, the pool is emptied and thrown away, so that no connection of an earlier
start is ever used again.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

C = TypeVar("C")


class Pool(Generic[C]):
    """Idle connections, the most recently used first: the rest grow old and expire."""

    __slots__ = ("_idle", "limit", "retired")

    def __init__(self, limit: int) -> None:
        """At most ``limit`` idle connections are kept."""
        self._idle: deque[tuple[float, C]] = deque()
        self.limit = limit
        self.retired = False

    def __len__(self) -> int:
        """How many are idle."""
        return len(self._idle)

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Pool {len(self._idle)}/{self.limit} idle{', retired' if self.retired else ''}>"

    def take(self) -> C | None:
        """The connection used last, or None."""
        return self._idle.pop()[1] if self._idle else None

    def give(self, connection: C, now: float) -> bool:
        """Keep a connection that is free now; False when it is to be closed: the pool is full or retired."""
        if self.retired or len(self._idle) >= self.limit:
            return False
        self._idle.append((now, connection))
        return True

    def drop(self, connection: C) -> None:
        """Forget a connection that was lost while idle."""
        for place, (_, held) in enumerate(self._idle):
            if held is connection:
                del self._idle[place]
                return

    def expire(self, before: float) -> list[C]:
        """Those idle since before that time: forgotten here, to be closed by the caller."""
        expired = []
        while self._idle and self._idle[0][0] < before:
            expired.append(self._idle.popleft()[1])
        return expired

    def retire(self) -> list[C]:
        """Empty it for good; what was in it is to be closed by the caller, and nothing is taken in again."""
        self.retired = True
        return self.expire(float("inf"))
