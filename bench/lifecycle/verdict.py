"""Was a request lost? A pure judgement of what a visitor got, with what the scenario knows of that time.

Right is the tenant's own answer, whole: its name, the token of one of its starts, the request's id, every byte. A
person may get the starting page instead. A program is held until its deadline, and only after that may it be told to
come again (503 with Retry-After). Everything else is lost, but for two things that this module names and that are
counted apart:

- an operator's sleep may cut a WebSocket or a download that was under way when it was asked for;
- local processes end together with passivator (that is the process driver's promise): what was under way with an
  application that was killed that way, or came before the next passivator had said so, ends with it. There is no such
  excuse with Docker.

The wrong tenant's answer, and one that does not fit its request, have no excuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """What became of a request."""

    OWN = "the tenant's own answer"
    PAGE = "the starting page"
    LATE = "503 with Retry-After, past its deadline"
    SLEPT = "cut by an operator's sleep"
    ENDED = "ended with its application, when passivator was killed"
    LOST = "LOST"


CUT_BY_SLEEP: Final = frozenset({"bulk", "slow-bulk", "socket", "long-socket"})
"""The kinds that an operator's sleep may cut, once they are under way."""


@dataclass
class Visit:
    """One request of one visitor, and what came of it. Times are seconds of the loop's clock."""

    kind: str
    tenant: str
    proxy: int
    """The number of the proxy that was asked."""
    id: str
    sent: float = 0.0
    ended: float = 0.0
    first_byte: float | None = None
    asleep: bool = False
    """Whether the tenant was not known to be up when it was sent."""
    status: int = 0
    whose: str = ""
    """The tenant that answered, as it says itself."""
    instance: str = ""
    retry_after: str = ""
    code: str = ""
    """Of a problem's document: why the proxy answered by itself."""
    page: bool = False
    """It is a page for a person."""
    digest: str = ""
    """Of the body that was sent."""
    under_way: bool = False
    """The tenant's answer, or the WebSocket, had begun."""
    wrong: str = ""
    """What is wrong with the tenant's answer: it does not fit the request."""
    trouble: str = ""
    """How it ended, if not by a whole answer."""
    verdict: Verdict = Verdict.LOST
    history: list[str] = field(default_factory=list)
    """The tenant's states around it: only where it was lost."""


def judge(visit: Visit, *, deadline: float, slept: bool, orphaned: bool) -> Verdict:
    """The verdict on a visit.

    ``deadline``: seconds for which programs are held. ``slept``: an operator asked for the tenant's sleep while it was
    under way. ``orphaned``: its application was killed with passivator, and the registry did not say so yet.
    """
    if visit.wrong or visit.whose not in ("", visit.tenant):
        return Verdict.LOST
    if not visit.trouble and visit.whose == visit.tenant and visit.status in (101, 200):
        return Verdict.OWN
    if not visit.trouble and visit.status == 503 and visit.retry_after:
        if visit.kind == "page" and visit.page:
            return Verdict.PAGE
        if visit.ended - visit.sent >= deadline:
            return Verdict.LATE
    if slept and visit.under_way and visit.kind in CUT_BY_SLEEP:
        return Verdict.SLEPT
    return Verdict.ENDED if orphaned else Verdict.LOST
