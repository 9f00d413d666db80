"""A tenant's own veto against being put to sleep: what its answers mean, how often it is asked, where that ends. Pure.

It is asked only when it would be put to sleep, and again every so often while it says no. What cannot be asked is asked
again a few times, and then counts as not busy: a tenant that does not answer must not stay awake for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gogeta.domain.sleeping import Busy
from gogeta.domain.wakefulness import AwakeReason, Keeps

TRIES: Final = 3
"""Most tries in a row to ask; then it counts as not busy."""
TRY_AGAIN: Final = 2.0
"""Seconds between them."""
_SHARE: Final = 0.25
"""A busy tenant is asked again after this part of its idle timeout, within these bounds:"""
SOONEST: Final = 2.0
LATEST: Final = 60.0


class Said(StrEnum):
    """What asking its busy path brought."""

    BUSY = "busy"
    FREE = "free"
    NOTHING = "nothing"
    """No answer, or one that says nothing: 429 and the 5xx."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything that was found out in one go; None: that was not asked."""

    said: Said | None = None
    words: str = ""
    """What it said or what went wrong, for people."""
    cpu: float | None = None
    """Percent of one processor that it used; None also when it cannot be measured here."""


@dataclass(frozen=True, slots=True)
class KeepAwake:
    """It is busy: ask again in so many seconds."""

    reasons: tuple[AwakeReason, ...]
    after: float


@dataclass(frozen=True, slots=True)
class TryAgain:
    """It could not be asked; once more in so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class LetSleep:
    """Nothing speaks against it. ``unheard``: because it could not be asked."""

    unheard: bool = False


def read_status(status: int | None) -> Said:
    """What an answer's status means: 200 is busy, any other below 500 is not; None is no answer."""
    if status is None or status >= 500 or status == 429:
        return Said.NOTHING
    return Said.BUSY if status == 200 else Said.FREE


def is_asked(busy: Busy | None, silent: float) -> bool:
    """Whether it may object at all after ``silent`` seconds without use."""
    return busy is not None and silent < busy.at_most


def weigh(busy: Busy, heard: Heard, *, silent: float, tries: int, timeout: float, wall_ms: int) -> Weighed:
    """What follows from what was heard, in the try of number ``tries`` (from 1), after ``silent`` seconds without use.

    ``timeout``: its first idle timeout, from which the pause until the next question follows.
    """
    left = busy.at_most - silent
    ends = wall_ms + round(left * 1000)
    reasons = []
    if heard.said is Said.BUSY:
        reasons.append(AwakeReason(Keeps.BUSY, f"{busy.path} says it is busy{_quoted(heard.words)}", ends))
    if busy.cpu is not None and heard.cpu is not None and heard.cpu >= busy.cpu:
        reasons.append(
            AwakeReason(Keeps.CPU, f"it uses {heard.cpu:.0f}% of a processor, and {busy.cpu:g}% is busy", ends)
        )
    if reasons:
        pause = min(max(timeout * _SHARE, SOONEST), LATEST)
        return KeepAwake(tuple(reasons), max(min(pause, left), 0.001))
    unheard = heard.said is Said.NOTHING or (busy.cpu is not None and heard.cpu is None)
    if unheard and tries < TRIES:
        return TryAgain(TRY_AGAIN)
    return LetSleep(unheard=unheard)


Weighed = KeepAwake | TryAgain | LetSleep


def _quoted(words: str) -> str:
    return f": {words}" if words else ""
