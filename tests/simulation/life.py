"""One seed's life: a system is put together, used, troubled, left in peace, and judged."""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.registry import keys
from gogeta.registry.registry import Registry
from tests.simulation import determinism
from tests.simulation.engine import Dockerd, Program
from tests.simulation.judge import Judge, pending
from tests.simulation.network import Network
from tests.simulation.parts import OperatorPart, Part, PassivatorPart, ProxyPart
from tests.simulation.registry import Server
from tests.simulation.scheduler import HotLoopError
from tests.simulation.visitors import OWN, Request, Visitor
from tests.simulation.world import World

NAMES: Final = ("a", "b", "c")
IDLE: Final = (10.0, 15.0)
PAUSES: Final = (0.0, 0.0, 0.005, 0.02, 0.1, 0.3, 0.5, 0.6, 1.0, 2.0, 4.0)
LONGEST: Final = (0.2, 1.0, 3.0, 6.0, 12.0)
"""Seconds that a trouble lasts."""
SERVED_WITHIN: Final = 60.0
ASLEEP_WITHIN: Final = 75.0
KINDS: Final = (("get", 0.05), ("get", 0.05), ("navigation", 0.05), ("post", 0.1), ("get", 3.0), ("get", 14.0),
                ("download", 4.0), ("download", 16.0), ("socket", 3.0), ("socket", 18.0))  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What a life came to."""

    seed: int
    steps: int
    calls: int
    seconds: float
    counts: Counter[str]
    violations: list[str]
    trace: list[str] = field(default_factory=list)


class Life:
    """Everything of one seed."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.world = world = World(seed, tracing=tracing)
        self.random = world.random
        self.server = Server(world)
        self.dockerd = Dockerd(world)
        self.network = Network(world, self.dockerd)
        self.proxies = [
            ProxyPart(world, self.server, self.network, f"proxy{n}") for n in range(self.random.choice((2, 2, 3)))
        ]
        one_machine = self.random.random() < 0.5
        self.passivators = [
            PassivatorPart(world, self.server, self.network, f"passivator{n}", self.dockerd, one_machine=one_machine)
            for n in range(self.random.choice((1, 1, 2)))
        ]
        self.operator = OperatorPart(world, self.server, self.network, "operator")
        self.parts: list[Part] = [*self.proxies, *self.passivators]
        self.judge = Judge(world, self.server, frozenset(part.name for part in self.passivators))
        self.judge.shared_network = self.random.random() < 0.15
        self.steps = 0
        self._numbers = 0
        self._peace = False
        self._healing: list[Callable[[], None]] = []
        self._tenants = {name: self._tenant(name) for name in NAMES}
        self._connect()

    def _connect(self) -> None:
        judge, dockerd = self.judge, self.dockerd
        self.server.on_commit = judge.committed
        judge.on_sleep = self._meet_a_sleep
        dockerd.on_stop, dockerd.on_start_call, dockerd.on_start = judge.stop_begins, judge.start_asked, judge.started
        self.network.on_arrival, self.network.on_departure = judge.arrived, judge.departed
        for part in self.parts:
            part.on_start = lambda part=part: self.world.over(self.world.trouble("boot", part.name))  # type: ignore[misc]

    def _tenant(self, name: str, **more: object) -> Tenant:
        chance = self.random
        docker: dict[str, object] = {"image": "app:1"}
        if self.judge.shared_network:
            docker["network"] = "shared"
        return read_tenant(
            {
                "name": name,
                "hosts": [f"{name}.example"],
                "docker": docker,
                "idle_timeout": chance.choice(IDLE),
                "stop_grace": chance.choice((1, 3)),
                "wake": {"mode": chance.choice(("auto", "auto", "hold")), "timeout": chance.choice((8, 20))},
                "ready": {"timeout": 8, **({"path": "/ready"} if chance.random() < 0.3 else {})},
                **more,
            },
            what="simulation",
        )

    # ------------------------------------------------------------------------------------------------------- the story

    def live(self, steps: int) -> Outcome:
        """All of it."""
        world = self.world
        try:
            self._begin()
            self._story(steps)
            self._make_peace()
            self._all_are_served()
            self._all_fall_asleep()
        except HotLoopError as error:
            world.violated("FAULT", str(error))
        for process in world.processes:
            process.bury()
        return Outcome(
            world.seed, self.steps, world.scheduler.calls, world.now, world.counts, world.violations, world.lines
        )

    def _begin(self) -> None:
        self.operator.start()
        if self.judge.shared_network:
            self.dockerd.networks["shared"] = self.dockerd._network("shared")  # noqa: SLF001 - as an operator would make it
        self.operator.ask(lambda registry: registry.apply(list(self._tenants.values())))
        self._pass(0.05)
        for part in self.parts:
            part.start()
        self._pass(self.random.choice((0.05, 0.5, 2.0)))

    def _pass(self, seconds: float) -> None:
        self.world.scheduler.run_until(self.world.scheduler.now + seconds)

    def _story(self, steps: int) -> None:
        chance = self.random
        if chance.random() < 0.5:
            # A theme: a few kinds that are dangerous together, and often.
            kinds, orders = chance.choice(THEMES)
            trouble, order = 0.25, 0.25
        else:
            # A few of all kinds, some lives none: what happens together is seen more often so.
            share = chance.choice((0.0, 0.15, 0.35, 0.6))
            kinds = tuple(kind for kind in TROUBLES if chance.random() < share)
            trouble = chance.choice((0.1, 0.3, 0.5)) if kinds else 0.0
            orders = tuple(order for order in ORDERS if chance.random() < 0.5)
            order = chance.choice((0.0, 0.12)) if orders else 0.0
        shared = "one network" if self.judge.shared_network else "a network each"
        named = ", ".join(each.__name__ for each in (*kinds, *orders))
        self.world.tell("life", f"{len(self.proxies)} proxies, {shared}; {named}")
        for _ in range(steps):
            self.steps += 1
            drawn = chance.random()
            if drawn < trouble:
                chance.choice(kinds)(self)
            elif drawn < trouble + order:
                chance.choice(orders)(self)
            else:
                self._visit()
            self._pass(chance.choice(PAUSES) * (0.5 + chance.random()))
            if self.world.violations:
                return

    def _meet_a_sleep(self, tenant: str) -> None:
        """It has just been decided that a tenant sleeps: visitors come at every moment from now until it is stopped."""
        chance = self.random
        if self._peace or chance.random() < 0.4:
            return
        for _ in range(chance.randrange(1, 4)):
            kind, seconds = chance.choice(KINDS)
            asked = (tenant, chance.choice(self.proxies), kind, seconds)
            self.world.scheduler.after(chance.choice((0.01, 0.1, 0.8)) * chance.random(), self.visit, *asked)

    def name(self) -> str:
        """A tenant's."""
        return self.random.choice(NAMES)

    def lasts(self) -> float:
        """How long a trouble is there."""
        return self.random.choice(LONGEST) * (0.5 + self.random.random())

    def for_a_while(self, kind: str, whose: str, begin: Callable[[], object], end: Callable[[], object]) -> None:
        """A trouble that ends by itself, or with the peace."""
        span = self.world.trouble(kind, whose)
        begin()

        def over() -> None:
            if call is not None:
                call.cancel()
            if span.end > self.world.scheduler.now:
                end()
                self.world.over(span)

        call = self.world.scheduler.after(self.lasts(), over)
        self._healing.append(over)

    def _visit(self) -> None:
        chance = self.random
        kind, seconds = chance.choice(KINDS)
        self.visit(self.name(), chance.choice(self.proxies), kind, seconds * (0.5 + chance.random()))
        if chance.random() < 0.1:
            # Many at once.
            name = self.name()
            for proxy in self.proxies:
                for _ in range(3):
                    self.visit(name, proxy, "get", 0.05)

    def visit(self, tenant: str, proxy: ProxyPart, kind: str, seconds: float) -> Request:
        """A visitor asks for something."""
        self._numbers += 1
        request = Request(self._numbers, tenant, kind, seconds, proxy.name, self.world.scheduler.now)
        self.judge.began(request)
        visitor = Visitor(self.world, request, self.judge.ended)
        visitor.ask(proxy)
        if self.random.random() < 0.05 and not self._peace:
            self.world.scheduler.after(self.random.random() * 3, visitor.leave)
        return request

    # ----------------------------------------------------------------------------------------------------------- peace

    def _make_peace(self) -> None:
        self._peace = True
        world = self.world
        world.tell("life", "all troubles end")
        for over in self._healing:
            over()
        for part in self.parts:
            part.process.fuse = None
            if part.process.dead:
                part.restart()
        for name in NAMES:
            self.dockerd.programs[name] = Program()
            box = self.dockerd.of(name)
            if box is not None and box.paused:
                box.paused = False
        # As long as an operator's call may last that the registry had not answered: what he said last counts.
        self._pass(4.0)
        for name in NAMES:
            self.operator.ask(lambda registry, name=name: _declare(registry, self._tenants[name]))  # type: ignore[misc]
        self._pass(1.0)
        for name in NAMES:
            desired = self.judge.desired(name)
            if desired is not None and desired.state is Desired.STOPPED:
                self.operator.ask(lambda registry, name=name: registry.change_desired(name, Cause.START))  # type: ignore[misc]
        self._pass(20.0)

    def _all_are_served(self) -> None:
        """I2: in the end every tenant is served, through every proxy."""
        world = self.world
        give_up = world.scheduler.now + SERVED_WITHIN
        waiting = {(name, proxy.name): self.visit(name, proxy, "get", 0.05) for name in NAMES for proxy in self.proxies}
        while waiting and world.scheduler.now < give_up and not world.violations:
            self._pass(1.0)
            for (name, proxy), request in tuple(waiting.items()):
                if request.ended is not None:
                    del waiting[name, proxy]
                    if request.outcome != OWN:
                        again = next(part for part in self.proxies if part.name == proxy)
                        waiting[name, proxy] = self.visit(name, again, "get", 0.05)
        if world.violations:
            return
        for name, proxy in waiting:
            world.violated("I2", f"{name} is not served by {proxy} {SERVED_WITHIN:g} s after all troubles have ended")
        for request in pending(self.judge.requests):
            longest = request.began + request.seconds + 60.0
            if world.scheduler.now > longest:
                world.violated("I2", f"{request} was never answered")
        for part in self.passivators:
            if part.mistakes:
                world.violated("FAULT", f"{part.name} counts {part.mistakes:g} mistakes of its own")
        for name in NAMES:
            self._recorded_as_it_is(name)

    def _recorded_as_it_is(self, name: str) -> None:
        observed, box = self.judge.observed(name), self.dockerd.of(name)
        if observed is None or box is None or not box.running:
            return
        if observed.state is Observed.STARTED and (
            observed.instance != box.instance or [each.host for each in observed.endpoints] != [box.address]
        ):
            self.world.violated("I4", f"{name} is recorded as {observed.instance} and is {box.instance}")

    def _all_fall_asleep(self) -> None:
        world = self.world
        give_up = world.scheduler.now + ASLEEP_WITHIN
        while world.scheduler.now < give_up and not world.violations:
            self._pass(5.0)
            if not pending(self.judge.requests) and all(self._sleeps(name) for name in NAMES):
                return
        if world.violations:
            return
        for name in NAMES:
            if not self._sleeps(name):
                world.violated("SLEEP", f"{name} is not asleep {ASLEEP_WITHIN:g} s after its last visitor")
        for request in pending(self.judge.requests):
            world.violated("I2", f"{request} was never answered")

    def _sleeps(self, name: str) -> bool:
        box, observed = self.dockerd.of(name), self.judge.observed(name)
        return (box is None or not box.running) and observed is not None and observed.state is Observed.STOPPED


