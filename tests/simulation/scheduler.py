"""Virtual time, and processes in it that may be frozen, thawed and killed at any point.

One ``Scheduler`` runs everything of a simulated world, one call after the other. Each simulated process has an event
loop of its own (``ProcessLoop``), so that what it had under way can vanish with it: a killed process runs no
``finally`` and no ``except``, as after SIGKILL. It must not know what the processes do.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, Protocol, TypeVar, cast

T = TypeVar("T")
START: Final = 1000.0
"""The time at which a world begins."""
_MOST_AT_ONCE: Final = 200_000
"""Calls without any time passing after which a world is taken for a hot loop."""


class HotLoopError(AssertionError):
    """Something runs for ever without waiting."""


class Call:
    """One call to come. What asyncio knows as a handle; ``owner`` None is the world itself."""

    __slots__ = ("args", "callback", "cancelled_", "context", "owner", "when_")

    def __init__(
        self, owner: Process | None, when: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self.owner = owner
        self.when_ = when
        self.callback = callback
        self.args = args
        self.context: Context | None = None
        self.cancelled_ = False

    def cancel(self) -> None:
        """As asyncio has it."""
        self.cancelled_ = True
        self.args = ()

    def cancelled(self) -> bool:
        """As asyncio has it."""
        return self.cancelled_

    def when(self) -> float:
        """As asyncio has it."""
        return self.when_


class Scheduler:
    """The one queue of all that will happen."""

    def __init__(self) -> None:
        self.now = START
        self.calls = 0
        """Calls made so far."""
        self.running: Process | None = None
        """Whose call is being made."""
        self.on_error: Callable[[Process | None, BaseException, str], None] = _raise
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()
        self._at_once = 0

    def soon(self, owner: Process | None, callback: Callable[..., object], *args: Any) -> Call:  # noqa: ANN401
        """Call it after all that is ready now."""
        call = Call(owner, self.now, callback, args)
        self._ready.append(call)
        return call

    def at(self, when: float, owner: Process | None, callback: Callable[..., object], *args: Any) -> Call:  # noqa: ANN401
        """Call it at a time."""
        call = Call(owner, when, callback, args)
        heapq.heappush(self._timers, (when, next(self._numbers), call))
        return call

    def after(self, delay: float, callback: Callable[..., object], *args: Any) -> Call:  # noqa: ANN401
        """Call it, as the world, after so many seconds."""
        return self.at(self.now + delay, None, callback, *args)

    def again(self, call: Call) -> None:
        """Make a call that was put off, soon."""
        self._ready.append(call)

    def run_until(self, end: float) -> None:
        """Let time pass."""
        while True:
            self._run_ready()
            if not self._timers or self._timers[0][0] > end:
                break
            when = self._timers[0][0]
            if when > self.now:
                self.now = when
                self._at_once = 0
            while self._timers and self._timers[0][0] <= self.now:
                self._ready.append(heapq.heappop(self._timers)[2])
        self.now = max(self.now, end)

    def _run_ready(self) -> None:
        ready, set_loop = self._ready, events._set_running_loop  # noqa: SLF001 - what asyncio's runners do
        loop = None
        try:
            while ready:
                call = ready.popleft()
                if call.cancelled_:
                    continue
                process = call.owner
                if process is not None and (process.hampered and not process.may_run(call)):
                    continue
                self.calls += 1
                self._at_once += 1
                if self._at_once > _MOST_AT_ONCE:
                    raise HotLoopError(f"{process}: {call.callback!r} is called again and again, and no time passes")
                self.running = process
                wanted = None if process is None else process.loop
                if wanted is not loop:
                    loop = wanted
                    set_loop(cast("asyncio.AbstractEventLoop | None", loop))
                try:
                    if call.context is None:
                        call.callback(*call.args)
                    else:
                        call.context.run(call.callback, *call.args)
                except Exception as error:  # noqa: BLE001 - a loop outlives what its callbacks raise, and says so
                    self.on_error(process, error, f"in {call.callback!r}")
        finally:
            set_loop(None)
            self.running = None


def _raise(_process: Process | None, error: BaseException, _what: str) -> None:
    raise error


class Process:
    """One simulated process: its loop, and whether it runs."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.loop = ProcessLoop(scheduler, self)
        self.dead = False
        self.frozen = False
        self.born = scheduler.now
        self.doomed = False
        """Whether somebody will start it again when it dies."""
        self._fuse: int | None = None
        self.hampered = False
        """Whether ``may_run`` has something to say."""
        self.on_death: list[Callable[[], None]] = []
        self.wall_offset = 0.0
        """How far its host's wall clock is off, in seconds."""
        self._put_off: list[Call] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def __repr__(self) -> str:
        return f"<{self.name}{' dead' if self.dead else ' frozen' if self.frozen else ''}>"

    @property
    def fuse(self) -> int | None:
        """It dies before the call after so many more of its own."""
        return self._fuse

    @fuse.setter
    def fuse(self, calls: int | None) -> None:
        self._fuse = calls
        self.hampered = True

    @property
    def runs(self) -> bool:
        """Whether it is alive and not frozen."""
        return not (self.dead or self.frozen)

    def may_run(self, call: Call) -> bool:
        """Whether this call is made now; a frozen process makes it later, a dead one never."""
        if self.dead:
            return False
        if self.frozen:
            self._put_off.append(call)
            return False
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                self.kill()
                return False
        return True

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Its main task."""
        return self.loop.create_task(work)

    def kill(self) -> None:
        """SIGKILL: nothing of it is run any more."""
        if self.dead:
            return
        self.dead = self.hampered = True
        for told in self.on_death:
            told()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = self.hampered = True

    def thaw(self) -> None:
        """SIGCONT: what became due meanwhile happens now."""
        self.frozen = False
        put_off, self._put_off = self._put_off, []
        if not self.dead:
            for call in put_off:
                self.scheduler.again(call)

    def hold(self, task: asyncio.Task[Any]) -> None:
        """Keep a task from being collected: its end would run what a killed process does not run."""
        self._tasks.append(task)
        if len(self._tasks) > 256:
            self._tasks = [held for held in self._tasks if not held.done()]

    def bury(self) -> None:
        """The world is over: let go without a word."""
        self.dead = self.hampered = True
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - as asyncio's own gather does


class Connector(Protocol):
    """Makes connections for a process."""

    async def connect(self, process: Process, factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
        """As the loop's ``create_connection``."""
        ...


