"""When a tenant that failed is tried again: later and later, at once after a long good life, and at last not at all.

Pure; the jitter is drawn by the caller. After so many failures in a row a tenant is given up: nothing tries it by
itself any more. Then there are single tries: an operator's at any time, a visitor's once in the longest wait. One that
succeeds and lasts ends it; one that fails leaves it given up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

STEADY: Final = 60.0
"""Seconds of being started after which earlier failures are forgotten and a crash is answered by a start at once."""
NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait: ``first`` seconds, then twice as long after each failure in a row, at most ``limit``.

    After ``tries`` failures in a row it is given up (0: never).
    """

    first: float
    limit: float
    tries: int = 0

    def longest(self, failures: int) -> float:
        """The longest wait in seconds after ``failures`` in a row, 1 or more."""
        return min(self.limit, self.first * 2.0 ** min(failures - 1, 32))


@dataclass(frozen=True, slots=True)
class Retry:
    """A tenant's failures in a row, and the monotonic time before which it is not tried again."""

    failures: int = 0
    not_before: float = 0.0
    """NEVER when it is given up."""
    asks_from: float = 0.0
    """When it is given up: from then on a visitor's request is worth a try."""

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again by itself."""
        return self.not_before == NEVER

    def failed(self, policy: RetryPolicy, now: float, jitter: float) -> Retry:
        """After one more failure; ``jitter`` from 0 to 1 draws from the lower half of the wait to all of it."""
        failures = self.failures + 1
        if policy.tries and failures >= policy.tries:
            return Retry(failures, NEVER, now + policy.limit)
        return Retry(failures, now + policy.longest(failures) * (0.5 + jitter / 2))

    def crashed(self, policy: RetryPolicy, now: float, jitter: float, ran_for: float) -> Retry:
        """After it ended by itself, having been started for ``ran_for`` seconds."""
        return Retry(0, now) if ran_for >= STEADY else self.failed(policy, now, jitter)

    def postponed(self, until: float) -> Retry:
        """After a try that could not be made for no fault of the tenant's: no failure, and not again before."""
        return replace(self, not_before=until)

    def asked_by_visitor(self, now: float) -> Retry:
        """A visitor's request came: one try, if it is given up and its time has come."""
        return self.once(now) if self.given_up and now >= self.asks_from else self

    def once(self, now: float) -> Retry:
        """One try now, whatever was before; if it fails, what was given up is given up again."""
        return replace(self, not_before=now, asks_from=0.0) if self.given_up else Retry()