async def _declare(registry: Registry, tenant: Tenant) -> None:
    if (await registry.store.get(keys.tenant_key(tenant.name))) is None:
        await registry.apply([tenant])


# ------------------------------------------------------------------------------------------------- orders of operators


def sleep(life: Life) -> None:
    """``gogeta sleep``."""
    name = life.name()
    life.operator.ask(lambda registry: registry.change_desired(name, Cause.SLEEP))


def stop(life: Life) -> None:
    """``gogeta stop``, and after a while ``gogeta start``."""
    name = life.name()
    life.for_a_while(
        "stop",
        name,
        lambda: life.operator.ask(lambda registry: registry.change_desired(name, Cause.STOP)),
        lambda: life.operator.ask(lambda registry: registry.change_desired(name, Cause.START)),
    )


def wake(life: Life) -> None:
    """``gogeta wake``."""
    name = life.name()
    life.operator.ask(lambda registry: registry.change_desired(name, Cause.WAKE))


def undeclare(life: Life) -> None:
    """``gogeta rm``, and after a while it is declared again."""
    name = life.name()
    life.for_a_while(
        "undeclared",
        name,
        lambda: life.operator.ask(lambda registry: registry.remove(name)),
        lambda: life.operator.ask(lambda registry: _declare(registry, life._tenants[name])),  # noqa: SLF001
    )


