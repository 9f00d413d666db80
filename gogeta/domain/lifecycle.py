"""The life cycle as tables: desired states, observed states, what may follow what, and what a visitor meets.

All rules about states live here and nowhere else; neither program keeps a copy. *Desired* is what a tenant should be
and changes only by compare-and-set; *observed* is what it is, and only passivator writes it. What a visitor meets
follows from the two alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Desired(StrEnum):
    """What a tenant should be."""

    STARTED = "started"
    PASSIVATED = "passivated"
    """Asleep, paused or with nothing running: the next request wakes it."""
    STOPPED = "stopped"
    """An operator's stop: nothing runs, and requests do not wake it."""


class Observed(StrEnum):
    """What a tenant is, as passivator last saw it in the runtime."""

    STOPPED = "stopped"
    STARTING = "starting"
    """Started or being started, and not ready yet."""
    STARTED = "started"
    """Ready: its endpoints answer."""
    STOPPING = "stopping"
    PAUSED = "paused"
    FAILED = "failed"
    """A start did not succeed, or it ended by itself; the reason is recorded beside it."""


class Cause(StrEnum):
    """Why a desired state is changed: the rows of the transition table."""

    REQUEST = "request"
    """A visitor's request met a passivated tenant."""
    IN_USE = "in-use"
    """A proxy had the tenant in use while it was being passivated."""
    IDLE = "idle"
    """Nobody used it for its idle timeout."""
    ROOM = "room"
    """Memory was short, others wait for it, and nobody was using this one."""
    WAKE = "wake"
    """An operator or a platform asked for a wake."""
    HOURS = "hours"
    """Hours in which it is to run have begun."""
    SLEEP = "sleep"
    """An operator asked for it to be passivated now."""
    STOP = "stop"
    START = "start"


class Event(StrEnum):
    """What happens to a tenant in the runtime: the columns of the observed state's table."""

    START = "start"
    """A start was asked of the runtime."""
    READY = "ready"
    """It runs, and its readiness check passed."""
    LAPSED = "lapsed"
    """It runs, but not the way it was known: another start or another address. Readiness has to be shown again."""
    FAILED = "failed"
    """A start or a stop did not succeed."""
    STOP = "stop"
    """A stop was asked of the runtime."""
    EXITED = "exited"
    """It does not run any more, and that was asked for."""
    CRASHED = "crashed"
    """It does not run any more, and nobody had asked for that."""
    PAUSED = "paused"


DESIRED_TRANSITIONS: Final[Mapping[Desired, Mapping[Cause, Desired]]] = {
    Desired.PASSIVATED: {
        Cause.REQUEST: Desired.STARTED,
        Cause.IN_USE: Desired.STARTED,
        Cause.WAKE: Desired.STARTED,
        Cause.HOURS: Desired.STARTED,
        Cause.START: Desired.STARTED,
        Cause.SLEEP: Desired.PASSIVATED,
        Cause.STOP: Desired.STOPPED,
    },
    Desired.STARTED: {
        Cause.REQUEST: Desired.STARTED,
        Cause.IN_USE: Desired.STARTED,
        Cause.WAKE: Desired.STARTED,
        Cause.HOURS: Desired.STARTED,
        Cause.START: Desired.STARTED,
        Cause.IDLE: Desired.PASSIVATED,
        Cause.ROOM: Desired.PASSIVATED,
        Cause.SLEEP: Desired.PASSIVATED,
        Cause.STOP: Desired.STOPPED,
    },
    # Only an operator's own word ends an operator's stop: no request, no wake and no timer does.
    Desired.STOPPED: {
        Cause.START: Desired.STARTED,
        Cause.SLEEP: Desired.PASSIVATED,
        Cause.STOP: Desired.STOPPED,
    },
}
"""desired state -> cause -> next desired state. A missing cause is refused."""

