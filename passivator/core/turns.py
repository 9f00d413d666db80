"""Whose turn it is to start, and who has to make room: the two decisions of the start queue. Pure.

The order is that of arrival, with handicaps in seconds: one that failed before, or that was started often lately, is
treated as if it had come later. A handicap has a limit, so nobody is overtaken by anybody who came that much later:
a crash loop stands back for a visitor's first wake, and is served all the same.

Memory is a sum of what is declared, not of what is used: what runs and starts together never needs more than the limit.
Whoever is first and does not fit is not overtaken by smaller ones; it would wait for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PER_FAILURE: Final = 10.0
"""Handicap in seconds for each failure in a row."""
PER_START: Final = 2.0
"""Handicap in seconds for each start within ``OFTEN``, beyond the first."""
OFTEN: Final = 600.0
LONGEST_HANDICAP: Final = 60.0
"""Nobody is overtaken by one who came later than this after it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One that waits to be started."""

    name: str
    arrived: float
    need: int = 0
    """Bytes of memory."""
    failures: int = 0
    """In a row, before this."""
    starts: int = 0
    """Within ``OFTEN``, before this."""

    @property
    def place(self) -> tuple[float, float]:
        """What the order goes by."""
        handicap = PER_FAILURE * self.failures + PER_START * max(self.starts - 1, 0)
        return self.arrived + min(handicap, LONGEST_HANDICAP), self.arrived


@dataclass(frozen=True, slots=True)
class Memory:
    """What there is for all tenants together, in bytes."""

    limit: int
    used: int
    """Needed by what runs and starts."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Who starts now, in order, and what the first of the others lacks."""

    granted: tuple[str, ...]
    missing: int = 0
    """Bytes of memory that have to become free before the first of the others can start; 0: it is not for that."""


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """By place, those of one place as they came."""
    return sorted(waiting, key=lambda one: one.place)


def turns(waiting: Iterable[Waiting], *, starting: int, most: int, memory: Memory | None) -> Turns:
    """Whose turn it is while ``starting`` of at most ``most`` starts are under way."""
    granted: list[str] = []
    used = 0 if memory is None else memory.used
    for one in in_order(waiting):
        if starting + len(granted) >= most:
            break
        if memory is not None and used + one.need > memory.limit:
            return Turns(tuple(granted), used + one.need - memory.limit)
        granted.append(one.name)
        used += one.need
    return Turns(tuple(granted))


@dataclass(frozen=True, slots=True)
class Idler:
    """One that could be put to sleep: started, not in use, awake for long enough."""

    name: str
    need: int
    silent: float
    """Seconds without any use."""


def make_room(idlers: Iterable[Idler], missing: int) -> tuple[str, ...]:
    """Who is put to sleep so that ``missing`` bytes become free: the longest idle, and no more of them than needed.

    Nobody when all of them together do not suffice: it would wake nobody up.
    """
    chosen: list[Idler] = []
    freed = 0
    for one in sorted(idlers, key=lambda idler: (-idler.silent, idler.name)):
        if freed >= missing:
            break
        if one.need > 0:
            chosen.append(one)
            freed += one.need
    if freed < missing:
        return ()
    # The last one taken may be so large that earlier ones need not go: those idle for the shortest time stay first.
    for one in reversed(chosen[:-1]):
        if freed - one.need >= missing:
            chosen.remove(one)
            freed -= one.need
    return tuple(one.name for one in chosen)
