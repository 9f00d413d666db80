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
