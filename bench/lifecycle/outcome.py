"""What came of a run of zero-lost: every visit with its verdict, beside what the applications say they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.lifecycle.ledger import Ledger
from bench.lifecycle.verdict import Verdict, Visit


@dataclass
class Outcome:
    """What came of a run."""

    visits: list[Visit]
    ledger: Ledger
    tenants: int
    seconds: float
    passivations: Counter[str]
    taken_back: int
    stops: int
    sleeps: int
    faults: Counter[str]
    programs: list[str] = field(default_factory=list)
    """What a program wrote that it should not have."""

    @property
    def cycles(self) -> int:
        """A stop and a wake each: stops, and starts after the first one of each tenant, whichever are fewer."""
        return max(0, min(self.stops, self.ledger.starts() - self.tenants))

    @property
    def lost(self) -> list[Visit]:
        """Requests that were lost."""
        return [visit for visit in self.visits if visit.verdict is Verdict.LOST]

    def violations(self, cycles: int) -> list[str]:
        """What must not be, in words; at least so many ``cycles`` have to be."""
        found = [f"{len(self.lost)} requests lost"] if self.lost else []
        found += [
            f"the body of {identity} was taken {count} times"
            for (identity, _), count in self.ledger.posts.items()
            if count > 1
        ]
        ids = Counter(identity for identity, _ in self.ledger.posts)
        found += [f"{identity} was taken with {count} different bodies" for identity, count in ids.items() if count > 1]
        instances = {birth.instance: birth.tenant for birth in self.ledger.births.values()}
        for visit in self.visits:
            if visit.verdict is not Verdict.OWN:
                continue
            if instances.get(visit.instance) != visit.tenant:
                found.append(f"{visit.id} was answered by {visit.instance!r}, which is no start of {visit.tenant}")
            if visit.digest and not self.ledger.posts[visit.id, visit.digest]:
                found.append(f"{visit.id} was answered, and its application did not take it as it was sent")
        if self.cycles < cycles:
            found.append(f"{self.cycles} cycles, {cycles} were wanted")
        return [*found, *self.programs]

    def exceptions(self) -> Counter[str]:
        """What came where it was neither the tenant's own answer nor the page, by verdict."""
        return Counter(
            f"{visit.verdict.name.lower()}: {visit.kind}, {visit.status or 'no status'} {visit.code or visit.trouble}"
            for visit in self.visits
            if visit.verdict not in (Verdict.OWN, Verdict.PAGE)
        )

    def wakes(self, kinds: Sequence[str]) -> list[float]:
        """Milliseconds from the request to the tenant's first byte, of those who came while it was not up."""
        return [
            (visit.first_byte - visit.sent) * 1000
            for visit in self.visits
            if visit.asleep and visit.verdict is Verdict.OWN and visit.first_byte is not None and visit.kind in kinds
        ]
