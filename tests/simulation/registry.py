"""A simulated registry: the store's contract, with a network between the store and each of its clients.

Commits are atomic at the moment they arrive; they arrive after the caller has given up, too. Watches are ordered each
for itself and late each in its own way. The data is ``MemorySpace``, which passes the suite of all stores.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from gogeta.registry.memory import MemorySpace
from gogeta.registry.store import (
    Changes,
    Committed,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryError,
    RegistryUnavailableError,
    check_commit,
)
from tests.simulation.scheduler import Call, Process
from tests.simulation.world import Wire, World

T = TypeVar("T")
TIMEOUT: Final = 3.0
"""Seconds until a call gives up."""
SIGN_OF_LIFE: Final = 2.0
SILENCE: Final = 5.0
"""Seconds without a word after which a watch is given up."""

Committing = Callable[[Process, Sequence[Put | Delete], Sequence[Guard]], None]


class Space(MemorySpace):
    """The data; leases end by the world's clock."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._ends: dict[int, Call] = {}
        self._ttls: dict[int, float] = {}

    def grant(self, ttl: float) -> int:
        """As the store has it."""
        lease = next(self._ids)
        self._leases[lease] = cast("Any", _NoLease)
        self._ttls[lease] = ttl
        self.keep_alive(lease)
        return lease

    def keep_alive(self, lease: int) -> bool:
        """As the store has it."""
        if lease not in self._leases:
            return False
        if lease in self._ends:
            self._ends[lease].cancel()
        self._ends[lease] = self._world.scheduler.after(self._ttls[lease], self.revoke, lease)
        return True


class _NoLease:
    timer = None


class _Stream:
    """One watch under way."""

    def __init__(self, process: Process, wire: Wire, prefix: str, after: int) -> None:
        self.process = process
        self.wire = wire
        self.prefix = prefix
        self.after = after
        """Everything up to here is on its way."""
        self.arrives = 0.0
        """When the last message does."""
        self.told_at = float("-inf")
        self.came: deque[Changes | RegistryError] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.open = True

    def arrive(self, message: Changes | RegistryError) -> None:
        """On the client's side."""
        if self.open:
            self.came.append(message)
            if self.waiter is not None and not self.waiter.done():
                self.waiter.set_result(None)


class Server:
    """The registry's server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.space = Space(world)
        self.space.woken.add(cast("asyncio.Event", self))
        self.down = False
        """Refuses connections."""
        self.hung = False
        """Takes calls and answers none."""
        self.on_commit: Committing = lambda *_: None
        """Called with each guardless or guarded commit that has just happened."""
        self._queued: list[Callable[[], None]] = []
        self._streams: dict[_Stream, None] = {}
        world.scheduler.after(SIGN_OF_LIFE, self._signs_of_life)

    # -------------------------------------------------------------------------------------------------------- troubles

    def go_down(self) -> None:
        """Die; the data stays."""
        self.down, self.hung = True, False
        self._queued.clear()
        self.break_watches()

    def come_up(self) -> None:
        """Start again."""
        self.down = False

    def hang(self) -> None:
        """SIGSTOP."""
        self.hung = True

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile happens now."""
        self.hung = False
        queued, self._queued = self._queued, []
        for work in queued:
            work()
        self.set()

    def break_watches(self, process: Process | None = None) -> None:
        """Their connections break, and they know."""
        for stream in tuple(self._streams):
            if process is None or stream.process is process:
                self._send(stream, RegistryUnavailableError("the connection broke"))
                self._streams.pop(stream, None)

    # ----------------------------------------------------------------------------------------------------------- calls

    def receive(self, process: Process, wire: Wire, work: Callable[[], object], answer: asyncio.Future[Any]) -> None:
        """A call has come over the wire."""
        if wire.cut:
            return
        if self.down:
            self._answer(process, wire, answer, RegistryUnavailableError("connection refused"))
        elif self.hung:
            self._queued.append(lambda: self.receive(process, wire, work, answer))
        else:
            try:
                result = work()
            except RegistryError as error:
                result = error
            self._answer(process, wire, answer, result)

    def _answer(self, process: Process, wire: Wire, answer: asyncio.Future[Any], result: object) -> None:
        if wire.answers_to_lose and isinstance(result, Committed):
            wire.answers_to_lose -= 1
            result = RegistryUnavailableError("the answer was lost", unknown=True)
        arrives = self.world.scheduler.now + self.world.between(*wire.latency)
        self.world.scheduler.at(arrives, process, _settle, wire, answer, result)

    # --------------------------------------------------------------------------------------------------------- watches

    def follow(self, stream: _Stream) -> None:
        """A watch has come over the wire."""
        if stream.wire.cut or not stream.open:
            return
        if self.down:
            self._send(stream, RegistryUnavailableError("connection refused"))
            return
        if self.hung:
            self._queued.append(lambda: self.follow(stream))
            return
        self._streams[stream] = None
        self._tell(stream, always=True)

    def set(self) -> None:
        """Something has changed (the space's side)."""
        if not self.hung:
            for stream in tuple(self._streams):
                self._tell(stream)

    def _tell(self, stream: _Stream, *, always: bool = False) -> None:
        if not stream.open or stream.process.dead:
            self._streams.pop(stream, None)
            return
        if stream.wire.cut:
            # The kernel keeps it, and sends it when the way is free again, unless the watch was given up meanwhile.
            stream.wire.withheld[id(stream)] = lambda: self._tell(stream, always=True)
            return
        try:
            changes = self.space.changes(stream.prefix, stream.after)
        except RegistryError as error:
            self._send(stream, error)
            self._streams.pop(stream, None)
            return
        stream.after = changes.revision
        if changes.changes or always:
            self._send(stream, changes)

    def _send(self, stream: _Stream, message: Changes | RegistryError) -> None:
        now = self.world.scheduler.now
        stream.told_at = now
        stream.arrives = max(stream.arrives, now + self.world.between(*stream.wire.latency))
        stream.arrives = max(stream.arrives, now + self.world.between(*stream.wire.lag))
        self.world.scheduler.at(stream.arrives, stream.process, stream.arrive, message)

    def _signs_of_life(self) -> None:
        self.world.scheduler.after(SIGN_OF_LIFE, self._signs_of_life)
        if not self.hung:
            for stream in tuple(self._streams):
                if self.world.scheduler.now - stream.told_at >= SIGN_OF_LIFE - 0.01:
                    self._tell(stream, always=True)


