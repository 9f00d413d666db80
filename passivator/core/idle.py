"""The idle policy: the only author of "passivate".

Silence is measured on one clock, passivator's own, from when it saw a tenant's last access change; nobody's wall clock
puts anything to sleep early. Three rules keep what is in use awake:

- Time in which the registry could not be seen is no silence: it is left out of every age, and after it nothing is
  judged until proxies had time to write what they held back.
- The timer begins when the tenant is ready, or when somebody changed what it should be; never at the wake, and it does
  not run during a start.
- A judgement names the revisions it rests on; the registry refuses it when either has moved on.

A proxy writes the last access of a tenant in use every tenth of its idle timeout, or oftener, so one with requests in
flight or open tunnels is never silent for long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gogeta.domain.state import Judgement

FLUSH_SHARE: Final = 0.2
"""Part of an idle timeout that proxies get to write what they held back: twice their longest interval (a tenth)."""
RECONNECT: Final = 10.0
"""Seconds that proxies get on top, after an outage, to find the registry again."""
CLOCK_MARGIN: Final = 3600.0
"""How far apart two hosts' wall clocks may be before a stored time could mislead us."""


@dataclass(frozen=True, slots=True)
class Passivate:
    """Nobody used it for its idle timeout: put it to sleep, if what was judged is still true."""

    judged: Judgement
    silent: float
    """Seconds of silence."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Not yet: ask again in so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class NeverSleeps:
    """It has no idle timeout."""


Verdict = Passivate | AskAgain | NeverSleeps


@dataclass(slots=True)
class _Silence:
    revision: int = 0
    """Of the access key; 0 when there is none."""
    since: float | None = None
    """Sighted time of the last sign of use; None before the first."""
    first_hand: bool = False
    """Whether a use or a start was seen by ourselves, not read from what was stored before our time."""
    stored_ms: int = 0
    in_flight: int = 0


@dataclass(slots=True)
class IdlePolicy:
    """All tenants' silences. Every method takes ``now`` of one monotonic clock."""

    _silences: dict[str, _Silence] = field(default_factory=dict)
    _blind: float = 0.0
    """Seconds of blindness so far."""
    _blind_since: float | None = None
    _sight_since: float | None = None
    _outages: int = 0

    def lost_sight(self, now: float) -> None:
        """The registry does not answer."""
        if self._blind_since is None and self._sight_since is not None:
            self._blind_since = now

    def has_sight(self, now: float) -> None:
        """Our copies are current. Say it as often as you like."""
        if self._blind_since is not None:
            self._blind += now - self._blind_since
            self._blind_since, self._sight_since = None, now
            self._outages += 1
        elif self._sight_since is None:
            self._sight_since = now

    def accessed(self, name: str, revision: int, at_ms: int, in_flight: int, now: float) -> None:
        """The access key of ``name`` was listed or has changed (revision 0: it is not there)."""
        silence = self._silences.setdefault(name, _Silence())
        if silence.revision == revision:
            return
        known_before = silence.revision != 0 or self._sight_since is not None
        silence.revision, silence.stored_ms, silence.in_flight = revision, at_ms, in_flight
        if revision:
            silence.since = self._sighted(now)
            # The very first listing tells of uses before our time.
            silence.first_hand = silence.first_hand or known_before

    def touched(self, name: str, now: float, *, first_hand: bool = True) -> None:
        """A sign of use besides accesses: it became ready, or somebody changed what it should be."""
        silence = self._silences.setdefault(name, _Silence())
        silence.since = self._sighted(now)
        silence.first_hand = silence.first_hand or first_hand

    def forget(self, name: str) -> None:
        """The tenant is gone."""
        self._silences.pop(name, None)

    def in_flight(self, name: str) -> int:
        """Requests and tunnels open when a proxy last wrote."""
        silence = self._silences.get(name)
        return silence.in_flight if silence else 0

    def judge(
        self, name: str, *, idle_timeout: float | None, desired_revision: int, stored_ms: int, now: float, wall_ms: int
    ) -> Verdict:
        """What to do about a tenant that is up. ``stored_ms`` is when, by the registry, its state last changed.

        Asked only about tenants that should be started and are not starting.
        """
        if idle_timeout is None:
            return NeverSleeps()
        if self._sight_since is None or self._blind_since is not None:
            return AskAgain(1.0)
        silence = self._silences.setdefault(name, _Silence())
        if silence.since is None:
            silence.since = self._sighted(now)
        margin = idle_timeout * FLUSH_SHARE
        silent = self._sighted(now) - silence.since
        if not silence.first_hand and self._long_asleep(silence, idle_timeout, stored_ms, wall_ms):
            # All but a margin counts as passed: a use that is still to be written would be seen in it.
            silent += idle_timeout - margin
        remaining = idle_timeout - silent
        if self._outages:
            remaining = max(remaining, self._sight_since + RECONNECT + margin - now)
        if remaining > 0:
            return AskAgain(max(remaining, 0.001))
        return Passivate(Judgement(desired_revision=desired_revision, access_revision=silence.revision), silent)

    def spare(
        self,
        name: str,
        *,
        idle_timeout: float | None,
        min_awake: float,
        desired_revision: int,
        stored_ms: int,
        now: float,
        wall_ms: int,
    ) -> Passivate | None:
        """Whether a tenant that is up may be put to sleep before its time because others wait; None when not.

        It has to be silent for ``min_awake`` seconds, and for as long as proxies may hold back a use of it.
        """
        if idle_timeout is None:
            return None
        margin = idle_timeout * FLUSH_SHARE
        if self._outages and now < (self._sight_since or 0.0) + RECONNECT + margin:
            return None
        verdict = self.judge(
            name,
            idle_timeout=min(max(min_awake, margin), idle_timeout),
            desired_revision=desired_revision,
            stored_ms=stored_ms,
            now=now,
            wall_ms=wall_ms,
        )
        return verdict if isinstance(verdict, Passivate) else None

    def _sighted(self, now: float) -> float:
        """Time on a clock that stands still while the registry cannot be seen."""
        return (self._blind_since if self._blind_since is not None else now) - self._blind

    @staticmethod
    def _long_asleep(silence: _Silence, idle_timeout: float, stored_ms: int, wall_ms: int) -> bool:
        # After a restart: stored times count only where no two clocks could be so far apart, and never alone.
        last_ms = max(silence.stored_ms, stored_ms)
        return last_ms > 0 and wall_ms - last_ms >= (2 * idle_timeout + CLOCK_MARGIN) * 1000
