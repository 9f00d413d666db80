"""One tenant's way: desired + observed + now -> plan -> driver -> observed, one step after the other.

Each tenant has one worker, so that nothing about it ever happens twice at once; workers run side by side. What to do
comes from ``core.plan``, whether it may sleep from ``slumber``, when to try again from ``core.retry``; this file
performs it and says what happened. Every step that fails ends in a recorded reason or in another try after a growing
pause.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
from dataclasses import replace
from typing import Final, assert_never

from gogeta.domain.errors import TransitionRefusedError, UnknownTenantError
from gogeta.domain.lifecycle import Cause, Desired, Event, Observed
from gogeta.domain.quantities import format_size
from gogeta.domain.state import ObservedState, Phase, Reason, ReasonCode, TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic, wall_ms
from gogeta.registry.store import RegistryError
from passivator.core import plan as act
from passivator.core.past import past_starts, place_told_again
from passivator.core.plan import StopCause, View, plan
from passivator.core.retry import NEVER, Retry, RetryPolicy
from passivator.core.tiers import Depth
from passivator.drivers.base import (
    DriverError,
    Runtime,
    RuntimeUnavailableError,
    StartFailedError,
    Status,
    StopFailedError,
)
from passivator.ownership import GRACE, nobody_runs
from passivator.pacing import AT_ONCE, UNTIL_POKED, Pace
from passivator.readiness import NeverReady, NotYet, Readiness, Ready
from passivator.recorder import Recorder
from passivator.slumber import Slumber
from passivator.startqueue import Turn
from passivator.surroundings import Surroundings

logger = logging.getLogger(__name__)

_AT_REST: Final = frozenset({Observed.STOPPED, Observed.FAILED})
_NOT_THERE: Final = frozenset({Status.ABSENT, Status.EXITED})
_REFUSED_PAUSE: Final = 10.0
"""Longest wait until a start is asked for again that was refused a place in the queue."""
_ROOM_LOOK: Final = 0.05
_FOLLOWED: Final = 0.5
"""Seconds in which our own wish comes back to us, before we look again."""
_OPERATORS: Final = frozenset({Cause.START, Cause.WAKE})


class Worker:
    """Brings one tenant to where it should be, and keeps it there."""

    def __init__(self, name: TenantName, around: Surroundings) -> None:
        """Begin with what the registry says of it."""
        self.name = name
        self._around = around
        self._kind = around.driver.kind
        record = around.mirror.records.get(name)
        observed, revision = around.mirror.observed(name)
        self.recorder = Recorder(around.registry, name, observed, revision, around.tasks)
        self.finished = False
        """Whether the tenant is gone, and this worker with it."""
        self.pace = Pace(f"tenant {name}", self._guarded_step, around.tasks)
        self._trouble = Backoff(first=0.2, limit=10.0)
        self.slumber = Slumber(name, around, self.pace.changed)
        # What is known of it beside the registry:
        self.occupies = observed.state not in _AT_REST
        """Whether it takes memory: it runs, is paused or is being started, as far as is known."""
        self._looked: Runtime | None = None
        self._desired_revision = -1
        self._slept_by = record.desired_revision if record is not None and observed.state is Observed.PAUSED else -1
        """The wish of the last sleep that was counted."""
        self._decided_at = 0.0
        self._ours = {"driver": self._kind, "group": around.owner.group}
        self._retry = _retry_on_record(observed.reason, around.retry)
        self._failure = observed.reason
        self._stop_retry = Retry()
        self._left_over = False
        """Whether the runtime still has something that we ran before the declaration went to another driver."""
        self._unowned_since: float | None = None
        # The start under way:
        self._attempt = ""
        self._readiness: Readiness | None = None
        self._queued_since: float | None = None
        self._phases: tuple[Phase, ...] = ()
        self._started_at: float | None = None
        if record is not None:
            self._notice(record)

    def __repr__(self) -> str:
        """One line: state, and whether it is at work."""
        return f"<Worker {self.name} {self.observed.state} {'working' if self.pace.at_work else 'resting'}>"

    @property
    def observed(self) -> ObservedState:
        """What the tenant is, as decided last."""
        return self.recorder.observed

    @property
    def waits_for_proxies(self) -> bool:
        """Whether a stop waits for proxies to have heard of it, and to have nothing in flight."""
        return self.slumber.waits_for_proxies

    @property
    def _runtime(self) -> Runtime | None:
        """What the runtime said since the last action; None: not looked."""
        return self._looked

    @_runtime.setter
    def _runtime(self, runtime: Runtime | None) -> None:
        self._looked = runtime
        if runtime is not None:
            self._occupy(runtime.status not in _NOT_THERE)

    def _occupy(self, occupies: bool) -> None:  # noqa: FBT001 - a fact
        before, self.occupies = self.occupies, occupies
        if before and not occupies:
            self._around.queue.review()

    def poke(self) -> None:
        """Something may have changed: look, soon."""
        if not self.finished:
            self.pace.poke()

    def compare(self, runtime: Runtime) -> None:
        """What a listing of the runtime says of it: look closer if anything is to be done about that."""
        record = self._around.mirror.records.get(self.name)
        # A listing is of a moment ago: that nothing runs counts only where nothing has begun since.
        if runtime.status not in _NOT_THERE:
            self._occupy(True)  # noqa: FBT003 - a fact
        elif self.observed.state in _AT_REST and not self.pace.at_work:
            self._occupy(self._around.queue.starts(self.name))
        if record is not None and not self._around.owner.owns(record):
            if runtime.status is not Status.ABSENT and self._around.owner.left_over(record):
                self._left_over = True
                self.poke()
            return
        if record is None or not isinstance(plan(self._view(record, runtime), monotonic()), act.Nothing | act.Wait):
            self.poke()

    async def _guarded_step(self) -> float:
        try:
            pause = await self._step()
        except RegistryError as error:
            logger.info("tenant %s: waiting for the registry: %s", self.name, error)
        except RuntimeUnavailableError as error:
            self._around.runtime_gone(error)
            logger.info("tenant %s: waiting for the runtime: %s", self.name, error)
        except DriverError as error:
            logger.warning("tenant %s: %s", self.name, error)
        except Exception:
            self._around.meters.faults.inc()
            logger.exception("tenant %s: a mistake of ours; trying again", self.name)
        else:
            if pause != AT_ONCE:
                self._trouble.reset()
            return pause
        self._runtime = None
        return self._trouble.next()

    # ------------------------------------------------------------------------------------------ one step

    async def _step(self) -> float:
        record = self._around.mirror.records.get(self.name)
        if record is not None:
            self._notice(record)
            if not self._around.owner.owns(record):
                return await self._leave_alone(record)
            if self.observed.group not in ("", self._around.owner.group) and not await self._claim():
                return AT_ONCE
        runtime, self._runtime = self._runtime, None
        action = plan(self._view(record, runtime), monotonic())
        if record is None:
            return await self._remove() if isinstance(action, act.Remove) else act.STALE_PAUSE
        if isinstance(action, act.Follow):
            return await self._follow(record)
        return await self._perform(record, runtime, action)

    async def _perform(self, record: TenantRecord, runtime: Runtime | None, action: act.Action) -> float:
        pause = AT_ONCE
        match action:
            case act.Look():
                self._runtime = await self._around.driver.inspect(record.tenant)
            case act.Start(event):
                pause = await self._start(record, event)
            case act.AwaitReady(_, event):
                assert runtime is not None  # noqa: S101 - the plan has just read it
                pause = await self._await_ready(record, runtime, event)
            case act.Stop(cause):
                pause = await self._stop(record, cause)
            case act.Pause():
                pause = await self._pause(record)
            case act.Resume():
                await self._resume(record)
            case act.Resumed():
                assert runtime is not None  # noqa: S101 - the plan has just read it
                self._resumed(record, runtime)
            case act.Note(event, reason):
                self._happened(record, event, reason)
            case act.Wait(until):
                consider = self.slumber.consider(record, self.observed)
                pause = min(max(until - monotonic(), 0.001), await consider, self._admit_visitors())
            case act.Nothing():
                self._keep_up(record)
                pause = await self.slumber.consider(record, self.observed)
            case act.Remove() | act.Follow():
                raise AssertionError("this has no part in what is done with the runtime")
            case _:
                assert_never(action)
        return pause

    def _view(self, record: TenantRecord | None, runtime: Runtime | None) -> View:
        slumber = self.slumber
        return View(
            desired=record.desired.state if record is not None else None,
            observed=self.observed,
            runtime=runtime,
            fresh=self._around.fresh(),
            settled_at=slumber.settled_at(record, self.observed, self._decided_at) if record is not None else 0.0,
            depth=slumber.depth(record, self.observed) if record is not None else Depth.STOP,
            retry_at=self._retry.not_before,
            stop_retry_at=self._stop_retry.not_before,
            failure=self._failure,
            attempt=self._attempt,
            follows=record is not None and record.tenant.discovered,
        )

    def _notice(self, record: TenantRecord) -> None:
        """Take in a new desired state."""
        self.recorder.adopt(record.observed, record.observed_revision)
        if record.desired_revision == self._desired_revision:
            return
        first_sight, self._desired_revision = self._desired_revision < 0, record.desired_revision
        unheard = not first_sight or record.desired.wakes > self.observed.wakes
        now = monotonic()
        self._decided_at = now
        self._stop_retry = Retry()
        if record.desired.state is Desired.STARTED:
            self._around.policy.touched(self.name, now, first_hand=not first_sight)
            if record.desired.cause in _OPERATORS and unheard:
                # An operator's word is worth a try at once.
                self._retry = self._retry.once(now)
            elif record.desired.cause is Cause.REQUEST and unheard:
                self._retry = self._retry.asked_by_visitor(now)
        else:
            self._leave_queue()

    def _note(self, record: TenantRecord, event: Event, *, urgent: bool = False, **parts: object) -> None:
        """Record what follows from ``event``; ``parts`` are the other fields that change with it."""
        after = self.recorder.after(event, **{"wakes": record.desired.wakes, **self._ours, **parts})
        if after.state is not self.observed.state:
            # The line that counts is that of what is written (transitions.py).
            logger.debug(
                "tenant %s is %s%s", self.name, after.state, f": {after.reason.message}" if after.reason else ""
            )
        self.recorder.note(after, urgent=urgent)

    # ------------------------------------------------------------------------------------------ up

    async def _start(self, record: TenantRecord, event: Event) -> float:
        around, now = self._around, monotonic()
        if self._queued_since is None:
            self._queued_since = now
        need = around.need(record.tenant)
        # Its place is that of its asking, however long the claim of it takes.
        turn = around.queue.enter(self.name, self.poke, now=now, need=need, failures=self._retry.failures)
        if not self.observed.group and not await self._claim():
            return AT_ONCE
        if turn is not Turn.NOW:
            return self._wait_for_turn(record, event, turn, now - self._queued_since)
        self._occupy(True)  # noqa: FBT003 - a fact
        queued = Phase("queued", _ms(monotonic() - self._queued_since))
        self._note(record, event, phase="starting", instance="", phases=(queued,), reason=self.observed.reason)
        if self.recorder.revision == 0 or self.recorder.written.endpoints:
            # Before anything runs there is a record of it, and nobody is sent to an earlier start's address any more.
            await self.recorder.flush()
        began = monotonic()
        try:
            runtime = await around.driver.start(record.tenant)
        except StartFailedError as error:
            self._occupy(False)  # noqa: FBT003 - a fact
            self._failed(record, error.reason)
            return AT_ONCE
        except DriverError:
            self._note(record, Event.START, phase="waiting for the runtime", instance="", phases=(queued,))
            self._leave_queue()
            raise
        self._phases = (queued, Phase("started", _ms(monotonic() - began)))
        self._attempt = runtime.instance
        # From when it runs: what the runtime itself took is no fault of the tenant's.
        self._readiness = Readiness(record.tenant, runtime.instance, monotonic())
        self._runtime = runtime
        return AT_ONCE

    def _wait_for_turn(self, record: TenantRecord, event: Event, turn: Turn, waited: float) -> float:
        """It is not to start now: it waits in the queue, or is refused a place there, by name."""
        around = self._around
        queue, need = around.queue, format_size(around.need(record.tenant))
        most = "" if queue.memory is None else format_size(queue.memory)
        match turn:
            case Turn.FULL:
                return self._refused(record, ReasonCode.QUEUE_FULL, f"{queue.waiting} starts are waiting already")
            case Turn.TOO_LARGE:
                message = f"it needs {need} of memory, and all tenants together may have {most}"
                return self._refused(record, ReasonCode.NO_ROOM, message)
            case Turn.LATER if queue.missing and waited >= around.room_timeout:
                message = f"no memory became free for it in {waited:.0f} s: it needs {need} of {most}"
                return self._refused(record, ReasonCode.NO_ROOM, message)
        ahead = queue.ahead_of(self.name)
        phase = f"waiting for its turn, {ahead} before it"
        if queue.missing:
            phase = f"waiting for {need} of memory, {format_size(queue.missing)} short, {ahead} before it"
        if phase != self.observed.phase or self.observed.state is not Observed.STARTING:
            self._note(record, event, phase=phase, ahead=ahead, instance="", phases=())
        # Its turn pokes us; till then its place is told anew once in a while.
        pause = UNTIL_POKED if queue.memory is None else max(around.room_timeout - waited, _ROOM_LOOK)
        return min(pause, place_told_again(ahead))

    def _refused(self, record: TenantRecord, code: ReasonCode, message: str) -> float:
        """No start was begun, for no fault of the tenant's."""
        pause = _REFUSED_PAUSE * (0.5 + random.random() / 2)  # noqa: S311 - jitter
        self._retry = self._retry.postponed(monotonic() + pause)
        self._around.meters.refused_starts.labels(code.value).inc()
        self._fall(record, Event.FAILED, Reason(code, message), instance="")
        return AT_ONCE

    async def _claim(self) -> bool:
        """Take a tenant that no group has, before anything of it is done; False when another was first."""
        holder = self.observed.group
        if await self.recorder.claim(replace(self.observed, driver=self._kind, group=self._around.owner.group), holder):
            return True
        self._leave_queue()
        return False

    async def _await_ready(self, record: TenantRecord, runtime: Runtime, event: Event) -> float:
        around = self._around
        around.queue.join(self.name, around.need(record.tenant))
        if self._readiness is None or self._readiness.instance != runtime.instance:
            # It was not us who started it, or that was before a restart of ours.
            self._attempt, self._phases = runtime.instance, ()
            self._readiness = Readiness(record.tenant, runtime.instance, monotonic())
        self._note(record, event, phase="waiting until it is ready", instance=runtime.instance, phases=self._phases)
        if self.recorder.written.endpoints and self.recorder.pending:
            await self.recorder.flush()
        readiness = self._readiness
        match await readiness.check(runtime, self.pace.changed):
            case Ready(endpoints):
                self._runtime = await around.driver.inspect(record.tenant)
                # Only if the one that answered is the one that runs: its address may have been another's for a moment.
                if self._runtime.status is Status.RUNNING and self._runtime.instance == readiness.instance:
                    self._succeeded(record, endpoints)
            case NeverReady(reason):
                self._failed(record, reason)
            case NotYet():
                pass
            case outcome:
                assert_never(outcome)
        return AT_ONCE

    def _succeeded(self, record: TenantRecord, endpoints: tuple[Endpoint, ...]) -> None:
        assert self._readiness is not None  # noqa: S101 - it has just answered
        around, now = self._around, monotonic()
        phases = (*self._phases, Phase("ready", _ms(now - self._readiness.began)))
        past = past_starts(self.observed.past_starts, phases)
        self._note(
            record,
            Event.READY,
            urgent=True,
            endpoints=endpoints,
            instance=self._attempt,
            phases=phases,
            past_starts=past,
        )
        for phase in phases:
            around.meters.start_seconds.labels(phase.name).observe(phase.ms / 1000)
        around.meters.start_seconds.labels("total").observe(sum(phase.ms for phase in phases) / 1000)
        around.meters.starts.labels("ok", "").inc()
        self._started_at = now
        around.policy.touched(self.name, now)
        self._end_attempt()

    def _keep_up(self, record: TenantRecord) -> None:
        """A wake of what was up anyway, e.g. a sleep taken back, is answered as well: somebody waits for its number."""
        observed = self.observed
        if observed.state is Observed.STARTED and observed.wakes != record.desired.wakes:
            self._note(record, Event.READY, urgent=True, endpoints=observed.endpoints)

    def _failed(self, record: TenantRecord, reason: Reason) -> None:
        """A start did not succeed."""
        self._retry = self._retry.failed(self._around.retry, monotonic(), random.random())  # noqa: S311 - jitter
        instance = self._attempt
        self._fall(record, Event.FAILED, reason, instance=instance)
        self._around.meters.starts.labels("failed", reason.code.value).inc()

    def _fall(self, record: TenantRecord, event: Event, reason: Reason, *, instance: str) -> None:
        retry = self._retry
        if retry.given_up:
            in_ms = math.inf
            message = f"given up after {retry.failures} failures in a row: {reason.message}"
            self._failure = replace(reason, message=message, failures=retry.failures, given_up=True)
            self._around.meters.given_up.labels(reason.code.value).inc()
        else:
            in_ms = max(retry.not_before - monotonic(), 0.0) * 1000
            self._failure = replace(reason, retry_at=wall_ms() + round(in_ms), failures=retry.failures)
        # At once only when it stays so for a while: a start that follows directly overtakes it.
        self._note(record, event, urgent=in_ms > 0, reason=self._failure, instance=instance, phases=self._phases)
        self._started_at = None
        self._end_attempt()

    def _admit_visitors(self) -> float:
        """Of one that was given up: let a visitor's request ask for a try, when it is time; seconds until then."""
        retry, reason = self._retry, self.observed.reason
        if not retry.given_up or self.observed.state is not Observed.FAILED or reason is None or reason.on_request:
            return UNTIL_POKED
        if (left := retry.asks_from - monotonic()) > 0:
            return left
        self._failure = replace(reason, given_up=True, failures=retry.failures, retry_at=None, on_request=True)
        self.recorder.note(replace(self.observed, reason=self._failure), urgent=True)
        return UNTIL_POKED

    def _end_attempt(self) -> None:
        self._attempt, self._readiness, self._phases = "", None, ()
        self._leave_queue()

    def _leave_queue(self) -> None:
        self._queued_since = None
        self._around.queue.leave(self.name)

    async def _follow(self, record: TenantRecord) -> float:
        """Whoever started its containers wants it to run: as `gogeta start`, it sleeps when nobody uses it."""
        # An operator's stop, or a removal, that came meanwhile counts more.
        with contextlib.suppress(TransitionRefusedError, UnknownTenantError):
            await self._around.registry.change_desired(self.name, Cause.START, known=record)
            logger.info("tenant %s was started by hand", self.name)
        return _FOLLOWED

    # ------------------------------------------------------------------------------------------ down

    async def _pause(self, record: TenantRecord) -> float:
        around = self._around
        if not await self.slumber.yielded(record, self.observed, self._decided_at):
            return 0.25
        # Said before it is done, as a stop is: no wake crosses it, and what was said is carried out after a crash.
        paused = self.recorder.after(Event.PAUSED, **self._ours)
        if not await self.recorder.announce_stop(paused, record.desired_revision):
            around.meters.take_backs.inc()
            return 0.05
        logger.debug("tenant %s is paused", self.name)
        try:
            self._runtime = await around.driver.pause(record.tenant)
        except StopFailedError as error:
            around.meters.pauses.labels("failed").inc()
            self._runtime = await around.driver.inspect(record.tenant)
            if self._runtime.status is Status.RUNNING:
                logger.warning("tenant %s cannot be paused, so it is stopped: %s", self.name, error)
                self.slumber.can_pause = False
        else:
            around.meters.pauses.labels("ok").inc()
            self._fell_asleep(record)
        return AT_ONCE

    async def _resume(self, record: TenantRecord) -> None:
        began = monotonic()
        try:
            self._runtime = await self._around.driver.start(record.tenant)
        except StartFailedError as error:
            self._failed(record, error.reason)
            return
        self._phases = (Phase("resumed", _ms(monotonic() - began)),)

    def _resumed(self, record: TenantRecord, runtime: Runtime) -> None:
        around, now, phases = self._around, monotonic(), self._phases
        # Overtaken before it is written: it need not be shown to be ready again.
        self._note(record, Event.LAPSED, phase="resumed", instance=runtime.instance, phases=phases)
        self._note(
            record, Event.READY, urgent=True, endpoints=runtime.endpoints, instance=runtime.instance, phases=phases
        )
        for phase in phases:
            around.meters.start_seconds.labels(phase.name).observe(phase.ms / 1000)
        around.meters.resumes.inc()
        self._started_at = now
        around.policy.touched(self.name, now)
        self._end_attempt()

    async def _stop(self, record: TenantRecord, cause: StopCause) -> float:
        around = self._around
        if cause is StopCause.ASLEEP:
            if not await self.slumber.yielded(record, self.observed, self._decided_at):
                return 0.25
            stopping = self.recorder.after(Event.STOP, **self._ours)
            if not await self.recorder.announce_stop(stopping, record.desired_revision):
                around.meters.take_backs.inc()
                return 0.05
        self._end_attempt()
        try:
            self._runtime = await around.driver.stop(record.tenant)
        except StopFailedError as error:
            tireless = replace(around.retry, tries=0)
            self._stop_retry = self._stop_retry.failed(tireless, monotonic(), random.random())  # noqa: S311 - jitter
            around.meters.stops.labels("failed").inc()
            if cause is StopCause.FAILED_START:
                # Why it should be stopped stays its reason: it is that, not the stop, that an operator can mend.
                logger.warning("tenant %s: %s", self.name, error)
                return AT_ONCE
            retry_at = wall_ms() + round((self._stop_retry.not_before - monotonic()) * 1000)
            self._note(
                record, Event.FAILED, urgent=True, reason=Reason(ReasonCode.STOP_FAILED, error.message, retry_at)
            )
            return AT_ONCE
        self._stop_retry = Retry()
        around.meters.stops.labels("ok").inc()
        if cause is StopCause.ASLEEP:
            self._fell_asleep(record)
        return AT_ONCE

    def _fell_asleep(self, record: TenantRecord) -> None:
        """Count a sleep: one for each wish, also where a pause is followed by a stop."""
        if record.desired_revision != self._slept_by:
            self._slept_by = record.desired_revision
            self._around.meters.passivations.labels((record.desired.cause or Cause.SLEEP).value).inc()

    def _happened(self, record: TenantRecord, event: Event, reason: Reason | None) -> None:
        """Something that needs no driver call, only a record."""
        if event is Event.CRASHED and reason is not None:
            starting = self.observed.state is Observed.STARTING
            ran_for = 0.0 if starting else math.inf if self._started_at is None else monotonic() - self._started_at
            self._retry = self._retry.crashed(self._around.retry, monotonic(), random.random(), ran_for)  # noqa: S311
            if starting:
                self._around.meters.starts.labels("failed", reason.code.value).inc()
            else:
                self._around.meters.crashes.labels(reason.code.value).inc()
            self._fall(record, event, reason, instance=self.observed.instance)
        elif event is Event.EXITED:
            if self.observed.state in (Observed.STOPPING, Observed.STARTED):
                # It served and was put to sleep: earlier failures are history.
                self._retry, self._failure = Retry(), None
            self._note(record, event, urgent=True, reason=_without_retry(self.observed.reason))
            self._started_at = None
        else:
            self._note(record, event, urgent=True, reason=reason)

    async def _leave_alone(self, record: TenantRecord) -> float:
        """Its declaration is for another driver, or for none."""
        around, kind = self._around, self._kind
        self._end_attempt()
        # Theirs is what is written: it may be newer than anything that we have decided.
        held = self.observed.driver == kind and self.observed.group in ("", around.owner.group)
        if (self._left_over or held) and around.owner.left_over(record):
            logger.info("tenant %s is not run by %s any more: removing what is left", self.name, around.owner.group)
            await around.driver.remove(self.name)
            self._left_over = False
            self._occupy(False)  # noqa: FBT003 - a fact
            if held and (self.observed.state is not Observed.STOPPED or self.observed.group):
                self._note(record, Event.EXITED, urgent=True, driver="", group="")
                await self.recorder.flush()
        wanted = record.desired.state is Desired.STARTED and not record.tenant.routed_only
        if not wanted or self.observed.state is not Observed.STOPPED:
            self._unowned_since = None
            return UNTIL_POKED
        now = monotonic()
        if self._unowned_since is None:
            self._unowned_since = now
        if (left := self._unowned_since + GRACE - now) > 0:
            return max(left, 0.001)
        reason = await nobody_runs(around.registry, record, kind)
        if reason is None:
            return 30.0
        held_by = {"driver": self.observed.driver, "group": self.observed.group}
        self._note(record, Event.FAILED, urgent=True, reason=reason, **held_by)
        return UNTIL_POKED

    async def _remove(self) -> float:
        around = self._around
        if not around.owner.clears(self.observed):
            self._end_attempt()
            self._finish()
            return UNTIL_POKED
        if await around.registry.declared(self.name):
            # It is there after all: unreadable, or so new that what we know of it is on its way and will poke us.
            return 30.0
        self._end_attempt()
        # As every stop: should it be declared and woken again meanwhile, nobody is sent to what is about to go.
        if not await self.recorder.announce_removal(self.recorder.after(Event.STOP)):
            return 0.05
        await around.driver.remove(self.name)
        await around.registry.forget(self.name)
        around.policy.forget(self.name)
        around.queue.forget(self.name)
        self._occupy(False)  # noqa: FBT003 - a fact
        around.meters.removals.inc()
        self._finish()
        logger.info("tenant %s is removed", self.name)
        return UNTIL_POKED

    def _finish(self) -> None:
        """Take no step any more: should the tenant be declared again, that is for a worker of its own."""
        self.finished = True
        self.pace.close()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _retry_on_record(reason: Reason | None, policy: RetryPolicy) -> Retry:
    """What a restart of ours knows of earlier failures: when the next try was to be.

    Whoever wrote it may have had another clock: no wait is longer than the one that so many failures bring.
    """
    if reason is not None and reason.given_up:
        # Since when is not known on our clock: the next visitor is worth a try.
        return Retry(reason.failures, NEVER, monotonic())
    if reason is None or reason.retry_at is None:
        return Retry()
    failures = max(reason.failures, 1)
    left = max(reason.retry_at - wall_ms(), 0) / 1000
    return Retry(failures, monotonic() + min(left, policy.longest(failures)))


def _without_retry(reason: Reason | None) -> Reason | None:
    return replace(reason, retry_at=None, on_request=False) if reason is not None else None
