"""How often visitors may wake in an hour: a sliding window that is a value and can stand in the registry. Pure.

A history of wakes is counted by the minute, so it has a few dozen numbers however many wakes there were. The window
is kept on the safe side: a minute counts for as long as any of it lies within the hour, so there are never more than
``limit`` wakes in any 60 minutes; the price is that one may have to wait up to a minute longer.

Histories in the registry are written by several proxies, each by its own wall clock. Clocks that differ shift the
window by as much. One that jumps must not shut a tenant out: what lies more than an hour ahead is passed over.
"""

from __future__ import annotations

from typing import Final

History = tuple[tuple[int, int], ...]
"""Minutes (of the epoch, or of any clock that only moves on) with the number of wakes in each, oldest first."""

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
_AHEAD: Final = 60
"""Minutes that another clock may be ahead of ours."""


def within_the_hour(history: History, now_ms: int) -> History:
    """What of a history may still lie within the hour before ``now_ms``, one pair a minute, oldest first."""
    latest = now_ms // MINUTE_MS + _AHEAD
    counts: dict[int, int] = {}
    for minute, count in history:
        if count > 0 and minute <= latest and _leaves(minute) > now_ms:
            counts[minute] = counts.get(minute, 0) + count
    return tuple(sorted(counts.items()))


def with_wake(history: History, now_ms: int) -> History:
    """The history after one more wake at ``now_ms``; what is over is left out."""
    return within_the_hour((*history, (now_ms // MINUTE_MS, 1)), now_ms)


def without_wake(history: History, at_ms: int) -> History:
    """The history as if one wake at ``at_ms`` had not been."""
    minute = at_ms // MINUTE_MS
    return tuple((when, left) for when, count in history if (left := count - (when == minute)) > 0)


def milliseconds_to_wait(history: History, now_ms: int, limit: int) -> int:
    """How long until one more wake is within ``limit``; 0 when it is now. A limit of 0 is none."""
    if limit <= 0:
        return 0
    recent = within_the_hour(history, now_ms)
    over = sum(count for _, count in recent) - limit
    for minute, count in recent:
        if over < 0:
            break
        over -= count
        wait = _leaves(minute) - now_ms
        if over < 0:
            return wait
    return 0


def _leaves(minute: int) -> int:
    # The last moment of the minute, and the whole hour after it.
    return (minute + 1) * MINUTE_MS + HOUR_MS
