"""A stage for whole-controller tests on virtual time: a registry, a runtime with Docker's habits, passivators that die.

The runtime and the registry outlive the controllers, as they do in life. ``Faults`` freezes a controller at any call of
either, before or after it took effect: a frozen one that is then abandoned was killed at that very point.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import LastAccess, ObservedState, ReasonCode, TenantRecord
from gogeta.domain.tenant import Tenant, TenantName, read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.tracing import Tracing
from gogeta.registry import keys
from gogeta.registry.memory import MemorySpace, MemoryStore
from gogeta.registry.registry import Registry
from gogeta.registry.store import Committed, Delete, Guard, Put, Refused
from passivator.controller import Controller
from passivator.drivers.base import (
    NOTHING,
    Health,
    Machine,
    Runtime,
    RuntimeEvent,
    RuntimeUnavailableError,
    StartFailedError,
    Status,
    StopFailedError,
    unfenced,
)
from passivator.drivers.labelled import LabelSource
from passivator.meters import Meters
from passivator.process_mark import ThisProcess
from passivator.settings import ControllerSettings
from passivator.webhooks import Post


class Faults:
    """Freezes whoever makes the call of number ``at``, counted over registry commits and runtime calls alike."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.calls = 0
        self.frozen = asyncio.Event()
        self.seen: list[str] = []

    async def point(self, name: str) -> None:
        """One point at which a process may die."""
        if self.calls == self.at or self.frozen.is_set():
            self.frozen.set()
            await asyncio.Event().wait()
        self.calls += 1
        self.seen.append(name)


class MortalStore(MemoryStore):
    """A store whose caller may die before and after each commit."""

    def __init__(self, space: MemorySpace, faults: Faults) -> None:
        super().__init__(space)
        self.faults = faults

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        written = ",".join(operation.key for operation in operations)
        if keys.MEMBERS not in written and keys.LEADERS not in written:
            await self.faults.point(f"before commit {written}")
        result = await super().commit(operations, guards)
        if keys.MEMBERS not in written and keys.LEADERS not in written:
            await self.faults.point(f"after commit {written}")
        return result


@dataclass(slots=True)
class Habit:
    """How a tenant's application behaves."""

    start_seconds: float = 0.3
    ready_after: float | None = 1.0
    """Seconds from the start until its health is green; None never."""
    unhealthy_after: float | None = None
    stop_seconds: float = 0.5
    fails: ReasonCode | None = None
    """It cannot be started at all."""
    dies_after: float | None = None
    """It ends by itself so long after its start."""
    stop_fails: bool = False
    pause_fails: bool = False
    cpu: float = 0.0
    """Processors that it uses."""


@dataclass(slots=True)
class Thing:
    """What the runtime has of one tenant."""

    runtime: Runtime
    since: float = 0.0
    habit: Habit = field(default_factory=Habit)


class SimulatedRuntime:
    """A container engine that outlives those who drive it."""

    def __init__(self) -> None:
        self.things: dict[TenantName, Thing] = {}
        self.habits: dict[str, Habit] = {}
        self.down = False
        self.calls: list[tuple[str, str]] = []
        self.starting = 0
        self.most_starting = 0
        self.order: list[str] = []
        self._instances = itertools.count(1)
        self._listeners: set[asyncio.Queue[RuntimeEvent]] = set()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def habit(self, name: str) -> Habit:
        return self.habits.setdefault(name, Habit())

    def look(self, name: TenantName) -> Runtime:
        thing = self.things.get(name)
        if thing is None:
            return NOTHING
        if thing.runtime.status is not Status.RUNNING:
            return thing.runtime
        age, habit = self.now() - thing.since, thing.habit
        if habit.dies_after is not None and age >= habit.dies_after:
            thing.runtime = replace(thing.runtime, status=Status.EXITED, exit_code=3, endpoints=(), message="I am dead")
            return thing.runtime
        green = habit.ready_after is not None and age >= habit.ready_after
        red = habit.unhealthy_after is not None and age >= habit.unhealthy_after
        health = Health.UNHEALTHY if red else Health.HEALTHY if green else Health.STARTING
        return replace(thing.runtime, health=health)

    def run(self, name: TenantName) -> Runtime:
        habit = replace(self.habit(name))
        number = next(self._instances)
        runtime = Runtime(
            status=Status.RUNNING, instance=f"{name}-{number}", endpoints=(Endpoint("10.0.0.1", 1000 + number),)
        )
        self.things[name] = Thing(runtime, self.now(), habit)
        self.order.append(name)
        for moment in (habit.ready_after, habit.dies_after):
            if moment is not None:
                asyncio.get_running_loop().call_later(moment + 0.001, self.tell, name)
        return self.look(name)

    def end(self, name: str, code: int = 137) -> None:
        thing = self.things[TenantName(name)]
        thing.runtime = replace(thing.runtime, status=Status.EXITED, exit_code=code, endpoints=())
        self.tell(name)

    def tell(self, name: str | None) -> None:
        for listener in self._listeners:
            listener.put_nowait(RuntimeEvent(TenantName(name) if name else None))

    def running(self, name: str) -> bool:
        return self.look(TenantName(name)).status is Status.RUNNING

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[RuntimeEvent]]:
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)