ORDERS: Final[tuple[Callable[[Life], None], ...]] = (sleep, sleep, stop, wake, undeclare)


# ------------------------------------------------------------------------------------------------------------ troubles


def registry_dies(life: Life) -> None:
    """The registry is killed, and starts again."""
    life.for_a_while("registry down", "", life.server.go_down, life.server.come_up)


def registry_hangs(life: Life) -> None:
    """It is frozen."""
    life.for_a_while("registry hangs", "", life.server.hang, life.server.resume)


def registry_compacts(life: Life) -> None:
    """Its history is gone, and a watch breaks."""
    part = life.random.choice(life.parts)
    for each in life.parts:
        life.world.over(life.world.trouble("compaction", each.name))
    life.server.break_watches(part.process)
    life.server.space.compact()


def watches_break(life: Life) -> None:
    """A process's connections to the registry are reset."""
    part = life.random.choice(life.parts)
    life.world.over(life.world.trouble("broken watch", part.name))
    life.server.break_watches(part.process)


def cut_off(life: Life) -> None:
    """Nothing passes between a process and the registry."""
    part = life.random.choice(life.parts)

    def begin() -> None:
        part.wire.cut = True

    life.for_a_while("cut", part.name, begin, part.wire.heal)


def slow_wire(life: Life) -> None:
    """The way to the registry is slow."""
    part = life.random.choice(life.parts)

    def begin() -> None:
        part.wire.latency = (0.05, life.random.choice((0.3, 2.0)))

    def end() -> None:
        part.wire.latency = (0.0005, 0.004)

    life.for_a_while("slow", part.name, begin, end)


