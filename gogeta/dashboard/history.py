"""How many tenants woke and fell asleep lately, minute by minute, as one process saw it.

Pure. It must not know where changes come from, nor how they are drawn.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from gogeta.domain.lifecycle import Desired
from gogeta.domain.state import TenantRecord

MINUTES: Final = 60
"""Minutes that are remembered."""


@dataclass(slots=True)
class Minute:
    """What happened in one minute of the epoch."""

    minute: int
    wakes: int = 0
    sleeps: int = 0
    failures: int = 0


class History:
    """The last hour. Times are epoch milliseconds."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    def changed(self, before: TenantRecord | None, after: TenantRecord | None, now: int) -> None:
        """Take a change of a tenant."""
        if before is None or after is None:
            return
        was, became = before.desired.state, after.desired.state
        failed = after.observed.state != before.observed.state and after.observed.state == "failed"
        if was is became and not failed:
            return
        minute = self._minute(now // 60_000)
        if was is not became:
            minute.wakes += became is Desired.STARTED
            minute.sleeps += became is Desired.PASSIVATED
        minute.failures += failed

    def _minute(self, number: int) -> Minute:
        # A clock that was put back goes on in the last minute.
        if not self._minutes or self._minutes[-1].minute < number:
            self._minutes.append(Minute(number))
        return self._minutes[-1]

    def last_hour(self, now: int) -> list[Minute]:
        """Sixty minutes, the oldest first; those in which nothing happened too."""
        present = now // 60_000
        known = {minute.minute: minute for minute in self._minutes}
        return [known.get(number, Minute(number)) for number in range(present - MINUTES + 1, present + 1)]
