"""A container engine that exists only in memory: Docker's oddities as measured, and faults on demand.

For tests of everything above the drivers, on real or virtual time. What is odd about it is odd about Docker:

- ``start`` while a stop is under way answers at once, and the container dies all the same;
- the lowest free address goes to whoever starts next: after a restart in another order, two containers have swapped;
- an address is gone with the stop, and what is paused accepts connections and answers nothing;
- a stop takes the whole grace where SIGTERM is ignored.

Must not know the driver contract: ``memory.py`` keeps it on top of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gogeta.domain.state import ReasonCode
from gogeta.domain.upstreams import Endpoint

MAX_LOG: Final = 100_000
"""Entries of the log after which the oldest half is dropped."""
_FIRST_ADDRESS: Final = 2
_SIGKILLED: Final = 137
_SIGTERMED: Final = 143


@dataclass(slots=True)
class Program:
    """How what runs in a container behaves; tests change it at any time, for the next start or stop."""

    start_seconds: float = 0.0
    """How long the engine takes to start it."""
    ready_seconds: float = 0.0
    """How long after that its port opens."""
    stop_seconds: float = 0.0
    """How long it takes to end after SIGTERM; a grace below that ends it by SIGKILL."""
    failure: tuple[ReasonCode, str] | None = None
    """Why it cannot be started."""
    exit_code: int | None = None
    """It ends by itself with this code, right after its start."""
    cpu: float = 0.0
    """Processors that it uses while it is not paused, e.g. 0.5."""
    unpausable: bool = False
    """The engine refuses to freeze it."""


@dataclass(slots=True)
class Box:
    """One container."""

    id: str
    name: str
    made_from: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    running: bool = False
    paused: bool = False
    killed_at: float | None = None
    """While it is being stopped: when it dies."""
    cpu_used: float = 0.0
    cpu_seen_at: float = 0.0
    address: str = ""
    ready_at: float = 0.0
    healthy: bool | None = None
    exit_code: int | None = None
    out_of_memory: bool = False
    output: list[str] = field(default_factory=list)

    @property
    def instance(self) -> str:
        """Of the present or last start."""
        return f"{self.id}@{self.starts}" if self.starts else ""


@dataclass(frozen=True, slots=True)
class Happened:
    """One effective change: ``what`` is start, stop, exit, pause, resume, create or remove; ``at`` is loop time."""

    at: float
    what: str
    name: str


class EngineRefused(Exception):
    """The engine refused a call; ``code`` as drivers classify it."""

    def __init__(self, code: ReasonCode, message: str) -> None:
        """In the engine's words."""
        super().__init__(message)
        self.code = code


class EngineGone(Exception):
    """The engine cannot be reached."""