def late_watch(life: Life) -> None:
    """What is watched comes late to one process, and in order."""
    part = life.random.choice(life.parts)

    def begin() -> None:
        part.wire.lag = (0.05, life.random.choice((0.3, 3.0)))

    def end() -> None:
        part.wire.lag = (0.0005, 0.01)

    life.for_a_while("late watch", part.name, begin, end)


def answers_get_lost(life: Life) -> None:
    """The next commits of a process happen, and it is not told."""
    part = life.random.choice(life.parts)
    part.wire.answers_to_lose = life.random.choice((1, 1, 2, 4))

    def end() -> None:
        part.wire.answers_to_lose = 0

    life.for_a_while("lost answers", part.name, lambda: None, end)


def _again(life: Life, part: Part) -> None:
    if not life._peace and part.process.dead:  # noqa: SLF001 - one module
        part.restart()


def kill(life: Life) -> None:
    """SIGKILL of any process, at once or at some await from now; after a while it is started again."""
    part = life.random.choice((*life.parts, *life.passivators))
    _doom(life, part)
    if life.random.random() < 0.5:
        part.process.kill()
    else:
        part.process.fuse = life.random.randrange(60)


def kill_at_a_write(life: Life) -> None:
    """SIGKILL of passivator just before or after one of its next commits or calls of the runtime."""
    part = life.random.choice(life.passivators)
    if part.process.dead:
        return
    _doom(life, part)
    process, count = part.process, life.random.randrange(1, 5)

    def countdown(_: object) -> None:
        nonlocal count
        count -= 1
        if count == 0 and not life._peace:  # noqa: SLF001 - one module
            # It dies at the next thing it does: what it sends now is on its way.
            process.fuse = 0

    if life.random.random() < 0.5:
        part.store.before_commit = countdown
    else:
        part.store.after_commit = countdown


