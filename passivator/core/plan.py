"""What to do next with one tenant: desired x observed x what the runtime says x now -> one action.

This is the whole reconciler. It is level-triggered: nothing depends on having seen an event, so that after any crash
the next call goes on from what is there. What the observed state becomes is read from the table of
``gogeta.domain.lifecycle``; this file only says what *happened*. It must not know how actions are performed.

A changed declaration of what runs (image, command, environment) takes effect at the tenant's next start: nobody is
cut off by an edit. Its policies (idle timeout, readiness, hosts) count at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gogeta.domain.lifecycle import Desired, Event, Observed
from gogeta.domain.state import ObservedState, Reason, ReasonCode
from passivator.core.tiers import Depth
from passivator.drivers.base import Runtime, Status

STALE_PAUSE: Final = 0.5
"""Seconds between looks at a registry that does not answer."""
_NEVER_SERVED: Final = frozenset({ReasonCode.NOT_READY, ReasonCode.UNHEALTHY})
_LONGEST_MESSAGE: Final = 500
"""Most characters of a reason: a tenant's last output may stand in it."""


class StopCause(StrEnum):
    """Why something is stopped."""

    ASLEEP = "asleep"
    """It should not run."""
    FAILED_START = "failed-start"
    """It should run, but this start of it never became ready: the next try begins anew."""


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the runtime what is there."""


@dataclass(frozen=True, slots=True)
class Start:
    """Have the runtime start it (in its turn). ``event`` is what this is to the observed state."""

    event: Event


@dataclass(frozen=True, slots=True)
class AwaitReady:
    """It runs: find out whether this instance is ready."""

    instance: str
    event: Event


@dataclass(frozen=True, slots=True)
class Stop:
    """Have the runtime stop it. For ASLEEP only with the registry's word that it should still not run."""

    cause: StopCause


@dataclass(frozen=True, slots=True)
class Pause:
    """Have the runtime freeze it. Only with the registry's word that it should still be asleep."""


@dataclass(frozen=True, slots=True)
class Resume:
    """It is paused and should run: have the runtime continue it, which takes no turn among starts."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The very start runs again that was ready before it was paused: it need not show that anew."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody started it by hand, and it is one whose containers are others' to start: have it be started."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something happened that only has to be recorded."""

    event: Event
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Its declaration is gone: end and remove all that ran for it, then forget it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing before ``until``, unless something changes."""

    until: float


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it should be."""


