"""A store in memory, for tests of what is built on the registry: on virtual time, with faults to switch on.

It keeps the same contract as the real ones (the suite in ``tests/registry`` runs on it too) and nothing of it outlives
the process. ``MemorySpace`` is the data; each ``MemoryStore`` is one client of it with troubles of its own, so that one
proxy can be cut off while another is not. Pure asyncio: no threads, no clock but the loop's.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from gogeta.kit.clock import monotonic
from gogeta.registry.keyspace import key_bytes
from gogeta.registry.store import (
    Change,
    Changes,
    Committed,
    CompactedError,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryRefusedError,
    RegistryUnavailableError,
    check_commit,
)

T = TypeVar("T")
SIGN_OF_LIFE: Final = 2.0
SILENCE: Final = 5.0
"""Seconds until a watch that was silenced notices it, as on etcd."""
_SHORTEST: Final = 0.001
"""A shorter wait may be too short to move a loop's clock at all."""


@dataclass(slots=True)
class _Lease:
    ttl: float
    timer: asyncio.TimerHandle | None = None


class MemorySpace:
    """The data, shared by its stores. Its methods are the troubles that all clients share."""

    def __init__(self, *, history: int = 10_000) -> None:
        """``history``: changes kept for watches that were away."""
        self.revision = 1
        self.compacted = 0
        self._history = history
        self._entries: dict[str, Entry] = {}
        self._held: dict[str, int] = {}
        """Key to its lease."""
        self._log: list[Change] = []
        self._leases: dict[int, _Lease] = {}
        self._ids = itertools.count(1)
        self.woken: set[asyncio.Event] = set()
        self._leader_back: asyncio.Event | None = None
        self._late: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<MemorySpace revision {self.revision}, {len(self._entries)} keys>"

    # -------------------------------------------------------------------------------------------------- troubles

    def compact(self) -> None:
        """Forget all history up to now."""
        self.compacted = self.revision
        self._log.clear()

    def lose_leader(self) -> None:
        """Answer no call until ``elect_leader``. A commit whose caller gave up meanwhile happens then all the same."""
        if self._leader_back is None:
            self._leader_back = asyncio.Event()

    def elect_leader(self) -> None:
        """Answer again."""
        if self._leader_back is not None:
            self._leader_back.set()
            self._leader_back = None
            late, self._late = self._late, []
            for work in late:
                with contextlib.suppress(RegistryRefusedError):  # nobody is there to be told
                    work()

    async def wait_for_leader(self, late: Callable[[], object] | None) -> None:
        """Wait while there is no leader; when the caller gives up, ``late`` is done afterwards."""
        if self._leader_back is None:
            return
        try:
            await self._leader_back.wait()
        except asyncio.CancelledError:
            if late is not None:
                self._late.append(late)
            raise

    # ------------------------------------------------------------------------------------------------------ data

    def get(self, key: str) -> Entry | None:
        """The entry, if it exists."""
        return self._entries.get(key)

    def list(self, prefix: str) -> Listing:
        """All entries under a prefix."""
        found = (entry for key, entry in self._entries.items() if key.startswith(prefix))
        return Listing(self.revision, tuple(sorted(found, key=lambda entry: key_bytes(entry.key))))

    def changes(self, prefix: str, after: int) -> Changes:
        """All changes under a prefix after a revision. Raises CompactedError."""
        if not self.compacted <= after <= self.revision:
            raise CompactedError(f"the history after revision {after} is not there any more")
        start = bisect.bisect_right(self._log, after, key=lambda change: change.revision)
        found = tuple(change for change in self._log[start:] if change.key.startswith(prefix))
        return Changes(self.revision, found)

    def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard]) -> Committed | Refused:
        """All operations or none."""
        current = {guard.key: entry for guard in guards if (entry := self._entries.get(guard.key)) is not None}
        if any((current[g.key].revision if g.key in current else 0) != g.revision for g in guards):
            return Refused(tuple(current.values()))
        for operation in operations:
            if isinstance(operation, Put) and operation.lease is not None and operation.lease not in self._leases:
                raise RegistryRefusedError(f"lease {operation.lease} has ended", hint="grant another one")
        revision = self.revision + 1
        changes = [change for operation in operations if (change := self._do(operation, revision)) is not None]
        if changes:
            self.revision = revision
            self._log.extend(changes)
            self._trim()
            for event in self.woken:
                event.set()
        return Committed(self.revision)

    def _do(self, operation: Put | Delete, revision: int) -> Change | None:
        before = self._entries.pop(operation.key, None)
        self._held.pop(operation.key, None)
        if isinstance(operation, Delete):
            return None if before is None else Change(operation.key, revision, None)
        entry = Entry(operation.key, operation.value, revision, before.created if before else revision)
        self._entries[operation.key] = entry
        if operation.lease is not None:
            self._held[operation.key] = operation.lease
        return Change(operation.key, revision, entry)

    def _trim(self) -> None:
        if len(self._log) > self._history:
            self.compacted = self._log[len(self._log) - self._history - 1].revision
            del self._log[: bisect.bisect_right(self._log, self.compacted, key=lambda change: change.revision)]

    # ---------------------------------------------------------------------------------------------------- leases

    def grant(self, ttl: float) -> int:
        """A new lease."""
        lease = next(self._ids)
        self._leases[lease] = _Lease(ttl)
        self.keep_alive(lease)
        return lease

    def keep_alive(self, lease: int) -> bool:
        """Prolong a lease; False when it has ended."""
        held = self._leases.get(lease)
        if held is None:
            return False
        if held.timer is not None:
            held.timer.cancel()
        held.timer = asyncio.get_running_loop().call_later(held.ttl, self._lapse, lease)
        return True

    def _lapse(self, lease: int) -> None:
        if self._leader_back is not None:
            # Nobody ends leases while there is no leader, and the next one gives each its whole time again.
            self.keep_alive(lease)
        else:
            self.revoke(lease)

    def revoke(self, lease: int) -> None:
        """End a lease and its keys."""
        held = self._leases.pop(lease, None)
        if held is not None and held.timer is not None:
            held.timer.cancel()
        keys = sorted(key for key, holder in self._held.items() if holder == lease)
        if keys:
            self.commit([Delete(key) for key in keys], ())