def _doom(life: Life, part: Part) -> None:
    process = part.process
    if process.dead or process.doomed:
        return
    process.doomed = True

    def died() -> None:
        life.world.over(life.world.trouble("kill", part.name))
        life.world.scheduler.after(life.random.choice((0.05, 0.3, 1.0, 4.0)), _again, life, part)

    process.on_death.append(died)


def freeze(life: Life) -> None:
    """SIGSTOP, and SIGCONT."""
    part = life.random.choice(life.parts)
    process = part.process
    if process.runs:
        life.for_a_while("freeze", part.name, process.freeze, process.thaw)


def clock_steps(life: Life) -> None:
    """The wall clock of a process's host jumps."""
    part = life.random.choice(life.parts)
    part.process.wall_offset += life.random.choice((-7200.0, -30.0, 30.0, 7200.0, 86400.0))
    life.world.over(life.world.trouble("clock", part.name))


def engine_dies(life: Life) -> None:
    """The Docker engine is killed; with or without its containers."""
    with_containers = life.random.random() < 0.4

    def begin() -> None:
        life.dockerd.go_down(kill=with_containers)

    if life.dockerd.up:
        if with_containers:
            life.world.over(life.world.trouble("engine dies", ""))
        life.for_a_while("engine down", "", begin, life.dockerd.come_up)


def engine_hangs(life: Life) -> None:
    """It answers nothing."""
    life.for_a_while("engine hangs", "", life.dockerd.hang, life.dockerd.resume)


def engine_is_slow(life: Life) -> None:
    """Each of its answers takes seconds."""

    def begin() -> None:
        life.dockerd.slow = life.random.choice((0.3, 1.5, 4.0))

    def end() -> None:
        life.dockerd.slow = 0.0

    life.for_a_while("engine slow", "", begin, end)


def events_are_lost(life: Life) -> None:
    """The event stream breaks."""
    life.world.over(life.world.trouble("lost events", ""))
    life.dockerd.lose_events()


def events_are_late(life: Life) -> None:
    """Events come seconds later."""

    def begin() -> None:
        life.dockerd.event_lag = (0.5, 3.0)

    def end() -> None:
        life.dockerd.event_lag = (0.001, 0.02)

    life.for_a_while("late events", "", begin, end)


def crash(life: Life) -> None:
    """A container ends by itself, or is killed for want of memory."""
    name = life.name()
    box = life.dockerd.of(name)
    if box is not None and box.running:
        memory = life.random.random() < 0.3
        life.world.over(life.world.trouble("out of memory" if memory else "crash", name))
        life.dockerd.end(box, 137 if memory else 1, out_of_memory=memory)


def hand_stops(life: Life) -> None:
    """``docker stop``, by somebody else."""
    name = life.name()
    box = life.dockerd.of(name)
    if box is not None and box.running and life.dockerd.up:
        life.world.over(life.world.trouble("stopped by hand", name))
        life.dockerd.signal(box, 2.0)


def hand_restarts(life: Life) -> None:
    """``docker restart``, by somebody else: often at another address."""
    name = life.name()
    box = life.dockerd.of(name)
    if box is not None and box.running and life.dockerd.up:
        life.world.over(life.world.trouble("restarted by hand", name))
        life.dockerd.end(box, 143)

        def run() -> None:
            if not box.running and not box.removed:
                life.dockerd.run(box)

        life.world.scheduler.after(life.random.choice((0.01, 0.3, 1.0)), run)


