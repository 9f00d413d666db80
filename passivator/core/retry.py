"""When a tenant that failed is tried again: later after each failure, at once after a long good life.

Pure; the jitter is drawn by the caller. Nothing here gives up for ever: a tenant that nobody uses is put to sleep by
the idle policy, and that ends the tries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STEADY: Final = 60.0
"""Seconds of being started after which earlier failures are forgotten and a crash is answered by a start at once."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait: ``first`` seconds, then twice as long after each failure in a row, at most ``limit``."""

    first: float
    limit: float


@dataclass(frozen=True, slots=True)
class Retry:
    """A tenant's failures in a row, and the monotonic time before which it is not tried again."""

    failures: int = 0
    not_before: float = 0.0

    def failed(self, policy: RetryPolicy, now: float, jitter: float) -> Retry:
        """After one more failure; ``jitter`` from 0 to 1 draws from the lower half of the wait to all of it."""
        wait = min(policy.limit, policy.first * 2.0 ** min(self.failures, 32))
        return Retry(self.failures + 1, now + wait * (0.5 + jitter / 2))

    def crashed(self, policy: RetryPolicy, now: float, jitter: float, ran_for: float) -> Retry:
        """After it ended by itself, having been started for ``ran_for`` seconds."""
        return Retry(0, now) if ran_for >= STEADY else self.failed(policy, now, jitter)
