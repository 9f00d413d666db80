"""Starts in their turn: at most so many at once, within the memory there is, in a fair order, and not endlessly many.

Bookkeeping on the loop; who is next is decided in ``core.turns``. A waiter is told by a call, so that it can change its
mind while it waits. It knows no tenant but its name and its need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from passivator.core.turns import OFTEN, Memory, Waiting, in_order, turns

MOST_REMEMBERED: Final = 32
"""Starts of one tenant that are remembered: more do not change its handicap."""


class Turn(StrEnum):
    """What becomes of a start that is asked for."""

    NOW = "now"
    LATER = "later"
    FULL = "full"
    """Too many wait already."""
    TOO_LARGE = "too-large"
    """It needs more memory than all may have together."""


class StartQueue:
    """The starts under way and those waiting for their turn, by name."""

    def __init__(
        self,
        limit: int,
        *,
        most_waiting: int = 10_000,
        memory: int | None = None,
        occupied: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """``limit``: most starts at the same time. ``memory``: bytes for all; None: no limit.

        ``occupied``: bytes that each tenant needs that runs, or may run.
        """
        self.limit, self.most_waiting, self.memory = limit, most_waiting, memory
        self._occupied = occupied
        self._active: dict[str, int] = {}
        self._waiting: dict[str, tuple[Waiting, Callable[[], None]]] = {}
        self._starts: dict[str, deque[float]] = {}
        self.missing = 0
        """Bytes that have to become free before the first of those who wait can start; 0: it waits for its turn."""
        self.short: Callable[[], None] = lambda: None
        """Called when the first of those who wait lacks memory."""

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

    def oldest(self, now: float) -> float:
        """Seconds for which the one that has waited longest has waited; 0: nobody waits."""
        return max((now - one.arrived for one, _ in self._waiting.values()), default=0.0)

    @property
    def used(self) -> int:
        """Bytes needed by what runs and starts."""
        return sum({**self._occupied(), **self._active}.values())

    def starts(self, name: str) -> bool:
        """Whether a start of it is under way."""
        return name in self._active

    def ahead_of(self, name: str) -> int:
        """How many wait before this one."""
        for place, one in enumerate(in_order(one for one, _ in self._waiting.values())):
            if one.name == name:
                return place
        return 0

    def enter(self, name: str, granted: Callable[[], None], *, now: float, need: int = 0, failures: int = 0) -> Turn:
        """Ask for a start, or again whether it is its turn: LATER, and ``granted`` is called at its turn.

        ``failures``: in a row, before this one.
        """
        if name in self._active:
            return Turn.NOW
        if self.memory is not None and need > self.memory:
            self.leave(name)
            return Turn.TOO_LARGE
        if name not in self._waiting:
            if len(self._waiting) >= self.most_waiting:
                return Turn.FULL
            starts = sum(now - start < OFTEN for start in self._starts.get(name, ()))
            self._waiting[name] = Waiting(name, now, need, failures, starts), granted
            # Not called for a turn that is its own at once: it is told by what is returned.
            self.review(asking=name)
        else:
            one, _ = self._waiting[name]
            self._waiting[name] = replace(one, need=need), granted
        return Turn.NOW if name in self._active else Turn.LATER

    def join(self, name: str, need: int = 0) -> None:
        """Count a start that is under way already, e.g. from before a restart, even past the limit."""
        self._waiting.pop(name, None)
        self._active[name] = need

    def leave(self, name: str) -> None:
        """The start has ended, or is not wanted any more."""
        self._waiting.pop(name, None)
        self._active.pop(name, None)
        self.review()

    def forget(self, name: str) -> None:
        """The tenant is gone."""
        self._starts.pop(name, None)
        self.leave(name)

    def review(self, asking: str = "") -> None:
        """See whose turn it is: something has ended, or become free."""
        self.missing = 0
        if not self._waiting:
            return
        memory = Memory(self.memory, self.used) if self.memory is not None else None
        waiting = [one for one, _ in self._waiting.values()]
        result = turns(waiting, starting=len(self._active), most=self.limit, memory=memory)
        self.missing = result.missing
        called = []
        for name in result.granted:
            one, granted = self._waiting.pop(name)
            self._active[name] = one.need
            self._remember(name, one.arrived)
            if name != asking:
                called.append(granted)
        for granted in called:
            granted()
        if self.missing:
            self.short()

    def _remember(self, name: str, now: float) -> None:
        starts = self._starts.setdefault(name, deque(maxlen=MOST_REMEMBERED))
        while starts and now - starts[0] >= OFTEN:
            starts.popleft()
        starts.append(now)
