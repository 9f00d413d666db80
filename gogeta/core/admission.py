"""What happens with a request now: forward it, hold it, show a page, or refuse. One pure function of facts.

It is asked again whenever the tenant's record changes or the request's time is up, with the time waited so far; it
never remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gogeta.core.refusal import Reason
from gogeta.domain.lifecycle import Meeting
from gogeta.domain.tenant import Wake


@dataclass(frozen=True, slots=True)
class Forward:
    """Send it to the tenant."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Let it wait until the record changes, at most ``seconds`` from now; ``wake``: ask for a wake."""

    seconds: float
    wake: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Answer a person with the starting page; ``wake``: ask for a wake all the same."""

    wake: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error."""

    reason: Reason


Decision = Forward | Hold | Page | Refuse
FORWARD: Final = Forward()


def admit(meeting: Meeting, policy: Wake, *, navigation: bool, waited: float) -> Decision:
    """The decision for a request that has waited ``waited`` seconds so far.

    ``navigation``: a person's browser is going to this page.
    """
    if meeting is Meeting.FORWARD:
        return FORWARD
    if meeting is Meeting.STOPPED:
        return Refuse(Reason.STOPPED)
    if meeting is Meeting.FAILED:
        return Refuse(Reason.FAILED)
    wake = meeting is Meeting.WAKE
    paged = navigation and policy.mode != "hold"
    patience = (0.0 if policy.mode == "page" else policy.hold) if paged else policy.timeout
    left = patience - waited
    # Less than a millisecond left is over: timers fire a little early.
    if left > 0.001:
        return Hold(left, wake)
    return Page(wake) if paged else Refuse(Reason.WAKE_TIMEOUT)