class SimulatedDriver:
    """The driver's contract on a simulated runtime."""

    kind = "memory"
    identity = "stage"
    memory: int | None = None

    def __init__(self, runtime: SimulatedRuntime, faults: Faults, kind: str = "memory") -> None:
        self.runtime = runtime
        self.faults = faults
        self.kind = kind
        self.fence = unfenced
        self.closed = False

    async def _call(self, name: str, tenant: str = "") -> None:
        await self.faults.point(f"before {name} {tenant}")
        self.runtime.calls.append((name, tenant))
        if self.runtime.down:
            await asyncio.sleep(0.1)
            raise RuntimeUnavailableError("the runtime does not answer")

    async def open(self) -> None:
        await self._call("open")

    async def machine(self) -> Machine:
        await self._call("machine")
        return Machine(identity=self.identity, memory=self.memory)

    async def resign(self) -> None:
        await self._call("resign")

    async def list(self) -> Mapping[TenantName, Runtime]:
        await self._call("list")
        return {name: self.runtime.look(name) for name in self.runtime.things}

    async def inspect(self, tenant: Tenant) -> Runtime:
        await self._call("inspect", tenant.name)
        return self.runtime.look(tenant.name)

    async def start(self, tenant: Tenant) -> Runtime:
        await self._call("start", tenant.name)
        habit = self.runtime.habit(tenant.name)
        if self.runtime.look(tenant.name).status is Status.PAUSED:
            habit = replace(habit, start_seconds=0.005)
        self.runtime.starting += 1
        self.runtime.most_starting = max(self.runtime.most_starting, self.runtime.starting)
        try:
            await asyncio.sleep(habit.start_seconds)
        finally:
            self.runtime.starting -= 1
        if habit.fails is not None:
            raise StartFailedError(habit.fails, f"{habit.fails.value}, the runtime says")
        thing = self.runtime.things.get(tenant.name)
        if thing is not None and thing.runtime.status is Status.PAUSED:
            thing.runtime = replace(thing.runtime, status=Status.RUNNING)
        elif self.runtime.look(tenant.name).status is not Status.RUNNING:
            self.runtime.run(tenant.name)
        await self.faults.point(f"after start {tenant.name}")
        return self.runtime.look(tenant.name)

    async def stop(self, tenant: Tenant) -> Runtime:
        await self._call("stop", tenant.name)
        if self.runtime.look(tenant.name).status in (Status.RUNNING, Status.PAUSED):
            habit = self.runtime.habit(tenant.name)
            # As with Docker, a stop that was asked for happens, whether or not its caller waits.
            ending = asyncio.get_running_loop().create_task(self._end(tenant.name, habit))
            await asyncio.shield(ending)
        await self.faults.point(f"after stop {tenant.name}")
        return self.runtime.look(tenant.name)

    async def _end(self, name: TenantName, habit: Habit) -> None:
        await asyncio.sleep(habit.stop_seconds)
        if habit.stop_fails:
            raise StopFailedError("it does not end")
        if self.runtime.look(name).status in (Status.RUNNING, Status.PAUSED):
            self.runtime.end(name)

    async def pause(self, tenant: Tenant) -> Runtime:
        await self._call("pause", tenant.name)
        thing = self.runtime.things.get(tenant.name)
        if self.runtime.look(tenant.name).status not in (Status.RUNNING, Status.PAUSED) or thing is None:
            raise StopFailedError("it does not run")
        if self.runtime.habit(tenant.name).pause_fails:
            raise StopFailedError("it cannot be frozen")
        thing.runtime = replace(thing.runtime, status=Status.PAUSED)
        self.runtime.tell(tenant.name)
        await self.faults.point(f"after pause {tenant.name}")
        return self.runtime.look(tenant.name)

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        await self._call("cpu", tenant.name)
        if self.runtime.look(tenant.name).status is not Status.RUNNING:
            return None
        return self.runtime.now() * self.runtime.habit(tenant.name).cpu

    async def remove(self, name: TenantName) -> None:
        await self._call("remove", name)
        self.runtime.things.pop(name, None)
        await self.faults.point(f"after remove {name}")

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        return ""

    async def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        yield (await self.logs(tenant, lines)).splitlines()

    async def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        if self.runtime.down:
            raise RuntimeUnavailableError("the runtime does not answer")
        async with self.runtime.listening() as queue:
            yield RuntimeEvent()
            while not self.runtime.down:
                yield await queue.get()
        raise RuntimeUnavailableError("the connection broke")

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        return ()

    async def close(self) -> None:
        self.closed = True


