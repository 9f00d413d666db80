"""How often each visitor's address has woken something in the last hour: one table, bounded, O(1) for a wake. Pure.

It is one process's own and forgets with it: it keeps one visitor from walking through all tenants, and the budget that
holds everywhere is each tenant's.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from gogeta.domain.wake_budget import (
    History,
    milliseconds_to_wait,
    with_wake,
    within_the_hour,
    without_wake,
)

MOST_ADDRESSES: Final = 10_000
_SWEPT: Final = 4


class WakesByAddress:
    """Wakes by address, up to ``limit`` each in any hour; 0 is no limit. Times are milliseconds of one clock."""

    __slots__ = ("_histories", "_limit", "_most")

    def __init__(self, limit: int, most: int = MOST_ADDRESSES) -> None:
        """``most`` addresses are known at once: beyond it, the one whose last wake is longest ago is forgotten."""
        self._limit = limit
        self._most = most
        self._histories: OrderedDict[str, History] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._histories)

    def wait(self, whose: str, now_ms: int) -> int:
        """Milliseconds until this address may wake again; 0 when it may now. An empty one always may."""
        history = self._histories.get(whose)
        return milliseconds_to_wait(history, now_ms, self._limit) if history else 0

    def take(self, whose: str, now_ms: int) -> None:
        """It wakes something."""
        if not whose or not self._limit:
            return
        histories = self._histories
        histories[whose] = with_wake(histories.get(whose, ()), now_ms)
        histories.move_to_end(whose)
        for _ in range(_SWEPT):
            oldest = next(iter(histories))
            if len(histories) <= self._most and within_the_hour(histories[oldest], now_ms):
                break
            del histories[oldest]

    def give_back(self, whose: str, at_ms: int) -> None:
        """What it took at ``at_ms`` was no wake: somebody else was first, or it did not come about."""
        if (history := self._histories.get(whose)) is not None:
            left = without_wake(history, at_ms)
            if left:
                self._histories[whose] = left
            else:
                del self._histories[whose]