OBSERVED_TRANSITIONS: Final[Mapping[Observed, Mapping[Event, Observed]]] = {
    Observed.STOPPED: {
        Event.START: Observed.STARTING,
        Event.LAPSED: Observed.STARTING,
        Event.EXITED: Observed.STOPPED,
        Event.FAILED: Observed.FAILED,
        Event.PAUSED: Observed.PAUSED,
        Event.STOP: Observed.STOPPING,
    },
    Observed.STARTING: {
        Event.START: Observed.STARTING,
        Event.LAPSED: Observed.STARTING,
        Event.READY: Observed.STARTED,
        Event.FAILED: Observed.FAILED,
        Event.CRASHED: Observed.FAILED,
        Event.EXITED: Observed.STOPPED,
        Event.PAUSED: Observed.PAUSED,
        Event.STOP: Observed.STOPPING,
    },
    Observed.STARTED: {
        Event.LAPSED: Observed.STARTING,
        Event.READY: Observed.STARTED,
        Event.FAILED: Observed.FAILED,
        Event.CRASHED: Observed.FAILED,
        Event.EXITED: Observed.STOPPED,
        Event.PAUSED: Observed.PAUSED,
        Event.STOP: Observed.STOPPING,
    },
    Observed.STOPPING: {
        Event.EXITED: Observed.STOPPED,
        Event.FAILED: Observed.FAILED,
        # A stop that a restart of passivator interrupted, and that the runtime never carried out.
        Event.LAPSED: Observed.STARTING,
        Event.START: Observed.STARTING,
        Event.STOP: Observed.STOPPING,
        Event.PAUSED: Observed.PAUSED,
    },
    Observed.PAUSED: {
        Event.START: Observed.STARTING,
        Event.LAPSED: Observed.STARTING,
        Event.STOP: Observed.STOPPING,
        Event.EXITED: Observed.STOPPED,
        Event.CRASHED: Observed.FAILED,
        Event.FAILED: Observed.FAILED,
        Event.PAUSED: Observed.PAUSED,
    },
    Observed.FAILED: {
        Event.START: Observed.STARTING,
        Event.LAPSED: Observed.STARTING,
        Event.STOP: Observed.STOPPING,
        Event.EXITED: Observed.STOPPED,
        Event.FAILED: Observed.FAILED,
        Event.PAUSED: Observed.PAUSED,
    },
}
"""observed state -> what happened -> next observed state. A missing event is our own mistake."""


class Meeting(StrEnum):
    """What a visitor meets."""

    FORWARD = "forward"
    """The tenant answers."""
    WAKE = "wake"
    """Asleep: ask for a wake, then wait."""
    WAIT = "wait"
    """It is on its way up: wait, nothing to ask for."""
    STOPPED = "stopped"
    """An operator stopped it: say so; a request does not wake it."""
    FAILED = "failed"
    """It could not be started: say so; it is tried again by itself."""


_ANY: Final = tuple(Observed)

MEETINGS: Final[Mapping[tuple[Desired, Observed], Meeting]] = {
    **{(Desired.STOPPED, observed): Meeting.STOPPED for observed in _ANY},
    # Also while it still runs: the stop has been decided, and only a new wake may undo it.
    **{(Desired.PASSIVATED, observed): Meeting.WAKE for observed in _ANY},
    (Desired.STARTED, Observed.STOPPED): Meeting.WAIT,
    (Desired.STARTED, Observed.STARTING): Meeting.WAIT,
    (Desired.STARTED, Observed.STARTED): Meeting.FORWARD,
    (Desired.STARTED, Observed.STOPPING): Meeting.WAIT,
    (Desired.STARTED, Observed.PAUSED): Meeting.WAIT,
    (Desired.STARTED, Observed.FAILED): Meeting.FAILED,
}


def meet(desired: Desired, observed: Observed) -> Meeting:
    """What a visitor meets: the one function of desired and observed that both programs use.

    It is total: every pair of states has an answer.
    """
    return MEETINGS[desired, observed]


def next_desired(current: Desired, cause: Cause) -> Desired | None:
    """The desired state after ``cause``, or None when the table refuses it."""
    return DESIRED_TRANSITIONS[current].get(cause)


def next_observed(current: Observed, event: Event) -> Observed:
    """The observed state after ``event``. Raises KeyError for a pair the table does not have: our own mistake."""
    return OBSERVED_TRANSITIONS[current][event]
