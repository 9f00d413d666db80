"""What sleeping saves: how long tenants were asleep, and how much memory they would have taken. Pure.

Two numbers are kept for now, how many sleep and what that releases, and each is multiplied by the time it lasted: no
tenant's sleep has to end to be counted, and nothing is added up when somebody looks.
"""

from __future__ import annotations

from typing import Final

from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import TenantRecord

DEPTHS: Final = (Observed.STOPPED, Observed.PAUSED)
"""How a tenant may be asleep. One that is paused is frozen in memory: it releases none."""


def asleep(record: TenantRecord | None) -> Observed | None:
    """How a tenant is asleep, its next request being enough to wake it; None where it is not, or was stopped."""
    if record is None or record.tenant.routed_only or record.desired.state is not Desired.PASSIVATED:
        return None
    return record.observed.state if record.observed.state in DEPTHS else None


class Savings:
    """Sums over all tenants that are told of. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        """Nobody sleeps yet."""
        self._sleepers: dict[str, tuple[Observed, int]] = {}
        self._sleeping = dict.fromkeys(DEPTHS, 0)
        self._seconds = dict.fromkeys(DEPTHS, 0.0)
        self._byte_seconds = 0.0
        self._since = 0.0
        self.released = 0
        """Bytes that those who sleep now would take."""

    def note(self, name: str, depth: Observed | None, memory: int, now: float) -> None:
        """A tenant sleeps like this from now on (None: it does not); ``memory``: bytes that it counts for."""
        sleeper = None if depth is None else (depth, memory if depth is Observed.STOPPED else 0)
        if self._sleepers.get(name) == sleeper:
            return
        self._settle(now)
        before = self._sleepers.pop(name, None)
        if before is not None:
            self._sleeping[before[0]] -= 1
            self.released -= before[1]
        if sleeper is not None:
            self._sleepers[name] = sleeper
            self._sleeping[sleeper[0]] += 1
            self.released += sleeper[1]

    def clear(self, now: float) -> None:
        """They are somebody else's to count from now on."""
        self._settle(now)
        self._sleepers.clear()
        self._sleeping = dict.fromkeys(DEPTHS, 0)
        self.released = 0

    def seconds(self, now: float) -> dict[Observed, float]:
        """Seconds that all of them together were asleep so far, by depth."""
        self._settle(now)
        return dict(self._seconds)

    def byte_seconds(self, now: float) -> float:
        """Bytes released so far, each times the seconds that it was."""
        self._settle(now)
        return self._byte_seconds

    def _settle(self, now: float) -> None:
        lasted, self._since = now - self._since, now
        for depth, count in self._sleeping.items():
            self._seconds[depth] += count * lasted
        self._byte_seconds += self.released * lasted
