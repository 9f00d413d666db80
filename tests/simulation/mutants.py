"""Guards taken out of the product's code, one at a time: what the simulation is worth is how soon it notices.

Each is a context manager; within it the code is broken. ``docs/reliability.md`` tells how many lives each took.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from gogeta.domain.lifecycle import Cause
from gogeta.domain.state import TenantRecord
from gogeta.net.activity import Activity
from gogeta.net.fleet import Entry
from gogeta.net.waker import Waker
from gogeta.registry import keys
from gogeta.registry.lead import Lead
from gogeta.registry.store import Changes, Committed, CompactedError, Delete, Guard, Put, Refused, Store
from passivator.controller import Controller
from passivator.core.idle import IdlePolicy
from passivator.drivers.base import Driver, unfenced
from passivator.drivers.docker_container import Containers
from passivator.fenced_driver import FencedDriver
from passivator.observer import Observer
from passivator.recorder import Recorder
from tests.simulation.registry import SimulatedStore

Mutant = Callable[[], AbstractContextManager[Any]]


def _without_guard(prefix: str, *, written: str) -> AbstractContextManager[Any]:
    """No commit that writes under ``written`` compares keys under ``prefix``."""
    commit = SimulatedStore.commit

    async def unguarded(
        self: SimulatedStore, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()
    ) -> Committed | Refused:
        if any(operation.key.startswith(written) for operation in operations):
            guards = [guard for guard in guards if not guard.key.startswith(prefix)]
        return await commit(self, operations, guards)

    return patch.object(SimulatedStore, "commit", unguarded)


def stop_without_desired() -> AbstractContextManager[Any]:
    """A stop is announced without comparing the desired state: a wake in between is run over."""
    return _without_guard(keys.DESIRED, written=keys.OBSERVED)


def sleep_without_access() -> AbstractContextManager[Any]:
    """The idle policy does not compare the last access: a use in between is run over."""
    return _without_guard(keys.ACCESS, written=keys.DESIRED)


def wake_without_desired() -> AbstractContextManager[Any]:
    """Desired states are written without comparing them."""
    return _without_guard(keys.DESIRED, written=keys.DESIRED)


def removal_without_declaration() -> AbstractContextManager[Any]:
    """A removal is not announced: what was declared and woken again meanwhile is removed under its visitors."""

    async def silently(self: Recorder, observed: object) -> bool:
        await self.flush()
        return True

    return patch.object(Recorder, "announce_removal", silently)


def old_pools() -> AbstractContextManager[Any]:
    """Connections and addresses of an earlier instance are kept."""

    def update(self: Entry, record: TenantRecord) -> list[Any]:
        self.record = record
        self.meeting = record.meeting
        if not self.endpoints:
            self.endpoints = record.endpoints
            return self.retire()
        return []

    return patch.object(Entry, "update", update)


def stale_mirror() -> AbstractContextManager[Any]:
    """The controller takes its copy of the registry for current, whatever happens."""
    return patch.object(Controller, "_fresh", lambda _: True)


def open_fence() -> AbstractContextManager[Any]:
    """A leader's right is looked at before an operation of the driver only, not before each call it makes."""
    made = FencedDriver.__init__

    def without(self: FencedDriver, driver: Driver, lead: Lead, store: Store) -> None:
        made(self, driver, lead, store)
        driver.fence = unfenced

    return patch.object(FencedDriver, "__init__", without)


def no_take_back() -> AbstractContextManager[Any]:
    """A proxy that has requests in flight does not take a passivation back."""
    wake = Waker.wake

    def for_visitors_alone(self: Waker, entry: Entry, cause: Cause, *more: Any) -> None:  # noqa: ANN401 - passed on
        if cause is not Cause.IN_USE:
            wake(self, entry, cause, *more)

    return patch.object(Waker, "wake", for_visitors_alone)


def start_into_stop() -> AbstractContextManager[Any]:
    """A start does not wait for the end of a stop that is under way (the engine's 304)."""

    async def never(self: Containers, seen: object) -> bool:
        return False

    return patch.object(Containers, "_will_die", never)


def written_once() -> AbstractContextManager[Any]:
    """Last accesses are written when something begins or ends, and not while it lasts."""
    flush = Activity._flush  # noqa: SLF001 - it is that method, and one thing more

    async def once(self: Activity, now: float, *, everything: bool) -> None:
        await flush(self, now, everything=everything)
        self._touched.clear()

    return patch.object(Activity, "_flush", once)


def gap_after_compaction() -> AbstractContextManager[Any]:
    """A watch whose history is gone goes on from now, without a new listing."""
    watch = SimulatedStore.watch

    async def skipping(self: SimulatedStore, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        try:
            async for changes in watch(self, prefix, after):
                yield changes
        except CompactedError:
            async for changes in watch(self, prefix, self._server.space.revision):
                yield changes

    return patch.object(SimulatedStore, "watch", skipping)


def lost_answers_are_failures() -> AbstractContextManager[Any]:
    """The recorder takes a commit without an answer for one that did not happen."""

    async def as_before(self: Recorder, _error: object) -> int:
        return self.revision

    return patch.object(Recorder, "_revision_after", as_before)


def events_only() -> AbstractContextManager[Any]:
    """What the runtime's events do not tell is never looked for."""

    async def once(self: Observer) -> None:
        self._listed(await self._driver.list())
        self.listings += 1
        await asyncio.Event().wait()

    return patch.object(Observer, "run_resync", once)


def blind_is_silent() -> AbstractContextManager[Any]:
    """Time in which the registry could not be seen counts as silence."""
    return patch.object(IdlePolicy, "lost_sight", lambda *_: None)


MUTANTS: Final[dict[str, Mutant]] = {
    "nothing": contextlib.nullcontext,
    "stop-without-desired": stop_without_desired,
    "sleep-without-access": sleep_without_access,
    "wake-without-desired": wake_without_desired,
    "removal-without-declaration": removal_without_declaration,
    "old-pools": old_pools,
    "stale-mirror": stale_mirror,
    "no-take-back": no_take_back,
    "open-fence": open_fence,
    "start-into-stop": start_into_stop,
    "written-once": written_once,
    "gap-after-compaction": gap_after_compaction,
    "lost-answers-are-failures": lost_answers_are_failures,
    "events-only": events_only,
    "blind-is-silent": blind_is_silent,
}
"""By the name that ``--break`` takes."""
