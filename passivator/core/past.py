"""What a tenant's past starts tell of its next one, and how often its place in the queue is told.

Kept in the observed state, so that every proxy can say how long a start usually takes; it knows no tenant.
"""

from __future__ import annotations

from collections.abc import Sequence

from gogeta.domain.state import PAST_STARTS, Phase


def past_starts(before: tuple[float, ...], phases: Sequence[Phase]) -> tuple[float, ...]:
    """The history with one more start, whose finished steps are ``phases``: its time from its turn to ready, in ms.

    The wait for its turn is left out, because that is the others' time. A start that we have seen only the end of
    (another passivator began it) says nothing, and leaves the history as it is.
    """
    steps = {phase.name: phase.ms for phase in phases}
    if "started" not in steps or "ready" not in steps:
        return before
    return (*before, round(steps["started"] + steps["ready"], 3))[-PAST_STARTS:]


def place_told_again(ahead: int) -> float:
    """Seconds after which a place in the queue with ``ahead`` others before it is looked at again.

    Near the front it is soon; further behind rarely, so that a long queue does not become a storm of writes.
    """
    return min(0.5 + ahead * 0.1, 20.0)