class MemoryEngine:
    """Containers by name, a log of what took effect, and the faults.

    ``reachable``: False refuses every call. ``answering``: cleared makes every call hang until it is set, or given up.
    ``telling``: False loses events in silence.
    """

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.programs: dict[str, Program] = {}
        self.log: list[Happened] = []
        self.reachable = True
        self.answering = asyncio.Event()
        self.answering.set()
        self.telling = True
        self.listeners: set[Callable[[Box], None]] = set()
        self._made = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ended: dict[str, asyncio.Event] = {}

    def __repr__(self) -> str:
        """One line: how many run."""
        return f"<MemoryEngine {sum(box.running for box in self.boxes.values())} of {len(self.boxes)} running>"

    def program(self, name: str) -> Program:
        """How the program of the container of this name behaves, whether it exists or not."""
        return self.programs.setdefault(name, Program())

    def count(self, what: str, name: str) -> int:
        """How often this took effect: ``count("start", "gogeta-acme") == 1`` is one wake."""
        return sum(entry.what == what and entry.name == name for entry in self.log)

    # --------------------------------------------------------------------------------------------------- the primitives

    async def answer(self) -> None:
        """What every call passes first: EngineGone, or waiting for an engine that hangs."""
        await self.answering.wait()
        if not self.reachable:
            raise EngineGone("the engine cannot be reached")

    async def create(self, name: str, *, made_from: str = "", labels: dict[str, str] | None = None) -> Box:
        """Make a container."""
        await self.answer()
        failure = self.program(name).failure
        if failure is not None and failure[0] in (ReasonCode.IMAGE_MISSING, ReasonCode.BAD_SPEC):
            raise EngineRefused(*failure)
        self._made += 1
        box = Box(id=f"box{self._made}", name=name, made_from=made_from, labels=labels or {})
        self.boxes[name] = box
        self._tell("create", box)
        return box

    async def start(self, name: str) -> None:
        """Start it. What runs is left alone, also what is about to die."""
        await self.answer()
        if self.boxes[name].running:
            return
        box, program = self.boxes[name], self.program(name)
        await asyncio.sleep(program.start_seconds)
        if program.failure is not None:
            box.exit_code = 127 if program.failure[0] is ReasonCode.COMMAND_FAILED else 128
            raise EngineRefused(*program.failure)
        if self.boxes[name].running:  # another start was faster
            return
        now = asyncio.get_running_loop().time()
        box.starts += 1
        box.running, box.paused, box.killed_at, box.exit_code, box.out_of_memory = True, False, None, None, False
        box.healthy = None
        box.cpu_used, box.cpu_seen_at = 0.0, now
        box.address = self._free_address()
        box.ready_at = now + program.ready_seconds
        self._ended[name] = asyncio.Event()
        self._tell("start", box)
        if program.exit_code is not None:
            self.crash(name, program.exit_code)

    async def stop(self, name: str, grace: float) -> None:
        """SIGTERM, SIGKILL after ``grace`` seconds; returns when it is dead. A caller that gives up stops nothing."""
        await self.answer()
        box = self.boxes.get(name)
        if box is None or not box.running:
            return
        loop = asyncio.get_running_loop()
        wanted = self.program(name).stop_seconds
        dies_at = loop.time() + min(wanted, grace)
        if box.killed_at is None or dies_at < box.killed_at:
            box.killed_at = dies_at
            self._cancel_timer(name)
            code = _SIGKILLED if wanted > grace else _SIGTERMED
            self._timers[name] = loop.call_at(dies_at, self._die, box, "stop", code)
            self._tell("kill", box)
        await self.ended(name)

    async def ended(self, name: str) -> None:
        """Wait until it does not run."""
        box = self.boxes.get(name)
        if box is not None and box.running:
            await self._ended[name].wait()

    async def pause(self, name: str) -> None:
        """Freeze it."""
        await self.answer()
        box = self.boxes.get(name)
        if box is None or not box.running:
            raise EngineRefused(ReasonCode.STOP_FAILED, f"{name} is not running")
        if self.program(name).unpausable:
            raise EngineRefused(ReasonCode.STOP_FAILED, f"{name} cannot be frozen here")
        if not box.paused:
            self.cpu_seconds(name)
            box.paused = True
            self._tell("pause", box)

    async def unpause(self, name: str) -> None:
        """Thaw it."""
        await self.answer()
        box = self.boxes[name]
        if box.paused:
            self.cpu_seconds(name)
            box.paused = False
            self._tell("resume", box)

    async def remove(self, name: str) -> None:
        """Kill it and forget it."""
        await self.answer()
        box = self.boxes.get(name)
        if box is None:
            return
        if box.running:
            self._die(box, "stop", _SIGKILLED)
        del self.boxes[name]
        self._tell("remove", box)

    # --------------------------------------------------------------------------------- what happens behind one's back

    def crash(self, name: str, code: int = 1, output: str = "") -> None:
        """It ends by itself."""
        box = self.boxes[name]
        if output:
            box.output.append(output)
        self._die(box, "exit", code)

    def run_out_of_memory(self, name: str) -> None:
        """The kernel kills it."""
        self.boxes[name].out_of_memory = True
        self._die(self.boxes[name], "exit", _SIGKILLED)

    def judge(self, name: str, *, healthy: bool) -> None:
        """The engine's own health check changes its mind."""
        self.boxes[name].healthy = healthy
        self._tell("health", self.boxes[name])

    def cpu_seconds(self, name: str) -> float:
        """Processor time used since its start, at its program's present rate."""
        box, now = self.boxes[name], asyncio.get_running_loop().time()
        if not box.paused:
            box.cpu_used += (now - box.cpu_seen_at) * self.program(name).cpu
        box.cpu_seen_at = now
        return box.cpu_used

    def reach(self, endpoint: Endpoint) -> str | None:
        """What a connection to the endpoint meets: the name of the container that answers.

        ``""`` when it is accepted and nothing answers, None when it is refused.
        """
        now = asyncio.get_running_loop().time()
        for box in self.boxes.values():
            if box.running and box.address == endpoint.host and now >= box.ready_at:
                return "" if box.paused else box.name
        return None

    def _die(self, box: Box, how: str, code: int) -> None:
        self._cancel_timer(box.name)
        if not box.running:
            return
        box.running, box.paused, box.killed_at, box.address = False, False, None, ""
        box.exit_code = code
        self._ended[box.name].set()
        self._tell(how, box)

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _free_address(self) -> str:
        taken = {box.address for box in self.boxes.values()}
        number = _FIRST_ADDRESS
        while f"192.0.2.{number}" in taken:
            number += 1
        return f"192.0.2.{number}"

    def _tell(self, what: str, box: Box) -> None:
        self.log.append(Happened(asyncio.get_running_loop().time(), what, box.name))
        if len(self.log) > MAX_LOG:
            del self.log[: MAX_LOG // 2]
        if self.telling:
            for listener in tuple(self.listeners):
                listener(box)