def _settle(wire: Wire, answer: asyncio.Future[Any], result: object) -> None:
    if wire.cut or answer.done():
        return
    if isinstance(result, RegistryError):
        answer.set_exception(result)
        # Who asked may have given up in this very moment.
        answer.exception()
    else:
        answer.set_result(result)


class SimulatedStore:
    """The store's contract (``store.Store``), as one process has it."""

    def __init__(self, server: Server, process: Process, wire: Wire) -> None:
        self._server = server
        self._process = process
        self._wire = wire
        self.before_commit: Callable[[Sequence[Put | Delete]], None] = lambda _: None
        self.after_commit: Callable[[Sequence[Put | Delete]], None] = lambda _: None

    async def get(self, key: str) -> Entry | None:
        """See ``Store``."""
        return await self._call(lambda: self._server.space.get(key))

    async def list(self, prefix: str) -> Listing:
        """See ``Store``."""
        return await self._call(lambda: self._server.space.list(prefix))

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """See ``Store``."""
        check_commit(operations, guards)
        # All changes of a commit happen at once: their order means nothing, and must not depend on addresses of memory.
        asked = tuple(sorted(operations, key=lambda operation: operation.key))
        self.before_commit(asked)

        def work() -> Committed | Refused:
            result = self._server.space.commit(asked, guards)
            if result.happened:
                self._server.on_commit(self._process, asked, guards)
            return result

        result = await self._call(work, guarded=bool(guards))
        self.after_commit(asked)
        return result

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """See ``Store``."""
        stream = _Stream(self._process, self._wire, prefix, after)
        world = self._server.world
        loop = asyncio.get_running_loop()
        world.scheduler.after(world.between(*self._wire.latency), self._server.follow, stream)
        try:
            while True:
                while stream.came:
                    message = stream.came.popleft()
                    if isinstance(message, RegistryError):
                        raise message
                    yield message
                stream.waiter = loop.create_future()
                silent = loop.call_later(
                    SILENCE, _give_up, stream.waiter, RegistryUnavailableError("nothing was heard")
                )
                try:
                    await stream.waiter
                finally:
                    silent.cancel()
        finally:
            stream.open = False

    async def grant(self, ttl: float) -> int:
        """See ``Store``."""
        return await self._call(lambda: self._server.space.grant(ttl))

    async def keep_alive(self, lease: int) -> bool:
        """See ``Store``."""
        return await self._call(lambda: self._server.space.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        """See ``Store``."""
        await self._call(lambda: self._server.space.revoke(lease))

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """None that anything could point at."""
        return ()

    async def close(self) -> None:
        """See ``Store``."""

    async def _call(self, work: Callable[[], T], *, guarded: bool = False) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        world = self._server.world
        world.scheduler.after(
            world.between(*self._wire.latency), self._server.receive, self._process, self._wire, work, answer
        )
        error = RegistryUnavailableError(f"no answer within {TIMEOUT:g} s", unknown=guarded)
        late = loop.call_later(TIMEOUT, _give_up, answer, error)
        try:
            return await answer
        finally:
            late.cancel()


def _give_up(answer: asyncio.Future[Any], error: RegistryUnavailableError) -> None:
    if not answer.done():
        answer.set_exception(error)
        # Who asked may be cancelled in this very moment.
        answer.exception()
