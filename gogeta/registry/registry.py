"""The product's own operations on a store: who may change what, and under which condition.

Every write to the registry goes through here, so this file is the list of all writers:

- declarations: operators (``apply``, ``remove``) and passivator (``destroy``), guarded by the generation key
  (``declarations.py``, and ``conditional.py`` over the revision that was seen); those that follow labels by the
  passivator that leads, under ``--discover`` (``discovering.py``), and with them what it could not take from labels;
- desired state: ``change_desired`` (wakers, operators) and ``passivate`` (the idle policy), by compare-and-set;
- observed state: ``observe`` and ``forget``, by passivator alone;
- last access: ``record_accesses``, by proxies alone (and ``apply``, with the declaration of a tenant that is new here);
- timelines: ``write_timelines``, by the passivator that runs the tenant, by compare-and-set;
- reports of wakes: ``report_wakes``, by the proxy that asked for the wake;
- hints that a tenant does not answer: ``suspect`` by proxies, ``clear_suspect`` by passivator;
- vetoes, for those who explain: ``note_vetoes``, by passivator alone;
- members: ``announce``, each process its own key, under a lease (``membership.py``);
- leaders: ``lead.stand``, passivators alone, one key for each group, under a lease (``lead.py``).

Errors of the store (``RegistryUnavailableError`` and its kin) pass through everywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from gogeta.domain.errors import InvalidInputError, TransitionRefusedError, WakeBudgetError
from gogeta.domain.lifecycle import Cause, Desired, next_desired
from gogeta.domain.state import (
    ASLEEP,
    NEVER_SEEN,
    DesiredState,
    Judgement,
    LastAccess,
    Member,
    ObservedState,
    Suspicion,
    TenantRecord,
    Told,
)
from gogeta.domain.tenant import TenantName
from gogeta.domain.timeline import EMPTY, Timeline, WakeReport
from gogeta.domain.wake_budget import History, milliseconds_to_wait, with_wake, within_the_hour
from gogeta.domain.wakefulness import AwakeReason, Vetoes
from gogeta.kit.clock import wall_ms
from gogeta.registry import keys
from gogeta.registry.codec import decode, encode
from gogeta.registry.declarations import ATTEMPTS, Declarations, load, unknown
from gogeta.registry.membership import announce
from gogeta.registry.records import Records
from gogeta.registry.store import (
    MAX_OPERATIONS,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    RegistryError,
    RegistryUnavailableError,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_TIMELINES: Final = 32
"""Most timelines in one commit: with each at its largest it is still far from the limit."""
_BY_OPERATOR: Final = frozenset({Cause.START, Cause.STOP, Cause.SLEEP})


@dataclass(frozen=True, slots=True)
class DesiredChange:
    """The desired state after a change; ``changed`` is False when it was that already."""

    desired: DesiredState
    revision: int
    changed: bool


class Registry(Declarations):
    """The operations (see the module's docstring); those on declarations are in ``declarations.py``."""

    async def load(self) -> Records:
        """Everything about all tenants, at one moment."""
        return await load(self.store)

    async def record(self, name: str) -> TenantRecord:
        """One tenant as of now. Raises UnknownTenantError, with the nearest name."""
        records = (await self.load()).by_name
        found = records.get(TenantName(name))
        return found if found is not None else unknown(name, records)

    async def look_up(self, name: str) -> tuple[TenantRecord, dict[str, str]]:
        """One tenant without reading all, its keys each as of now; and which of them cannot be read, and why.

        For those who only tell of it. Raises UnknownTenantError, with the nearest name.
        """
        entries = await asyncio.gather(
            *(self.store.get(key) for key in (keys.tenant_key(name), keys.desired_key(name), keys.observed_key(name)))
        )
        found = tuple(entry for entry in entries if entry is not None)
        records = Records()
        records.reset(Listing(max((entry.revision for entry in found), default=1), found))
        record = records.by_name.get(TenantName(name))
        return (record if record is not None else await self.record(name)), records.quarantine

    async def change_desired(
        self,
        name: str,
        cause: Cause,
        *,
        known: TenantRecord | None = None,
        renew: bool = False,
        per_hour: int = 0,
        request_id: str = "",
        trace: str = "",
    ) -> DesiredChange:
        """Change what a tenant should be, for ``cause``, by compare-and-set; only one of many callers changes it.

        ``known`` is the caller's own view: when it is still true, one round trip is enough. ``renew``: write it also
        where it is that already, as a new wish: a failed start is then tried again at once. ``per_hour``: most wakes by
        visitors in any hour (0: no limit); those by operators, and passivations taken back, are not counted.
        ``request_id``: the request that asks, for people; ``trace``: the wake's span, as a ``traceparent``.
        Raises UnknownTenantError; TransitionRefusedError when the table does not allow it (e.g. waking what an operator
        stopped); WakeBudgetError when it was woken often enough.
        """
        tenant_revision, current, revision = (
            (known.revision, known.desired, known.desired_revision)
            if known is not None
            else await self._read_desired(name, cause)
        )
        for _ in range(ATTEMPTS):
            state = next_desired(current.state, cause)
            # A changed answer may rest on an old view; a refusal and an unchanged one must not: somebody waits for it.
            if state is None and known is None:
                raise TransitionRefusedError(
                    f"tenant {name!r} is {current.state}, and {cause.value!r} does not change that",
                    hint=f"`gogeta start {name}` ends an operator's stop" if current.state is Desired.STOPPED else "",
                )
            if state is current.state and known is None and not renew:
                return DesiredChange(current, revision, changed=False)
            now = wall_ms()
            wait = milliseconds_to_wait(current.recent_wakes, now, per_hour) if cause is Cause.REQUEST else 0
            if wait and known is None:
                raise WakeBudgetError(name, per_hour, wait, revision)
            if state is not None and not wait and (state is not current.state or renew):
                wakes = current.wakes + (state is Desired.STARTED)
                carried = with_wake if cause is Cause.REQUEST else within_the_hour
                desired = DesiredState(
                    state=state,
                    cause=cause,
                    by=self.by,
                    since=now,
                    wakes=wakes,
                    recent_wakes=carried(current.recent_wakes, now),
                    request_id=request_id,
                    trace=trace or (current.trace if state is not Desired.STARTED or cause is Cause.IN_USE else ""),
                )
                try:
                    result = await self.store.commit(
                        [Put(keys.desired_key(name), encode(desired))],
                        [Guard(keys.tenant_key(name), tenant_revision), Guard(keys.desired_key(name), revision)],
                    )
                except RegistryUnavailableError as error:
                    if not error.unknown:
                        raise
                    # It may have happened: what is there now tells. Our own write is told by its time and writer.
                    tenant_revision, current, revision = await self._read_desired(name, cause)
                    if current == desired:
                        return DesiredChange(current, revision, changed=True)
                    known = None
                    continue
                if result.happened:
                    return DesiredChange(desired, result.revision, changed=True)
            known = None
            tenant_revision, current, revision = await self._read_desired(name, cause)
        raise RegistryError(f"others kept changing tenant {name!r} at the same time", hint="try again in a moment")

    async def _read_desired(self, name: str, cause: Cause) -> tuple[int, DesiredState, int]:
        tenant, entry = await asyncio.gather(
            self.store.get(keys.tenant_key(name)), self.store.get(keys.desired_key(name))
        )
        if tenant is None:
            unknown(name, (await self.load()).by_name)
        if entry is None:
            return tenant.revision, ASLEEP, 0
        try:
            return tenant.revision, decode(DesiredState, entry.value, what=entry.key), entry.revision
        except InvalidInputError:
            # Only an operator's word may replace what we cannot read.
            if cause not in _BY_OPERATOR:
                raise
            return tenant.revision, ASLEEP, entry.revision

    async def ask_again(self, record: TenantRecord, *, trace: str = "") -> DesiredChange | None:
        """A visitor's request for one more try of a tenant that was given up; None when somebody else was first.

        Whether a try is made, and when, is passivator's to say. There is one however many ask: a commit that is
        refused is not repeated, because what it was refused for may be that very wish.
        """
        before, now = record.desired, wall_ms()
        desired = DesiredState(
            state=Desired.STARTED,
            cause=Cause.REQUEST,
            by=self.by,
            since=now,
            wakes=before.wakes + 1,
            recent_wakes=within_the_hour(before.recent_wakes, now),
            trace=trace,
        )
        result = await self.store.commit(
            [Put(keys.desired_key(record.name), encode(desired))],
            [
                Guard(keys.tenant_key(record.name), record.revision),
                Guard(keys.desired_key(record.name), record.desired_revision),
            ],
        )
        return DesiredChange(desired, result.revision, changed=True) if result.happened else None

    async def passivate(
        self,
        name: str,
        judged: Judgement,
        wakes: int,
        cause: Cause = Cause.IDLE,
        recent_wakes: History = (),
        trace: str = "",
    ) -> DesiredChange | None:
        """Put an idle tenant to sleep, if nothing it was judged by has changed; None when something has.

        ``wakes``, ``recent_wakes`` and ``trace`` are carried over from the desired state that was judged.
        """
        now = wall_ms()
        desired = DesiredState(
            state=Desired.PASSIVATED,
            cause=cause,
            by=self.by,
            since=now,
            wakes=wakes,
            recent_wakes=within_the_hour(recent_wakes, now),
            trace=trace,
        )
        result = await self.store.commit(
            [Put(keys.desired_key(name), encode(desired))],
            [
                Guard(keys.desired_key(name), judged.desired_revision),
                Guard(keys.access_key(name), judged.access_revision),
            ],
        )
        return DesiredChange(desired, result.revision, changed=True) if result.happened else None

    async def observe(
        self,
        name: str,
        observed: ObservedState,
        revision: int,
        *,
        desired_revision: int | None = None,
        undeclared: bool = False,
        unled: str = "",
    ) -> int | None:
        """Write what a tenant is, over the value of ``revision`` (0: none); the new revision.

        With ``desired_revision`` only if the desired state is still that one: a stop announces itself so, and a wake is
        either before it (then there is no stop) or after it (then its proxy has seen ``stopping`` already). With
        ``undeclared`` only if there is no declaration, for the same reason; with ``unled`` only if nobody leads that
        group. None when a condition did not hold: the caller has to look again.
        """
        guards = [Guard(keys.observed_key(name), revision)]
        if undeclared:
            guards.append(Guard(keys.tenant_key(name), 0))
        if desired_revision is not None:
            guards.append(Guard(keys.desired_key(name), desired_revision))
        if unled:
            guards.append(Guard(keys.leader_key(unled), 0))
        result = await self.store.commit([Put(keys.observed_key(name), encode(observed))], guards)
        if result.happened:
            return result.revision
        return None

    async def observed(self, name: str) -> tuple[ObservedState, int]:
        """What is written about a tenant as of now, and its revision; what cannot be read counts as never seen."""
        entry = await self.store.get(keys.observed_key(name))
        if entry is None:
            return NEVER_SEEN, 0
        try:
            return decode(ObservedState, entry.value, what=entry.key), entry.revision
        except InvalidInputError as error:
            logger.warning("overwriting %s", error)
            return NEVER_SEEN, entry.revision

    async def declared(self, name: str) -> bool:
        """Whether there is a declaration as of now, readable or not."""
        return await self.store.get(keys.tenant_key(name)) is not None

    async def suspect(self, name: str, instance: str) -> None:
        """A proxy's hint that this instance of a started tenant does not accept connections.

        Callers write at most one per tenant in a few seconds; only the latest is kept.
        """
        await self.store.commit(
            [Put(keys.suspect_key(name), encode(Suspicion(instance=instance, at=wall_ms(), by=self.by)))]
        )

    async def clear_suspect(self, name: str) -> None:
        """The hint was followed."""
        await self.store.commit([Delete(keys.suspect_key(name))])

    async def forget(self, name: str) -> None:
        """Remove the states of a tenant whose declaration is gone (and stays gone: it is compared)."""
        await self.store.commit(
            [
                Delete(keys.desired_key(name)),
                Delete(keys.observed_key(name)),
                Delete(keys.access_key(name)),
                Delete(keys.suspect_key(name)),
                Delete(keys.timeline_key(name)),
                Delete(keys.wake_key(name)),
                Delete(keys.veto_key(name)),
            ],
            [Guard(keys.tenant_key(name), 0)],
        )

    async def record_accesses(self, accesses: Mapping[str, LastAccess]) -> None:
        """Write last accesses, many to a commit. Each is whole or not written; the caller keeps what was not."""
        items = list(accesses.items())
        for start in range(0, len(items), MAX_OPERATIONS):
            await self.store.commit(
                [Put(keys.access_key(name), encode(access)) for name, access in items[start : start + MAX_OPERATIONS]]
            )

    async def report_wakes(self, reports: Mapping[str, WakeReport]) -> None:
        """Write what was seen of wakes that were asked for here, many to a commit; the latest wake's report stays."""
        items = list(reports.items())
        for start in range(0, len(items), MAX_OPERATIONS):
            await self.store.commit(
                [Put(keys.wake_key(name), encode(report)) for name, report in items[start : start + MAX_OPERATIONS]]
            )

    async def wake_report(self, name: str) -> WakeReport | None:
        """What the asking proxy saw of the last wake; None where nothing (readable) is reported."""
        entry = await self.store.get(keys.wake_key(name))
        return _passed_over(WakeReport, entry)

    async def timeline(self, name: str) -> tuple[Timeline, int]:
        """What happened to a tenant lately, and the key's revision; what cannot be read counts as nothing."""
        entry = await self.store.get(keys.timeline_key(name))
        return _passed_over(Timeline, entry) or EMPTY, entry.revision if entry is not None else 0

    async def write_timelines(self, timelines: Mapping[str, tuple[Timeline, int]]) -> int | None:
        """Write timelines, each over the revision that it grew from; their new revision.

        None when another one is there for any of them: then nothing is written. At most MAX_TIMELINES at once.
        """
        result = await self.store.commit(
            [Put(keys.timeline_key(name), encode(timeline)) for name, (timeline, _) in timelines.items()],
            [Guard(keys.timeline_key(name), revision) for name, (_, revision) in timelines.items()],
        )
        return result.revision if result.happened else None

    async def forget_timelines(self, names: Iterable[str]) -> None:
        """Remove the timelines and reports of tenants that are gone; at most MAX_TIMELINES at once."""
        await self.store.commit(
            [Delete(key) for name in names for key in (keys.timeline_key(name), keys.wake_key(name))]
        )

    async def access(self, name: str) -> tuple[LastAccess | None, int]:
        """A tenant's last access and its revision (0 when there is none); None too for what cannot be read."""
        entry = await self.store.get(keys.access_key(name))
        if entry is None:
            return None, 0
        try:
            return decode(LastAccess, entry.value, what=entry.key), entry.revision
        except InvalidInputError as error:
            logger.warning("passed over %s", error)
            return None, entry.revision

    async def note_vetoes(self, name: str, reasons: tuple[AwakeReason, ...]) -> None:
        """Write what keeps a tenant awake beyond its idle timeout; without reasons the key goes. The latest counts."""
        key = keys.veto_key(name)
        vetoes = Vetoes(reasons=reasons, at=wall_ms(), by=self.by)
        await self.store.commit([Put(key, encode(vetoes)) if reasons else Delete(key)])

    async def vetoes(self, name: str) -> Vetoes:
        """What keeps a tenant awake beyond its idle timeout, as passivator wrote last; what cannot be read is none."""
        return _passed_over(Vetoes, await self.store.get(keys.veto_key(name))) or Vetoes()

    async def told(self, group: str) -> int | None:
        """Up to which revision a group has told its webhooks; None where nothing (readable) says so."""
        told = _passed_over(Told, await self.store.get(keys.webhook_key(group)))
        return None if told is None else told.revision

    async def note_told(self, group: str, revision: int) -> None:
        """Write how far a group has told its webhooks; only who leads it does."""
        await self.store.commit([Put(keys.webhook_key(group), encode(Told(revision=revision)))])

    async def members(self) -> tuple[Member, ...]:
        """The live processes of ours. Unreadable ones are left out."""
        listing = await self.store.list(keys.MEMBERS)
        return tuple(member for entry in listing.entries if (member := _passed_over(Member, entry)) is not None)

    async def announce(
        self, member: Member | Callable[[], Member], ttl: float = 10.0, changed: asyncio.Event | None = None
    ) -> NoReturn:
        """Keep ``member`` listed while this runs: see ``membership.announce``."""
        await announce(self.store, member, ttl, changed)


def _passed_over(kind: type[T], entry: Entry | None) -> T | None:
    if entry is None:
        return None
    try:
        return decode(kind, entry.value, what=entry.key)
    except InvalidInputError as error:
        logger.warning("passed over %s", error)
        return None