class ProcessLoop:
    """As much of an event loop as our code uses. Time is the scheduler's; sockets are the connector's."""

    def __init__(self, scheduler: Scheduler, process: Process) -> None:
        self._scheduler = scheduler
        self._process = process
        self.connector: Connector | None = None

    def time(self) -> float:
        """Virtual, in seconds."""
        return self._scheduler.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401 - asyncio's signature
        """As asyncio has it."""
        call = self._scheduler.soon(self._process, callback, *args)
        call.context = context
        return call

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401 - asyncio's signature
        """As asyncio has it."""
        call = self._scheduler.at(when, self._process, callback, *args)
        call.context = context
        return call

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # noqa: ANN401 - asyncio's signature
        """As asyncio has it."""
        return self.call_at(self._scheduler.now + max(delay, 0.0), callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """As asyncio has it."""
        return asyncio.Future(loop=cast("asyncio.AbstractEventLoop", self))

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> asyncio.Task[Any]:  # noqa: ANN401 - asyncio's signature
        """As asyncio has it."""
        task: asyncio.Task[Any] = asyncio.Task(
            coro, loop=cast("asyncio.AbstractEventLoop", self), name=name, context=context
        )
        self._process.hold(task)
        return task

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # noqa: ANN401 - asyncio's signature
        """To an address of the simulated network."""
        assert self.connector is not None
        return await self.connector.connect(self._process, protocol_factory, cast("str", host), cast("int", port))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody has caught."""
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        self._scheduler.on_error(self._process, error, str(context.get("message")))

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, to those who ask from within."""
        return True

    def is_closed(self) -> bool:
        """A killed process cannot ask."""
        return False