class Stage:
    """One registry, one runtime, and the controllers that come and go."""

    def __init__(self, **settings: object) -> None:
        self.space = MemorySpace()
        self.registry = Registry(MemoryStore(self.space), "test")
        self.runtime = SimulatedRuntime()
        # A lease that is prolonged rarely: hours of virtual time are to cost little. Who dies is known to be dead.
        self.settings = ControllerSettings(**{"lead_ttl": 60.0, **settings})  # type: ignore[arg-type]
        self.store = MortalStore(self.space, Faults())
        self.problems: dict[str, str | None] = {}
        self.metrics = CollectorRegistry()
        self._task: asyncio.Task[None] | None = None
        self._marks = itertools.count(1)
        self.tracing: Tracing | None = None
        self.labels: LabelSource | None = None
        """Where tenants are discovered."""
        self.post: Post | None = None
        """What sends webhooks."""
        self.dead: set[str] = set()
        """Marks of the controllers that were killed: as on one machine, a successor finds that out at once."""

    # ------------------------------------------------------------------------------------------ passivator

    async def up(self, faults: Faults | None = None, kind: str = "memory") -> None:
        """Start a passivator."""
        self.store = MortalStore(self.space, faults or Faults())
        self.metrics = CollectorRegistry()
        self.driver = self.make_driver(kind)
        controller = Controller(
            self.settings,
            self.store,
            self.driver,
            member=ThisProcess("test", mark := f"stage-{next(self._marks)}", self.dead.__contains__),
            listeners=(),
            meters=Meters(self.metrics, driver=kind),
            ready=self.problems.__setitem__,
            tracing=self.tracing,
            post=self.post,
            labels=self.labels,
        )
        self._mark = mark
        self._task = asyncio.get_running_loop().create_task(controller.run())

    def make_driver(self, kind: str) -> SimulatedDriver:
        """The driver that the next passivator uses."""
        return SimulatedDriver(self.runtime, self.store.faults, kind)

    async def kill(self) -> None:
        """SIGKILL: whatever it had under way is left as it is, and nothing of it reaches anybody any more."""
        if self._task is not None:
            self.store.unavailable = True
            self.store.faults.at = -1
            self.store.faults.frozen.set()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            self.dead.add(self._mark)

    # ------------------------------------------------------------------------------------------ operators and proxies

    async def declare(self, name: str, **more: object) -> None:
        """Apply a tenant that docker runs (the simulated driver runs all kinds)."""
        data = {"name": name, "hosts": [f"{name}.example"], "docker": {"image": "app:1"}, **more}
        await self.registry.apply([read_tenant(data, what="test")])

    async def wake(self, name: str) -> int:
        """A visitor's request; the number of the wake."""
        return (await self.registry.change_desired(name, Cause.REQUEST)).desired.wakes

    async def use(self, name: str, in_flight: int = 0) -> None:
        """A proxy writes that it is in use."""
        await self.registry.record_accesses({name: LastAccess(at=0, by="gogeta/test", in_flight=in_flight)})

    async def record(self, name: str) -> TenantRecord:
        return await self.registry.record(name)

    async def observed(self, name: str) -> ObservedState:
        return (await self.record(name)).observed

    async def until(self, name: str, *states: Observed, within: float = 30.0) -> ObservedState:
        """Wait until it is in one of these states; what is recorded then."""
        seen: list[str] = []
        try:
            async with asyncio.timeout(within):
                async for observed in self._observations(name):
                    seen.append(observed.state)
                    if observed.state in states:
                        return observed
        except TimeoutError:
            pass
        raise AssertionError(f"{name} was {seen} and never {states}")

    async def _observations(self, name: str) -> AsyncIterator[ObservedState]:
        """What is recorded of it now, and whenever anything in the registry changes."""
        changed = asyncio.Event()
        self.space.woken.add(changed)
        try:
            while True:
                yield await self.observed(name)
                changed.clear()
                await changed.wait()
        finally:
            self.space.woken.discard(changed)

    async def history(self, name: str, seconds: float) -> list[Observed]:
        """The states it goes through in a time."""
        states: list[Observed] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for observed in self._observations(name):
                    if not states or states[-1] is not observed.state:
                        states.append(observed.state)
        return states

    def counted(self, call: str, name: str) -> int:
        """How often the runtime was asked for something."""
        return self.runtime.calls.count((call, name))

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.get_sample_value(name, labels) or 0.0
