"""All tenants together: what changes is brought to the tenant's worker, and what events missed is found all the same.

Four sources say that a tenant may need something: its keys in the registry, hints of proxies, events of the runtime,
and the comparison of everything every so often. All of them only poke; the worker looks for itself. This file decides
nothing about a tenant; it knows which workers there are, whether the registry and the runtime answer, and how to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn

from gogeta.domain.lifecycle import Desired, Event, Observed
from gogeta.domain.state import Member, TenantRecord
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic, wall_ms
from gogeta.kit.tasks import Tasks
from gogeta.kit.tracing import Tracing
from gogeta.registry import keys
from gogeta.registry.lead import FencedStore, Lead
from gogeta.registry.metered import MeteredStore
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryError, Store
from passivator.candidacy import Candidacy
from passivator.chronicle import Chronicle
from passivator.core.idle import IdlePolicy
from passivator.core.lost import LostProxies
from passivator.core.retry import RetryPolicy
from passivator.core.tiers import acts_while_asleep
from passivator.discovery import Labels
from passivator.drivers.base import (
    NOTHING,
    Driver,
    DriverError,
    Machine,
    Runtime,
    RuntimeUnavailableError,
    Status,
)
from passivator.drivers.labelled import LabelSource
from passivator.fenced_driver import FencedDriver
from passivator.metered_driver import MeteredDriver
from passivator.meters import Meters
from passivator.observer import Observer
from passivator.ownership import ENDS_WITH_US, Ownership, group_name
from passivator.process_mark import ThisProcess
from passivator.room import Room, need_of
from passivator.saved import Saved
from passivator.settings import AUTO, ControllerSettings
from passivator.startqueue import StartQueue
from passivator.surroundings import Surroundings
from passivator.transitions import Listener, Transitions, TransitionSpans, log_line
from passivator.watches import AccessWatch, MemberWatch, SuspectWatch
from passivator.webhooks import Post, Telling, Webhooks, read_secrets
from passivator.worker import Worker

logger = logging.getLogger(__name__)

ReadyCallback = Callable[[str, str | None], None]
"""Takes the name of a part (``registry``, ``runtime``) and its problem, or None when it is well."""

_LOOK: Final = 0.25
"""Seconds between looks at whether the registry answers."""
_RUNTIME_GONE_LOOK: Final = 1.0
_FAREWELL: Final = 2.0
"""Longest time to say, at the end, that local processes end with us."""
_AT_REST: Final = frozenset({Status.ABSENT, Status.EXITED})
_TAKES_NOTHING: Final = frozenset({Observed.STOPPED, Observed.FAILED})


class Controller:
    """Reconciles the tenants of one registry that one driver runs. ``run`` it; cancel it to end."""

    def __init__(  # noqa: PLR0913 - the one place where all parts come together
        self,
        settings: ControllerSettings,
        store: Store,
        driver: Driver,
        *,
        member: str | ThisProcess,
        listeners: tuple[Endpoint, ...],
        meters: Meters,
        ready: ReadyCallback,
        tracing: Tracing | None = None,
        post: Post | None = None,
        labels: LabelSource | None = None,
    ) -> None:
        """``member`` is this process's name in the registry. ``store`` is used, ``driver`` is closed at the end.

        ``tracing``: where spans go, if anywhere; ``post``: what sends webhooks, where there are any; ``labels``: where
        tenants are discovered, if anywhere (used, not owned).
        """
        self._settings = settings
        self._store = store = MeteredStore(store)
        self._driver = MeteredDriver(driver)
        self._process = process = member if isinstance(member, ThisProcess) else ThisProcess(member)
        self._member, self._listeners = process.name, listeners
        self._ready, self._meters = ready, meters
        self._tracing, self._post, self._labels = tracing, post, labels
        self._secrets = read_secrets(settings.webhook_secret_file) if settings.webhook_urls else ()
        self._registry = Registry(store, f"passivator/{process.name}")
        self._policy = IdlePolicy()
        self._queue = StartQueue(settings.max_starts)
        self._candidacy: Candidacy | None = None
        self._around: Surroundings | None = None
        """What the workers of the present term share."""
        self._role_changed = asyncio.Event()
        self._mirror = TenantMirror(store)
        self._lost = LostProxies(settings.lost_proxy_grace)
        self._accesses = AccessWatch(store, self._policy, self._lost)
        self._members = MemberWatch(store, self._lost, self._proxies_said)
        self._suspects = SuspectWatch(store, self._suspected)
        self._tasks = Tasks("passivator")
        self._observer = self._new_observer(self._driver)
        self._workers: dict[TenantName, Worker] = {}
        self._orphans: set[TenantName] = set()
        self._clearing: set[str] = set()
        self._runtime_gone_since: float | None = None
        gauges: dict[str, Callable[[], float]] = {
            "leader": lambda: self._around is not None,
            "memory_declared_bytes": lambda: self._queue.used,
            "memory_limit_bytes": lambda: self._queue.memory or 0,
            "memory_missing_bytes": lambda: self._queue.missing,
            "starts_in_progress": lambda: self._queue.active,
            "starts_queued": lambda: self._queue.waiting,
            "starts_oldest_wait_seconds": lambda: self._queue.oldest(monotonic()),
            "registry_stale_seconds": self._registry_stale,
            "runtime_unavailable_seconds": lambda: _since(self._runtime_gone_since),
        }
        meters.watch(gauges, self._count_in_state)
        meters.watch_lost(lambda: self._lost.lost)
        meters.watch_calls(store, self._driver)
        self._saved = Saved(meters.registry, self._mirror, self._need)

    def __repr__(self) -> str:
        """One line: how much there is."""
        return f"<Controller of {self._driver.kind}: {len(self._workers)} workers, {self._queue!r}>"

    async def run(self) -> NoReturn:
        """Reconcile until cancelled; then let go of the runtime."""
        try:
            async with self._tasks as tasks:
                parts = [
                    tasks.start(self._mirror.source.run(), "tenants"),
                    tasks.start(self._accesses.source.run(), "accesses"),
                    tasks.start(self._suspects.source.run(), "suspects"),
                    tasks.start(self._members.source.run(), "members"),
                    tasks.start(self._watch_registry(), "registry health"),
                    tasks.start(self._observe(), "runtime"),
                ]
                # None of them ever ends. One that fails all the same ends us: a restart is the whole recovery.
                ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                for part in ended:
                    part.result()
        finally:
            await self._let_go()
        raise AssertionError("a part that never ends has ended")

    async def _observe(self) -> NoReturn:
        machine = await self._open_driver()
        await self._mirror.source.wait_synced()
        await self._accesses.source.wait_synced()
        await self._members.source.wait_synced()
        self._look_at_registry()
        self._candidacy = candidacy = Candidacy(
            self._store,
            self._settings.group or group_name(self._driver.kind, machine.identity),
            by=self._registry.by,
            process=self._process,
            ttl=self._settings.lead_ttl,
        )
        candidacy.role_changed = self._role_changed
        candidacy.leaders_changed = self._leaders_changed

        async def serve(lead: Lead) -> None:
            await self._serve(lead, machine)

        await asyncio.gather(
            candidacy.run(serve, self._driver.resign),
            self._registry.announce(self._as_member, changed=self._role_changed),
        )
        raise AssertionError("a part that never ends has ended")

    async def _serve(self, lead: Lead, machine: Machine) -> None:
        """One term of leading: all work is done by what is made here, and ends with it."""
        settings, store = self._settings, FencedStore(self._store, lead)
        assert self._candidacy is not None  # noqa: S101 - it has just told us to serve
        memory = machine.memory if settings.memory_limit == AUTO else settings.memory_limit or None
        driver = FencedDriver(self._driver, lead, self._store)
        queue = StartQueue(
            settings.max_starts, most_waiting=settings.max_queued, memory=memory, occupied=self._occupied
        )
        async with Tasks("passivator term") as tasks:
            around = Surroundings(
                driver=driver,
                owner=Ownership(driver.kind, lead.group, self._candidacy.led),
                registry=Registry(store, self._registry.by),
                mirror=self._mirror,
                policy=self._policy,
                queue=queue,
                meters=self._meters,
                tasks=tasks,
                settle=settings.settle,
                drain_limit=settings.drain_limit,
                members=lambda: self._members.members,
                lost=self._lost,
                retry=RetryPolicy(settings.retry_first, settings.retry_limit, settings.max_failures),
                fresh=self._fresh,
                need=self._need,
                room_timeout=settings.room_timeout,
                runtime_gone=self._runtime_gone,
            )
            room = Room(
                around,
                self._occupants,
                self._may_make_room,
                min_awake=settings.room_min_awake,
                enabled=settings.make_room,
            )
            chronicle = Chronicle(around.registry, self._mirror, self._meters, mine=around.owner.owns)
            self._observer = self._new_observer(driver)
            self._workers, self._queue, self._around = {}, queue, around
            self._meters.terms.inc()
            listeners: list[Listener] = [log_line]
            if self._tracing is not None:
                listeners.append(TransitionSpans(self._tracing))
            if self._post is not None:
                webhooks = Webhooks(settings, self._secrets, self._post, tasks, self._meters)
                telling = Telling(webhooks, settings.webhook_events, around.registry, lead.group)
                listeners.append(telling)
                tasks.start(telling.run(self._owned), "webhooks")
            transitions = Transitions(around.owner.owns, listeners)
            uncount = self._saved.begin(around.owner.owns)
            unsubscribe = self._mirror.subscribe(self._changed)
            unsubscribe_transitions = self._mirror.subscribe(transitions.changed)
            discovering = (self._discovering(self._labels, around, lead).run(),) if self._labels is not None else ()
            try:
                await asyncio.gather(
                    *(tasks.start(work, "labels") for work in discovering),
                    tasks.start(self._observer.run_events(), "events"),
                    tasks.start(self._observer.run_resync(), "resync"),
                    tasks.start(room.run(), "room"),
                    tasks.start(chronicle.run(), "timelines"),
                    tasks.start(self._follow_suspects(), "suspects of before"),
                )
            finally:
                unsubscribe()
                unsubscribe_transitions()
                uncount()
                if lead.lost.is_set():
                    self._around = None

    def _discovering(self, labels: LabelSource, around: Surroundings, lead: Lead) -> Labels:
        assert self._candidacy is not None  # noqa: S101 - we lead
        return Labels(
            labels,
            around.registry,
            self._mirror,
            self._meters,
            lead,
            led=self._candidacy.led,
            fresh=self._fresh,
            running=self._hinted,
            patience=self._settings.discover_settle,
            interval=self._settings.resync,
        )

    def _owned(self) -> Iterator[TenantRecord]:
        """The tenants of ours."""
        if self._around is not None:
            yield from filter(self._around.owner.owns, tuple(self._mirror.records.values()))

    def _new_observer(self, driver: Driver) -> Observer:
        return Observer(
            driver,
            interval=self._settings.resync,
            hinted=self._hinted,
            listed=self._listed,
            health=self._runtime_health,
        )

    def _need(self, tenant: Tenant) -> int:
        return need_of(tenant, self._settings.memory_default)

    def _occupants(self) -> Iterator[TenantRecord]:
        """The tenants of ours that take memory now."""
        if self._around is None:
            return
        for name, record in self._mirror.records.items():
            worker = self._workers.get(name)
            occupies = record.observed.state not in _TAKES_NOTHING if worker is None else worker.occupies
            if occupies and self._around.owner.owns(record):
                yield record

    async def _may_make_room(self, record: TenantRecord, silent: float) -> bool:
        worker = self._workers.get(record.tenant.name)
        return worker is not None and await worker.slumber.may_make_room(record, worker.observed, silent)

    def _occupied(self) -> dict[str, int]:
        return {record.name: self._need(record.tenant) for record in self._occupants()}

    def _leaders_changed(self) -> None:
        if self._around is not None and self._driver.kind in ENDS_WITH_US:
            # What another group had may be ours to take over.
            self._observer.resync()

    # ------------------------------------------------------------------------------------------ who needs a look

    def _changed(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        """The registry's word about a tenant is another."""
        worker = self._workers.get(name)
        if worker is None or worker.finished:
            if after is None or self._of_interest(after, NOTHING):
                self._poke(name)
            return
        only_observed = (
            before is not None
            and after is not None
            and (before.revision, before.desired_revision) == (after.revision, after.desired_revision)
        )
        if only_observed and after is not None and after.observed in (worker.observed, worker.recorder.written):
            return  # our own words, come back
        worker.poke()

    def _proxies_said(self) -> None:
        """A proxy came, went, or told what it has seen: those may go on whose stop waits for that."""
        for worker in self._workers.values():
            if worker.waits_for_proxies:
                worker.poke()

    def _hinted(self, name: TenantName) -> None:
        """The runtime's word that something happened to it."""
        if name in self._workers or name in self._mirror.records:
            self._poke(name)

    def _suspected(self, name: str, instance: str) -> None:
        """A proxy's word that it does not answer."""
        self._meters.suspects.inc()
        tenant = TenantName(name)
        record = self._mirror.records.get(tenant)
        if self._around is None:
            return  # whoever leads follows it, and clears it
        if record is not None and instance in ("", record.observed.instance):
            self._poke(tenant)
        if name not in self._clearing:
            self._clearing.add(name)
            self._tasks.start(self._clear_suspect(name, self._around.registry), f"clear suspect {name}")

    async def _follow_suspects(self) -> None:
        """Hints from before our term: whoever led may not have followed them."""
        try:
            listing = await self._store.list(keys.SUSPECTS)
        except RegistryError as error:
            # The first listing of the runtime compares everything all the same.
            logger.debug("earlier hints are not known: %s", error)
            return
        for entry in listing.entries:
            self._suspected(keys.name_of(entry.key, keys.SUSPECTS), "")

    async def _clear_suspect(self, name: str, registry: Registry) -> None:
        try:
            await registry.clear_suspect(name)
        except RegistryError as error:
            # It stays, and is followed once more after the next listing.
            logger.debug("cannot clear the hint about %s: %s", name, error)
        finally:
            self._clearing.discard(name)

    def _listed(self, listing: Mapping[TenantName, Runtime]) -> None:
        """All that the runtime has: compare it with all that there should be."""
        self._meters.resyncs.inc()
        first = self._observer.listings == 1
        leftovers = set(self._mirror.leftovers)
        for name, record in self._mirror.records.items():
            runtime = listing.get(name, NOTHING)
            worker = self._workers.get(name)
            if worker is not None:
                worker.compare(runtime)
            elif self._of_interest(record, runtime):
                self._poke(name)
        for name in leftovers:
            # Without a declaration only the tombstone says whose it was.
            if self._around is not None and self._around.owner.clears(self._mirror.observed(name)[0]):
                self._poke(name)
        if self._fresh():
            self._report_orphans(set(listing) - set(self._mirror.records) - leftovers)
        if first:
            logger.info("%d tenants, %d of them with something in the runtime", len(self._mirror.records), len(listing))

    def _of_interest(self, record: TenantRecord, runtime: Runtime) -> bool:
        """Whether a tenant without a worker needs one."""
        if acts_while_asleep(record.tenant) and self._around is not None and self._around.owner.owns(record):
            return True
        if record.desired.state is Desired.STARTED or runtime.status not in _AT_REST:
            return not record.tenant.routed_only or runtime.status is not Status.ABSENT
        if self._around is not None and self._around.owner.owns(record):
            return record.observed.state is not Observed.STOPPED
        return runtime.status is not Status.ABSENT or record.observed.driver == self._driver.kind

    def _report_orphans(self, names: set[TenantName]) -> None:
        # Neither declared nor known to have been removed: this may be another installation's, or what is left of a lost
        # registry. Removing it could not be undone; a person has to look.
        for name in sorted(names - self._orphans):
            logger.warning("the runtime has something of %r, which this registry does not know: left alone", name)
        self._orphans = names

    def _poke(self, name: TenantName) -> None:
        if self._around is None:
            return
        worker = self._workers.get(name)
        if worker is None or worker.finished:
            worker = self._workers[name] = Worker(name, self._around)
        worker.poke()

    def _count_in_state(self, state: Observed) -> int:
        return sum(
            record.observed.state is state for record in self._mirror.records.values() if not record.tenant.routed_only
        )

    # ------------------------------------------------------------------------------------------ who answers

    def _fresh(self) -> bool:
        return not (self._mirror.source.stale or self._accesses.source.stale or self._members.source.stale)

    async def _watch_registry(self) -> NoReturn:
        while True:
            self._look_at_registry()
            for name in [name for name, worker in self._workers.items() if worker.finished]:
                del self._workers[name]
                record = self._mirror.records.get(name)
                if record is not None and self._of_interest(record, NOTHING):
                    # Declared anew while what it was before was still being removed.
                    self._poke(name)
            await asyncio.sleep(_LOOK)

    def _look_at_registry(self) -> None:
        now = monotonic()
        if self._fresh():
            self._policy.has_sight(now)
            self._ready("registry", None)
        else:
            self._policy.lost_sight(now)
            error = self._mirror.source.last_error or self._accesses.source.last_error
            self._ready("registry", error.message if error is not None else "not read yet")

    async def _open_driver(self) -> Machine:
        backoff = Backoff(first=0.2, limit=5.0)
        told = False
        self._runtime_gone_since = monotonic()
        while True:
            try:
                await self._driver.open()
                machine = await self._driver.machine()
            except DriverError as error:
                self._runtime_health(error.message)
                if not told:
                    logger.warning("the runtime is not there yet, trying again: %s", error)
                    told = True
                await asyncio.sleep(backoff.next())
            else:
                self._runtime_health(None)
                return machine

    def _runtime_health(self, problem: str | None) -> None:
        if problem is None:
            self._runtime_gone_since = None
        elif self._runtime_gone_since is None:
            self._runtime_gone_since = monotonic()
        self._ready("runtime", problem)

    def _registry_stale(self) -> float:
        """Seconds for which the registry has not answered one of those who follow it."""
        sources = (self._mirror.source, self._accesses.source, self._members.source)
        return max(_since(source.stale_since) for source in sources)

    def _runtime_gone(self, error: RuntimeUnavailableError) -> None:
        self._runtime_health(error.message)
        # Not at once: what a worker met is met again as long as it lasts.
        asyncio.get_running_loop().call_later(_RUNTIME_GONE_LOOK, self._observer.resync)

    # ------------------------------------------------------------------------------------------ beginning and end

    def _as_member(self) -> Member:
        return Member(
            kind="passivator",
            id=self._member,
            since=wall_ms(),
            listeners=self._listeners,
            runtime=self._driver.runtime_endpoints,
            driver=self._driver.kind,
            group=self._candidacy.group if self._candidacy is not None else "",
            role=self._candidacy.role if self._candidacy is not None else "",
        )

    async def _let_go(self) -> None:
        """No worker runs any more. Containers stay; before local processes end, the registry is told.

        The lead is kept until nothing of ours is in a successor's way, and then given to it at once.
        """
        try:
            if self._around is not None and self._driver.kind in ENDS_WITH_US:
                await self._say_all_stopped(self._around.registry)
            await self._driver.close()
        finally:
            if self._candidacy is not None:
                await self._candidacy.resign()

    async def _say_all_stopped(self, registry: Registry) -> None:
        try:
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*(_say_stopped(registry, worker) for worker in self._workers.values()))
        except TimeoutError:
            logger.warning("the registry was not told in time that local processes end")
        except RegistryError as error:
            logger.warning("the registry was not told that local processes end: %s", error)


def _since(moment: float | None) -> float:
    return 0.0 if moment is None else monotonic() - moment


async def _say_stopped(registry: Registry, worker: Worker) -> None:
    if worker.observed.state in _TAKES_NOTHING:
        return
    stopped = worker.recorder.after(Event.EXITED)
    await registry.observe(worker.name, stopped, worker.recorder.revision)
