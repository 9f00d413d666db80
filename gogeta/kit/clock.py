"""The only place where this product reads a clock.

Wall-clock time is for people and for records; ages and deadlines use the loop's monotonic time, so that a step of the
wall clock never puts anything to sleep. Tests run the loop on virtual time, which moves both.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final


def wall_ms() -> int:
    """Now, as epoch milliseconds, UTC."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds on the running loop's clock; only differences mean anything."""
    return asyncio.get_running_loop().time()


exact: Final = time.monotonic
"""Seconds on the system's monotonic clock, finer than a loop's; only differences mean anything. For measuring alone:
deadlines use the loop's time, which tests can move."""


def epoch_of_monotonic() -> float:
    """What added to a time of a loop's clock is the time since 1970, in seconds; from any thread."""
    return time.time() - time.monotonic()


def rfc3339(milliseconds: int) -> str:
    """Epoch milliseconds as ``2026-01-31T12:00:00.000Z``."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def utc_time(milliseconds: int, now: int) -> str:
    """A moment as a sentence has it, in UTC: ``14:05:09 UTC``, with the date when it is another day than ``now``."""
    return _spoken(datetime.fromtimestamp(milliseconds / 1000, UTC), datetime.fromtimestamp(now / 1000, UTC))


def local_time(milliseconds: int, now: int) -> str:
    """The same by the clock on the wall of this machine: ``14:05:09 CET``."""
    moment, today = (datetime.fromtimestamp(each / 1000, UTC).astimezone() for each in (milliseconds, now))
    return _spoken(moment, today)


def _spoken(moment: datetime, today: datetime) -> str:
    date = "" if moment.date() == today.date() else f"{moment:%Y-%m-%d} "
    return f"{date}{moment:%H:%M:%S %Z}".rstrip()