Action = Look | Start | AwaitReady | Stop | Pause | Resume | Resumed | Follow | Note | Remove | Wait | Nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a decision rests on."""

    desired: Desired | None
    """None when the declaration is gone."""
    observed: ObservedState
    runtime: Runtime | None
    """What the runtime said since the last action; None: not looked."""
    fresh: bool = True
    """Whether our copy of the registry is current, as far as we know."""
    settled_at: float = 0.0
    """Until then proxies may still take back a decision to sleep, or have something in flight."""
    depth: Depth = Depth.STOP
    """How deep it sleeps, where it should be asleep."""
    retry_at: float = 0.0
    """After failed starts: no other one before this."""
    stop_retry_at: float = 0.0
    failure: Reason | None = None
    """Why the last start failed, while that still holds other starts back."""
    follows: bool = False
    """Whether a start by hand while it is asleep counts as a wake, because its containers declare it."""
    attempt: str = ""
    """The instance that this process started last and that was not ready yet."""


def plan(view: View, now: float) -> Action:
    """The next action for one tenant. Times are of one monotonic clock."""
    if view.desired is None:
        return Remove() if view.fresh else Wait(now + STALE_PAUSE)
    if view.desired is Desired.STARTED:
        return _towards_started(view, now)
    return _towards_asleep(view, now)


def _towards_started(view: View, now: float) -> Action:
    state = view.observed.state
    if view.runtime is None:
        # Asking the driver to start what runs already does no harm, so a wake need not look first.
        return _start(view, now) if state is Observed.STOPPED else Look()
    match view.runtime.status:
        case Status.RUNNING:
            return _running(view, view.runtime, now)
        case Status.ABSENT | Status.EXITED:
            lost_in_start = state is Observed.STARTING and view.attempt and view.attempt == view.observed.instance
            if state is Observed.STARTED or (lost_in_start and view.runtime.instance in ("", view.attempt)):
                return Note(Event.CRASHED, end_reason(view.runtime))
            return _start(view, now)
        case Status.BROKEN:
            return _broken(view, view.runtime, now)
        case Status.PAUSED if state is Observed.PAUSED and _same(view):
            return Resume() if view.fresh else Wait(now + STALE_PAUSE)
        case Status.STOPPING | Status.PAUSED:
            return _start(view, now)


def _running(view: View, runtime: Runtime, now: float) -> Action:
    observed = view.observed
    same = _same(view)
    if observed.state is Observed.STARTED:
        if same and observed.endpoints and set(observed.endpoints) <= set(runtime.endpoints):
            return Nothing()
        return AwaitReady(runtime.instance, Event.LAPSED)
    if observed.state is Observed.PAUSED and same and runtime.endpoints:
        return Resumed()
    never_served = observed.reason is not None and observed.reason.code in _NEVER_SERVED
    if observed.state is Observed.FAILED and same and never_served:
        return Stop(StopCause.FAILED_START) if now >= view.stop_retry_at else Wait(view.stop_retry_at)
    return AwaitReady(runtime.instance, Event.LAPSED)


def _broken(view: View, runtime: Runtime, now: float) -> Action:
    """A part of it has ended: known as a crash, then all of it is stopped and started anew, in order."""
    state = view.observed.state
    lost_in_start = state is Observed.STARTING and view.attempt and view.attempt == view.observed.instance
    if state is Observed.STARTED or (lost_in_start and runtime.instance == view.attempt):
        return Note(Event.CRASHED, end_reason(runtime))
    if state is Observed.FAILED:
        return Stop(StopCause.FAILED_START) if now >= view.stop_retry_at else Wait(view.stop_retry_at)
    return _start(view, now)


def _same(view: View) -> bool:
    """Whether the runtime has the very start that is on record."""
    return view.runtime is not None and bool(view.runtime.instance) and view.observed.instance == view.runtime.instance


def _start(view: View, now: float) -> Action:
    state = view.observed.state
    if now < view.retry_at:
        return Wait(view.retry_at) if state is Observed.FAILED else Note(Event.FAILED, view.failure)
    if not view.fresh:
        # A new start may get the address that proxies, who see no more than we do, still take for another tenant's.
        return Wait(now + STALE_PAUSE)
    return Start(Event.LAPSED if state is Observed.STARTED else Event.START)


def _towards_asleep(view: View, now: float) -> Action:
    if view.runtime is None:
        return Look()
    match view.runtime.status:
        case Status.ABSENT | Status.EXITED:
            return Nothing() if view.observed.state is Observed.STOPPED else Note(Event.EXITED)
        case Status.RUNNING | Status.BROKEN if _started_by_hand(view):
            return Follow() if view.fresh else Wait(now + STALE_PAUSE)
        case Status.PAUSED if _may_be_paused(view):
            return Nothing() if view.observed.state is Observed.PAUSED else Note(Event.PAUSED)
        case Status.RUNNING if _may_be_paused(view):
            settled = view.observed.state is not Observed.STARTED or now >= view.settled_at
            return Pause() if settled else Wait(view.settled_at)
        case Status.RUNNING | Status.STOPPING | Status.PAUSED | Status.BROKEN:
            until = view.stop_retry_at
            if view.observed.state is Observed.STARTED:
                until = max(until, view.settled_at)
            return Wait(until) if now < until else Stop(StopCause.ASLEEP)


def _started_by_hand(view: View) -> bool:
    """Whether it runs although it had been seen to rest, and whoever did that may: not after an operator's stop."""
    rested = view.observed.state is Observed.STOPPED
    return view.follows and rested and view.desired is Desired.PASSIVATED


def _may_be_paused(view: View) -> bool:
    """Whether it is paused instead of stopped: only a start that was ready, so that it need not show that again."""
    served = view.observed.state in (Observed.STARTED, Observed.PAUSED)
    return view.depth is Depth.PAUSE and served and _same(view)


def end_reason(runtime: Runtime) -> Reason:
    """Why something that should run does not, in the words of the runtime."""
    failure = runtime.failure
    if failure is None:
        return Reason(ReasonCode.EXITED, "it is not there any more")
    return Reason(failure.code, failure.message[:_LONGEST_MESSAGE])
