"""Whether one tenant may fall asleep, or sleep deeper, and what has to be asked and waited for before.

Between the pure rules (``idle``, ``lost``, ``schedule``, ``veto``, ``yielding`` and ``tiers`` of ``core``) and the
worker: it brings them their facts, writes down why a tenant is kept awake, and changes what it should be. It stops,
pauses and starts nothing itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, assert_never

from gogeta.domain.errors import TransitionRefusedError, UnknownTenantError
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.sleeping import Busy
from gogeta.domain.state import Judgement, ObservedState, TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.domain.wakefulness import AwakeReason, Keeps
from gogeta.kit.clock import monotonic, wall_ms
from gogeta.registry.store import RegistryError
from passivator import asking
from passivator.core import schedule
from passivator.core.idle import AskAgain, NeverSleeps, Passivate, Verdict
from passivator.core.tiers import Depth, depth, falls_asleep_after
from passivator.core.veto import Heard, KeepAwake, LetSleep, TryAgain, is_asked, weigh
from passivator.core.yielding import Go, TimeIsUp, WaitForProxies, may_stop
from passivator.pacing import AT_ONCE, UNTIL_POKED
from passivator.surroundings import Surroundings

logger = logging.getLogger(__name__)

_WRITTEN_AGAIN: Final = 30.0
"""Seconds after which reasons are written again although nothing but their details has changed."""
_NEWS: Final = 1.0
"""Seconds to wait for our copy of what we changed ourselves, which pokes us earlier."""
_OVERTAKEN: Final = 0.25
_LOOK_FOR_ROOM: Final = 1.0
"""Seconds between looks of a paused tenant at whether others wait for its memory."""


def kept_awake(around: Surroundings, record: TenantRecord, now: float) -> bool:
    """Whether it is spared when others want its memory: in its hours, in use by a lost proxy, or one that is asked."""
    tenant = record.tenant
    in_hours = tenant.awake is not None and isinstance(schedule.look(tenant.awake, wall_ms()), schedule.KeptAwake)
    return in_hours or tenant.busy is not None or around.lost.held(record.name, 0.0, now) is not None


class Slumber:
    """One tenant's way from awake to asleep and deeper."""

    def __init__(self, name: TenantName, around: Surroundings, changed: asyncio.Event) -> None:
        """``changed`` is set when something about the tenant may be another: nothing is asked any further then."""
        self._name = name
        self._around = around
        self._changed = changed
        self.can_pause = True
        """Whether the runtime can freeze it, as far as we know."""
        self.waits_for_proxies = False
        self._up = False
        """Whether proxies may have something in flight there."""
        self._tries = 0
        self._noted: frozenset[Keeps] = frozenset()
        self._noted_at = 0.0

    # ------------------------------------------------------------------------------------------ when it may be stopped

    def settled_at(self, record: TenantRecord, observed: ObservedState, decided_at: float) -> float:
        """Until when a stop waits: a moment for take-backs, and for proxies and what they have in flight."""
        settled = decided_at + self._around.settle
        waited, self.waits_for_proxies = self.waits_for_proxies, False
        self._look_whether_up(observed)
        if record.desired.state is Desired.STARTED or not self._up:
            return settled
        match self._may_stop(record, decided_at):
            case WaitForProxies(until):
                self.waits_for_proxies = True
                return max(settled, until)
            case Go():
                if waited:
                    self._around.meters.drains.labels("done").inc()
            case TimeIsUp():
                pass
        return settled

    def _look_whether_up(self, observed: ObservedState) -> None:
        """Up is also what was and is brought back, from a pause by hand for one: what was in flight then still is."""
        if observed.state is Observed.STARTED:
            self._up = True
        elif observed.state not in (Observed.STARTING, Observed.STOPPING):
            self._up = False

    def _may_stop(self, record: TenantRecord, decided_at: float) -> Go | WaitForProxies | TimeIsUp:
        return may_stop(
            self._around.members(),
            self._name,
            desired_revision=record.desired_revision,
            decided_at=decided_at,
            limit=self._around.drain_limit,
            now=monotonic(),
        )

    async def yielded(self, record: TenantRecord, observed: ObservedState, decided_at: float) -> bool:
        """Whether the stop goes ahead now; False when it was taken back, or has to be looked at again.

        An operator's stop is carried out at its limit. Any other sleep is taken back then: in use means in use.
        """
        self._look_whether_up(observed)
        if not self._up:
            return True
        match self._may_stop(record, decided_at):
            case Go():
                return True
            case WaitForProxies():
                return False
            case TimeIsUp(unaware, draining):
                if draining and record.desired.state is Desired.PASSIVATED:
                    self._around.meters.drains.labels("taken-back").inc()
                    logger.info("tenant %s is still in use in %s: it stays awake", self._name, ", ".join(draining))
                    await self._change(record, Cause.IN_USE)
                    return False
                self._around.meters.drains.labels("cut").inc()
                logger.warning(
                    "tenant %s is stopped although %s in flight in %s",
                    self._name,
                    "something is" if draining else "something may be",
                    ", ".join(draining or unaware),
                )
                return True

    async def _change(self, record: TenantRecord, cause: Cause) -> None:
        try:
            await self._around.registry.change_desired(self._name, cause, known=record)
        except (TransitionRefusedError, UnknownTenantError) as error:
            # Somebody else changed it meanwhile, and that counts.
            logger.debug("tenant %s: %s", self._name, error)

    # ------------------------------------------------------------------------------------------ how deep it sleeps

    def depth(self, record: TenantRecord, observed: ObservedState) -> Depth:
        """How deep it sleeps, if it should be asleep."""
        if record.desired.state is Desired.STARTED or record.tenant.sleep.pause_after is None:
            return Depth.STOP
        silent_long = isinstance(self._judge(record, observed, record.tenant.idle_timeout), Passivate)
        # What is frozen takes its memory all the same, and others wait for that.
        silent_long = silent_long or self._around.queue.missing > 0
        return depth(record.tenant, record.desired, silent_long=silent_long, can_pause=self.can_pause)

    def _judge(self, record: TenantRecord, observed: ObservedState, timeout: float | None) -> Verdict:
        return self._around.policy.judge(
            self._name,
            idle_timeout=timeout,
            desired_revision=record.desired_revision,
            stored_ms=max(record.desired.since, observed.since),
            now=monotonic(),
            wall_ms=wall_ms(),
        )

    # ------------------------------------------------------------------------------------------ what is next

    async def consider(self, record: TenantRecord, observed: ObservedState) -> float:
        """Do what is due now about a tenant that is as it should be; the pause until the next look."""
        if record.desired.state is Desired.STARTED:
            return await self._consider_sleep(record, observed)
        if record.desired.state is Desired.PASSIVATED:
            return await self._while_asleep(record, observed)
        return UNTIL_POKED

    async def _consider_sleep(self, record: TenantRecord, observed: ObservedState) -> float:
        timeout = falls_asleep_after(record.tenant, can_pause=self.can_pause)
        match self._judge(record, observed, timeout):
            case NeverSleeps():
                self._tries = 0
                await self._note(())
                return UNTIL_POKED
            case AskAgain(after):
                self._tries = 0
                await self._note(())
                return after
            case Passivate(judged, silent):
                assert timeout is not None  # noqa: S101 - or it would never sleep
                objection = self._objection(record, timeout) or await self._ask(record, observed, timeout, silent)
                if objection is not None:
                    return objection[1] if not objection[0] else await self._stay_awake(*objection)
                return await self._put_to_sleep(record, judged, silent)
            case verdict:
                assert_never(verdict)

    async def may_make_room(self, record: TenantRecord, observed: ObservedState, silent: float) -> bool:
        """Whether nothing but its time keeps it awake: not its hours, a lost proxy, or its own word."""
        timeout = record.tenant.idle_timeout
        if timeout is None or self._objection(record, timeout) is not None:
            return False
        return await self._ask(record, observed, timeout, silent) is None

    def _objection(self, record: TenantRecord, timeout: float) -> tuple[tuple[AwakeReason, ...], float] | None:
        """What is known to keep it awake, and when to look again."""
        now, wall = monotonic(), wall_ms()
        reasons, pause = [], schedule.LOOK_AGAIN
        if (held := self._around.lost.held(self._name, timeout, now)) is not None:
            left = held.until - now
            detail = f"{held.by} had it in use, and is silent: it may still be serving"
            reasons.append(AwakeReason(Keeps.LOST_PROXY, detail, wall + round(left * 1000)))
            # Its return is seen at once; what follows from it has to be looked for.
            pause = min(pause, max(min(left, _NEWS), 0.001))
        awake = record.tenant.awake
        if awake is not None and isinstance(hours := schedule.look(awake, wall), schedule.KeptAwake):
            detail = f"its hours are on ({', '.join(map(str, awake.hours))} {awake.zone})"
            if hours.until is None:
                detail = f"its hours cannot be told: this system does not know the time zone {awake.zone}"
            reasons.append(AwakeReason(Keeps.HOURS, detail, schedule.epoch_ms(hours.until)))
            pause = min(pause, schedule.seconds_until(hours.until, wall))
        return (tuple(reasons), pause) if reasons else None

    async def _ask(
        self, record: TenantRecord, observed: ObservedState, timeout: float, silent: float
    ) -> tuple[tuple[AwakeReason, ...], float] | None:
        """What it says itself, and when to ask again; without reasons: only that it has to be asked again."""
        busy = record.tenant.busy
        if busy is None or observed.state is not Observed.STARTED:
            return None
        if not is_asked(busy, silent):
            self._around.meters.overruled.labels("at-most").inc()
            logger.info("tenant %s is not asked any more: not used for %.0f s", self._name, silent)
            return None
        heard = await self._hear(record, observed, busy)
        if heard is None:
            return (), 0.001
        self._tries += 1
        outcome = weigh(busy, heard, silent=silent, tries=self._tries, timeout=timeout, wall_ms=wall_ms())
        match outcome:
            case KeepAwake(reasons, after):
                self._tries = 0
                return reasons, after
            case TryAgain(after):
                logger.info("tenant %s cannot be asked whether it is busy: %s", self._name, heard.words or "no figures")
                return (), after
            case LetSleep(unheard):
                if unheard:
                    self._around.meters.overruled.labels("no-answer").inc()
                    logger.warning("tenant %s counts as not busy: %s", self._name, heard.words or "no figures of it")
                return None
            case _:
                assert_never(outcome)

    async def _hear(self, record: TenantRecord, observed: ObservedState, busy: Busy) -> Heard | None:
        """Ask it, and look at what it uses; None when something changed meanwhile, so that it is not the question."""
        said, words, cpu = None, "", None
        if busy.path is not None:
            said, words = await asking.busy_path(observed.endpoints, busy.path, record.tenant.hosts)
        if busy.cpu is not None:
            cpu = await asking.processor_use(self._around.driver, record.tenant, self._changed)
        return None if self._changed.is_set() else Heard(said, words, cpu)

    async def _stay_awake(self, reasons: tuple[AwakeReason, ...], pause: float) -> float:
        for reason in reasons:
            self._around.meters.vetoes.labels(reason.keeps.value).inc()
        logger.debug("tenant %s stays awake: %s", self._name, "; ".join(reason.detail for reason in reasons))
        await self._note(reasons)
        return pause

    async def _note(self, reasons: tuple[AwakeReason, ...]) -> None:
        """Write down what keeps it awake, for whoever asks; that fails without harm."""
        kinds, now = frozenset(reason.keeps for reason in reasons), monotonic()
        if kinds == self._noted and (not kinds or now - self._noted_at < _WRITTEN_AGAIN):
            return
        try:
            await self._around.registry.note_vetoes(self._name, reasons)
        except RegistryError as error:
            logger.debug("tenant %s: why it is awake could not be written: %s", self._name, error)
            return
        self._noted, self._noted_at = kinds, now

    async def _put_to_sleep(self, record: TenantRecord, judged: Judgement, silent: float) -> float:
        self._tries = 0
        desired = record.desired
        change = await self._around.registry.passivate(
            self._name, judged, desired.wakes, recent_wakes=desired.recent_wakes, trace=desired.trace
        )
        if change is None:
            # Used or changed since; our copy of that is on its way.
            self._around.meters.take_backs.inc()
            return _OVERTAKEN
        logger.info("tenant %s was not used for %.1f s: putting it to sleep", self._name, silent)
        await self._note(())
        # Our copy of it pokes us; this is for the case that it is late.
        return _NEWS

    async def _while_asleep(self, record: TenantRecord, observed: ObservedState) -> float:
        tenant, wall = record.tenant, wall_ms()
        pause = UNTIL_POKED
        if tenant.awake is not None and tenant.awake.wake:
            if schedule.wants_start(tenant.awake, record.desired, wall):
                logger.info("tenant %s is started: its hours have begun", self._name)
                self._around.meters.hours_wakes.inc()
                await self._change(record, Cause.HOURS)
                return _NEWS
            hours = schedule.look(tenant.awake, wall)
            when = hours.until if isinstance(hours, schedule.KeptAwake) else hours.begins
            pause = schedule.seconds_until(when, wall)
        if observed.state is Observed.PAUSED:
            queue = self._around.queue
            if queue.missing > 0:
                return AT_ONCE
            pause = pause if queue.memory is None else min(pause, _LOOK_FOR_ROOM)
            return min(pause, self._until(record, observed, tenant.idle_timeout))
        if observed.state is Observed.STOPPED and tenant.sleep.destroy_after is not None:
            return min(pause, await self._consider_destroying(record, observed, tenant.sleep.destroy_after))
        return pause

    def _until(self, record: TenantRecord, observed: ObservedState, timeout: float | None) -> float:
        match self._judge(record, observed, timeout):
            case Passivate():
                return AT_ONCE
            case AskAgain(after):
                return after
            case NeverSleeps():
                return UNTIL_POKED

    async def _consider_destroying(self, record: TenantRecord, observed: ObservedState, timeout: float) -> float:
        match self._judge(record, observed, timeout):
            case Passivate(judged, silent):
                if (objection := self._objection(record, timeout)) is not None:
                    return objection[1]
                if not await self._around.registry.destroy(self._name, record.revision, judged):
                    self._around.meters.take_backs.inc()
                    return _OVERTAKEN
                self._around.meters.destroyed.inc()
                logger.info("tenant %s was not used for %.0f s: it is removed", self._name, silent)
                return _NEWS
            case AskAgain(after):
                return after
            case NeverSleeps():
                return UNTIL_POKED
