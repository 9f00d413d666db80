"""Waiting longer after each failure, with jitter, and never longer than a limit."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays in seconds: ``first``, then ``factor`` times the one before, at most ``limit``.

    Each is drawn between half of that and all of it, so that many waiters do not come back together.
    """

    first: float = 0.1
    limit: float = 10.0
    factor: float = 2.0
    failures: int = 0

    def next(self) -> float:
        """The delay after one more failure."""
        ceiling = min(self.limit, self.first * self.factor ** min(self.failures, 64))
        self.failures += 1
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """It worked: start over."""
        self.failures = 0
