"""What the applications themselves say they did: each start of each tenant, and each body they took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Birth:
    """One start of one tenant. Times are epoch milliseconds."""

    tenant: str
    instance: str
    born: float
    listening: float | None = None
    """None: it did not come so far."""


@dataclass
class Ledger:
    """All of it, in the order of writing."""

    births: dict[str, Birth] = field(default_factory=dict)
    """By instance."""
    posts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many times the body of a request, by its id and its hash, was taken."""

    def starts(self, tenant: str | None = None) -> int:
        """How many starts there were, of one tenant or of all."""
        return sum(tenant in (None, birth.tenant) for birth in self.births.values())

    def most_at_once(self) -> int:
        """How many starts were under way at the same time, at the most: born, and not listening yet."""
        # An end before a begin of the same moment.
        steps = sorted(
            step
            for birth in self.births.values()
            for step in ((birth.born, 1), (birth.listening if birth.listening is not None else float("inf"), -1))
        )
        most = now = 0
        for _, step in steps:
            now += step
            most = max(most, now)
        return most


def read_ledger(path: Path) -> Ledger:
    """Read it whole; a last line that is being written is left for the next time."""
    ledger = Ledger()
    text = path.read_text(encoding="ascii") if path.exists() else ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        tenant, instance, what, *rest = line.split()
        match what, rest:
            case "born", [at]:
                ledger.births[instance] = Birth(tenant, instance, float(at))
            case "listening", [at]:
                ledger.births[instance].listening = float(at)
            case "post", [identity, digest]:
                ledger.posts[identity, digest] += 1
            case _:
                raise ValueError(f"no line of a ledger: {line!r}")
    return ledger
