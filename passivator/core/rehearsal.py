"""The books of a dry run: who would be asleep by now, and who of them would have been woken again.

Pure. Times are of one monotonic clock; moments for people come beside them as epoch milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_TENANTS = 100_000
"""Most tenants in the books; further ones are counted only."""


@dataclass(slots=True)
class Account:
    """What would have happened to one tenant."""

    name: str
    memory: int = 0
    """Bytes that it may take at most, as declared; 0: not declared."""
    asleep_since: float | None = None
    sleeps: int = 0
    """How often it would have been put to sleep."""
    rewakes: int = 0
    """How often it would then have been woken by a use."""
    slept: float = 0.0
    """Seconds of sleep that have ended."""
    shortest: float | None = None
    """The shortest sleep that a use ended: the one that would have annoyed most."""
    last_sleep_ms: int = 0
    last_wake_ms: int = 0

    def asleep(self, now: float) -> float:
        """Seconds that it would have slept so far."""
        return self.slept + (now - self.asleep_since if self.asleep_since is not None else 0.0)


@dataclass(slots=True)
class Books:
    """All accounts of one dry run."""

    accounts: dict[str, Account] = field(default_factory=dict)
    left_out: int = 0

    def would_sleep(self, name: str, now: float, wall_ms: int, *, memory: int) -> bool:
        """It would be put to sleep now; False when it would be asleep already."""
        account = self.accounts.get(name)
        if account is None:
            if len(self.accounts) >= MOST_TENANTS:
                self.left_out += 1
                return False
            account = self.accounts[name] = Account(name)
        if account.asleep_since is not None:
            return False
        account.asleep_since, account.memory, account.last_sleep_ms = now, memory, wall_ms
        account.sleeps += 1
        return True

    def used(self, name: str, now: float, wall_ms: int) -> float | None:
        """It is used now; when that would have woken it, how long it would have slept."""
        account = self.accounts.get(name)
        if account is None or account.asleep_since is None:
            return None
        slept = now - account.asleep_since
        account.slept += slept
        account.asleep_since = None
        account.rewakes += 1
        account.last_wake_ms = wall_ms
        account.shortest = slept if account.shortest is None else min(account.shortest, slept)
        return slept

    def gone(self, name: str, now: float) -> None:
        """It is not declared any more, or an operator stopped it: what it would have slept stays in the books."""
        account = self.accounts.get(name)
        if account is not None and account.asleep_since is not None:
            account.slept += now - account.asleep_since
            account.asleep_since = None

    def would_be_asleep(self, name: str) -> bool:
        """Whether it would be asleep now."""
        account = self.accounts.get(name)
        return account is not None and account.asleep_since is not None

    def summary(self, now: float) -> Summary:
        """All there is to report."""
        accounts = sorted(self.accounts.values(), key=lambda account: (-account.rewakes, account.name))
        return Summary(
            accounts=tuple(accounts),
            sleeps=sum(account.sleeps for account in accounts),
            rewakes=sum(account.rewakes for account in accounts),
            asleep_now=sum(account.asleep_since is not None for account in accounts),
            memory_now=sum(account.memory for account in accounts if account.asleep_since is not None),
            memory_seconds=sum(account.memory * account.asleep(now) for account in accounts),
            left_out=self.left_out,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a dry run."""

    accounts: tuple[Account, ...]
    sleeps: int
    rewakes: int
    asleep_now: int
    memory_now: int
    """Bytes, by the declared limits, of those that would be asleep now."""
    memory_seconds: float
    """The same times the seconds that each would have slept."""
    left_out: int