def hand_starts(life: Life) -> None:
    """``docker start``, by somebody else, of what is asleep."""
    box = life.dockerd.of(life.name())
    if box is not None and not box.running and life.dockerd.up and not box.starting:
        life.world.over(life.world.trouble("started by hand", box.tenant))
        life.dockerd.run(box)


def hand_pauses(life: Life) -> None:
    """``docker pause``, and ``unpause``, by somebody else."""
    name = life.name()
    box = life.dockerd.of(name)
    if box is not None and box.running:

        def begin() -> None:
            box.paused = True

        def end() -> None:
            box.paused = False

        life.for_a_while("paused by hand", name, begin, end)


def hand_removes(life: Life) -> None:
    """``docker rm -f``, by somebody else."""
    name = life.name()
    box = life.dockerd.of(name)
    if box is not None:
        life.world.over(life.world.trouble("removed by hand", name))
        life.dockerd.remove(box)


def program_is_stubborn(life: Life) -> None:
    """A tenant's program takes its time to end, or ignores SIGTERM."""
    _program(life, "stubborn", life.random.choice((Program(stop_seconds=0.8), Program(ignores_term=True))))


def program_changes(life: Life) -> None:
    """A tenant's program becomes slow to start or broken, and is mended."""
    changed = life.random.choice(
        (
            Program(start_seconds=2.0),
            Program(ready_seconds=3.0),
            Program(ready_seconds=30.0),
            Program(image_missing=True),
            Program(refuses=True),
            Program(dies_after=0.3),
            Program(dies_after=5.0),
        )
    )
    _program(life, "program", changed)


def _program(life: Life, kind: str, changed: Program) -> None:
    name = life.name()

    def begin() -> None:
        life.dockerd.programs[name] = changed

    def end() -> None:
        life.dockerd.programs[name] = Program()

    life.for_a_while(kind, name, begin, end)


TROUBLES: Final[tuple[Callable[[Life], None], ...]] = (
    registry_dies, registry_hangs, registry_compacts, watches_break, cut_off, slow_wire, late_watch, answers_get_lost,
    kill, kill_at_a_write, freeze, clock_steps, engine_dies, engine_hangs, engine_is_slow, events_are_lost,
    events_are_late, crash, hand_stops, hand_restarts, hand_starts, hand_pauses, hand_removes, program_changes,
    program_is_stubborn,
)  # fmt: skip
"""All kinds. A new one is a function of the life here, and its name where the judge says what it excuses."""


Some = tuple[Callable[[Life], None], ...]
THEMES: Final[tuple[tuple[Some, Some], ...]] = (
    ((late_watch, slow_wire, watches_break, registry_compacts, answers_get_lost), (sleep,)),
    ((kill, kill_at_a_write, freeze, hand_starts), (sleep, wake)),
    ((registry_dies, registry_hangs, cut_off, answers_get_lost, registry_compacts, clock_steps), (sleep,)),
    ((engine_dies, engine_hangs, engine_is_slow, events_are_lost, events_are_late, kill), (sleep, stop)),
    ((crash, hand_stops, hand_restarts, hand_removes, hand_pauses, events_are_late), (sleep,)),
    ((program_changes, engine_is_slow, kill_at_a_write), (sleep, wake, stop)),
    ((program_is_stubborn, program_is_stubborn, kill, kill_at_a_write, hand_stops, engine_dies), (sleep, sleep, wake)),
    ((engine_is_slow, freeze, late_watch), (undeclare, wake)),
)
"""Troubles and orders that are dangerous together."""


def live(seed: int, steps: int, *, tracing: bool = False) -> Outcome:
    """One life, the same for the same seed."""
    outcome = _live(seed, steps, tracing=tracing)
    with determinism.unheard():
        # What killed processes had under way complains of its end.
        gc.collect()
    return outcome


def _live(seed: int, steps: int, *, tracing: bool) -> Outcome:
    life = Life(seed, tracing=tracing)
    random.seed(seed)
    with determinism.of(life.world):
        return life.live(steps)