class MemoryStore:
    """The store's contract (``store.Store``) on a space. Its attributes and methods are this client's own troubles."""

    def __init__(self, space: MemorySpace | None = None, *, timeout: float = 3.0) -> None:
        """Without ``space`` it has one of its own. ``timeout``: seconds until a call gives up."""
        self.space = space if space is not None else MemorySpace()
        self.unavailable = False
        """Every call fails at once, and ``go_away`` ends running watches too."""
        self.delay = 0.0
        """Seconds every call takes."""
        self.answers_to_lose = 0
        """The next so many guarded commits happen, and their callers are told that it is not known."""
        self.calls = 0
        """Calls made so far, watches not counted."""
        self._timeout = timeout
        self._cuts = 0
        self._silences = 0
        self._closed = False
        self._watches: set[asyncio.Event] = set()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "unavailable" if self.unavailable else "available"
        return f"<MemoryStore {state} on {self.space!r}>"

    # -------------------------------------------------------------------------------------------------- troubles

    def go_away(self) -> None:
        """Be unreachable: calls fail, running watches break."""
        self.unavailable = True
        self.cut_watches()

    def come_back(self) -> None:
        """Be reachable again."""
        self.unavailable = False

    def cut_watches(self) -> None:
        """Break the running watches; they say so."""
        self._cuts += 1
        self._wake()

    def silence_watches(self) -> None:
        """Break the running watches without a sign; they find out after SILENCE seconds."""
        self._silences += 1
        self._wake()

    def _wake(self) -> None:
        for event in self._watches:
            event.set()

    # ---------------------------------------------------------------------------------------------- the contract

    async def get(self, key: str) -> Entry | None:
        """See ``Store``."""
        return await self._call(lambda: self.space.get(key))

    async def list(self, prefix: str) -> Listing:
        """See ``Store``."""
        return await self._call(lambda: self.space.list(prefix))

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """See ``Store``."""
        check_commit(operations, guards)
        asked = (tuple(operations), tuple(guards))
        result = await self._call(lambda: self.space.commit(*asked), commit=True, guarded=bool(guards))
        if guards and self.answers_to_lose:
            self.answers_to_lose -= 1
            raise RegistryUnavailableError("the answer was lost", unknown=True)
        return result

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """See ``Store``."""
        woken = asyncio.Event()
        self._watches.add(woken)
        self.space.woken.add(woken)
        cuts, silences = self._cuts, self._silences
        told_at: float | None = None
        try:
            while not self._closed:
                woken.clear()
                if self.unavailable or self._cuts != cuts:
                    raise RegistryUnavailableError("the connection broke")
                if self._silences != silences:
                    await self._hear_nothing(woken, cuts)
                    continue
                changes = self.space.changes(prefix, after)
                after = changes.revision
                if changes.changes or told_at is None or monotonic() - told_at >= SIGN_OF_LIFE:
                    yield changes
                    told_at = monotonic()
                    continue
                try:
                    async with asyncio.timeout(max(told_at + SIGN_OF_LIFE - monotonic(), _SHORTEST)):
                        await woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._watches.discard(woken)
            self.space.woken.discard(woken)

    async def _hear_nothing(self, woken: asyncio.Event, cuts: int) -> None:
        try:
            async with asyncio.timeout(SILENCE):
                while self._cuts == cuts and not self._closed:
                    woken.clear()
                    await woken.wait()
        except TimeoutError:
            raise RegistryUnavailableError(f"nothing was heard for {SILENCE:g} s") from None

    async def grant(self, ttl: float) -> int:
        """See ``Store``."""
        if ttl < 1:
            raise ValueError(f"expected a ttl of 1 second or more, not {ttl}")
        return await self._call(lambda: self.space.grant(ttl))

    async def keep_alive(self, lease: int) -> bool:
        """See ``Store``."""
        return await self._call(lambda: self.space.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        """See ``Store``."""
        await self._call(lambda: self.space.revoke(lease))

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """None: it is in this process."""
        return ()

    async def close(self) -> None:
        """See ``Store``."""
        self._closed = True
        self._wake()

    async def _call(self, work: Callable[[], T], *, commit: bool = False, guarded: bool = False) -> T:
        """One call with the troubles of the moment. Half of the delay is the way there, half the way back."""
        self.calls += 1
        # As over a network, others get their turn during every call.
        await asyncio.sleep(0)
        if self._closed:
            raise RegistryUnavailableError("the registry was closed by this process")
        if self.unavailable:
            raise RegistryUnavailableError("the registry is unreachable")
        sent = False
        try:
            async with asyncio.timeout(self._timeout):
                if self.delay:
                    await asyncio.sleep(self.delay / 2)
                sent = True
                await self.space.wait_for_leader(work if commit else None)
                result = work()
                if self.delay:
                    await asyncio.sleep(self.delay / 2)
        except TimeoutError:
            raise RegistryUnavailableError(f"no answer within {self._timeout:g} s", unknown=guarded and sent) from None
        if self.unavailable:
            raise RegistryUnavailableError("the connection broke", unknown=guarded)
        return result
