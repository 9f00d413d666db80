"""A simulated Docker engine behind the real Docker driver, with the habits that were measured on a real one.

- ``start`` while a stop is under way is answered at once (304), and the container dies all the same.
- A stop that was asked for goes on whether or not its caller waits; a program may ignore SIGTERM, then it is killed
  after the grace; where the engine itself dies meanwhile, nobody kills it.
- The lowest free address of a network goes to whoever starts next: after a restart in another order two containers of
  one network have swapped their addresses.
- Events come late, or not at all when the stream breaks; the engine remembers the last 256, until it is restarted.
- An engine may be down, hang, or be slow; what it had taken before it died it may have done.

Containers outlive passivators and, where the engine keeps them alive, the engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import RuntimeUnavailableError
from passivator.drivers.docker import DockerDriver
from passivator.drivers.docker_engine import Engine, Refused
from tests.simulation.scheduler import Call, Process
from tests.simulation.world import World

T = TypeVar("T")
Json = dict[str, Any]
_QUICK: Final = 10.0
_WORK: Final = 60.0
_KILL: Final = 15.0
_SILENCE: Final = 15.0
_HISTORY: Final = 256
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Program:
    """How the program in a container behaves, from its next start or stop on."""

    start_seconds: float = 0.1
    ready_seconds: float = 0.1
    stop_seconds: float = 0.05
    ignores_term: bool = False
    image_missing: bool = False
    refuses: bool = False
    """Its command cannot be executed."""
    dies_after: float | None = None
    """It ends by itself so long after its start."""


@dataclass(slots=True, eq=False)
class Box:
    """One container."""

    id: str
    name: str
    tenant: str
    config: Json
    network: str
    running: bool = False
    paused: bool = False
    dying: bool = False
    """It has been asked to stop and has not ended yet."""
    started_at: str = "0001-01-01T00:00:00Z"
    starts: int = 0
    address: str = ""
    ready_at: float = 0.0
    exit_code: int = 0
    out_of_memory: bool = False
    removed: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    """Called when it does not run any more."""
    on_end: list[Callable[[], None]] = field(default_factory=list)
    """What is connected to it: called when it ends, once."""
    killing: Call | None = None
    starting: int = 0
    """Start calls of the engine's clients under way."""

    @property
    def instance(self) -> str:
        """Of the present or last start, as the driver tells it."""
        return f"{self.id[:12]}@{self.started_at}" if self.starts else ""


@dataclass(slots=True)
class _Asked:
    process: Process
    answer: asyncio.Future[Any]
    slow: float


class Dockerd:
    """The engine and its containers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.boxes: dict[str, Box] = {}
        """By name."""
        self.networks: dict[str, Json] = {}
        self.programs: dict[str, Program] = {}
        """By tenant."""
        self.up = True
        self.hung = False
        self.slow = 0.0
        """Seconds that every call takes on top."""
        self.event_lag = (0.001, 0.02)
        self.on_stop: Callable[[Process, Box], None] = lambda *_: None
        """Called when a stop takes effect: SIGTERM is sent."""
        self.on_start_call: Callable[[Process, Box], None] = lambda *_: None
        self.on_start: Callable[[Box], None] = lambda _: None
        """Called when a start takes effect."""
        self.on_end: Callable[[Box], None] = lambda _: None
        self._made = 0
        self._deaths = 0
        self._history: deque[Json] = deque(maxlen=_HISTORY)
        self._streams: dict[_Events, None] = {}
        self._asked: dict[int, _Asked] = {}
        self._queued: list[tuple[Callable[[], None], _Asked]] = []
        """What happens when it no longer hangs, and who waits for that."""
        self._numbers = 0

    def program(self, tenant: str) -> Program:
        """How a tenant's program behaves."""
        return self.programs.setdefault(tenant, Program())

    def of(self, tenant: str) -> Box | None:
        """A tenant's container."""
        return self.boxes.get(f"gogeta-{tenant}")

    # -------------------------------------------------------------------------------------------------------- troubles

    def go_down(self, *, kill: bool) -> None:
        """The engine dies, and with ``kill`` (no live-restore) all containers with it."""
        self.up, self.hung = False, False
        self._deaths += 1
        queued, self._queued = self._queued, []
        asked, self._asked = self._asked, {}
        for each in (*asked.values(), *(waiting for _, waiting in queued)):
            self._answer(each, RuntimeUnavailableError("the connection to the engine broke"))
        for box in self.boxes.values():
            if box.killing is not None:
                # Nobody sends the SIGKILL that was to come.
                box.killing.cancel()
                box.killing = None
            box.waiting.clear()
            box.starting = 0
            box.dying = box.dying and box.running and not self.program(box.tenant).ignores_term
        self._break_streams()
        self._history.clear()
        if kill:
            for box in self.boxes.values():
                self.end(box, 137)

    def come_up(self) -> None:
        """The engine starts again, and knows nothing of stops that were under way."""
        self.up = True

    def hang(self) -> None:
        """SIGSTOP."""
        self.hung = True

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile happens now."""
        self.hung = False
        queued, self._queued = self._queued, []
        for work, _ in queued:
            work()

    def _break_streams(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams:
            stream.arrive(RuntimeUnavailableError("the event stream ended"))

    def lose_events(self) -> None:
        """The streams break; what happens until they are followed again is not told."""
        self._break_streams()

    # ----------------------------------------------------------------------------------------------------------- calls

    def ask(
        self, process: Process, answer: asyncio.Future[Any], work: Callable[[Callable[[object], None]], None]
    ) -> None:
        """A client's call has come; ``work`` is given what to answer with."""
        if not self.up:
            self._answer(_Asked(process, answer, 0.0), RuntimeUnavailableError("the engine is not there"))
            return
        if self.hung:
            self._queued.append((lambda: self.ask(process, answer, work), _Asked(process, answer, 0.0)))
            return
        self._numbers += 1
        number, asked = self._numbers, _Asked(process, answer, self.slow / 2)
        self._asked[number] = asked

        def reply(result: object) -> None:
            if self._asked.pop(number, None) is not None:
                self._answer(asked, result)

        if self.slow:
            self.world.scheduler.after(self.slow / 2, self._work, number, work, reply)
        else:
            work(reply)

    def _work(
        self, number: int, work: Callable[[Callable[[object], None]], None], reply: Callable[[object], None]
    ) -> None:
        if number in self._asked:
            work(reply)

    def _answer(self, asked: _Asked, result: object) -> None:
        if self.hung:
            self._queued.append((lambda: self._answer(asked, result), asked))
            return
        when = self.world.scheduler.now + self.world.between(0.0005, 0.004) + asked.slow
        self.world.scheduler.at(when, asked.process, _settle, asked.answer, result)

    # ------------------------------------------------------------------------------------------------------ containers

    def find(self, container: str) -> Box:
        """By name or id. Raises Refused."""
        for box in self.boxes.values():
            if container in (box.name, box.id):
                return box
        raise Refused(404, f"No such container: {container}")

    def create(self, name: str, config: Json) -> str:
        """Make one. Raises Refused."""
        tenant = config["Labels"]["gogeta.tenant"]
        if self.program(tenant).image_missing:
            raise Refused(404, f"No such image: {config['Image']}")
        if name in self.boxes:
            raise Refused(409, f"the name {name} is in use")
        self._made += 1
        box = Box(f"{self._made:012x}{'0' * 52}", name, tenant, config, config["HostConfig"]["NetworkMode"])
        self.boxes[name] = box
        self._happened("create", box)
        return box.id

    def start(self, process: Process, box: Box, reply: Callable[[object], None]) -> None:
        """Start it; what runs is left alone, also what is about to die."""
        if box.running:
            reply(None)
            return
        program = self.program(box.tenant)
        self.on_start_call(process, box)
        box.starting += 1
        self.world.scheduler.after(program.start_seconds, self._started, box, reply, self._deaths)

    def _started(self, box: Box, reply: Callable[[object], None], deaths: int) -> None:
        if deaths != self._deaths:
            return  # it died with the engine
        box.starting -= 1
        program = self.program(box.tenant)
        if box.removed or not self.up:
            reply(Refused(409, "the container is marked for removal"))
            return
        if program.refuses:
            box.exit_code = 127
            reply(Refused(400, "exec: no such file or directory"))
            return
        if not box.running:
            self.run(box)
        reply(None)

    def run(self, box: Box) -> None:
        """It runs."""
        program = self.program(box.tenant)
        box.running, box.paused, box.dying, box.out_of_memory, box.exit_code = True, False, False, False, 0
        box.starts += 1
        moment = _EPOCH + timedelta(seconds=self.world.scheduler.now, microseconds=box.starts)
        box.started_at = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        box.address = self._free_address(box.network)
        box.ready_at = self.world.scheduler.now + program.ready_seconds
        self.on_start(box)
        self._happened("start", box)
        if program.dies_after is not None:
            self.world.scheduler.after(program.dies_after, self.end_instance, box, box.instance, 3)

    def _free_address(self, network: str) -> str:
        taken = {box.address for box in self.boxes.values() if box.running and box.network == network}
        subnet = self.networks.setdefault(network, self._network(network))["subnet"]
        number = 2
        while f"{subnet}.{number}" in taken:
            number += 1
        return f"{subnet}.{number}"

    def _network(self, name: str) -> Json:
        return {"Id": f"net-{name}", "Name": name, "Labels": {}, "IPAM": {}, "Containers": {},
                "subnet": f"172.20.{len(self.networks)}"}  # fmt: skip

    def stop(self, process: Process, box: Box, grace: float, reply: Callable[[object], None]) -> None:
        """SIGTERM, then SIGKILL; it is answered when it does not run."""
        if not box.running:
            reply(None)
            return
        self.on_stop(process, box)
        self.signal(box, grace)
        box.waiting.append(lambda: reply(None))

    def signal(self, box: Box, grace: float) -> None:
        """A stop begins, by whomever."""
        box.dying = True
        self._happened("kill", box, signal="15")
        program, scheduler = self.program(box.tenant), self.world.scheduler
        if not (program.ignores_term or box.paused) and program.stop_seconds <= grace:
            scheduler.after(program.stop_seconds, self.end_instance, box, box.instance, 143)
        else:
            box.killing = scheduler.after(grace, self._kill, box, box.instance)

    def _kill(self, box: Box, instance: str) -> None:
        if box.running and box.instance == instance:
            self._happened("kill", box, signal="9")
            self.end(box, 137)

    def end_instance(self, box: Box, instance: str, code: int) -> None:
        """This start of it ends, if it has not yet."""
        if box.instance == instance:
            self.end(box, code)

    def end(self, box: Box, code: int, *, out_of_memory: bool = False) -> None:
        """It does not run any more."""
        if not box.running:
            return
        if box.killing is not None:
            box.killing.cancel()
            box.killing = None
        box.running = box.paused = False
        stopped, box.dying = box.dying, False
        box.exit_code, box.out_of_memory, box.address = code, out_of_memory, ""
        self.on_end(box)
        ended, box.on_end = box.on_end, []
        for told in ended:
            told()
        if out_of_memory:
            self._happened("oom", box)
        self._happened("die", box)
        if stopped:
            self._happened("stop", box)
        waiting, box.waiting = box.waiting, []
        for told in waiting:
            told()

    def remove(self, box: Box) -> None:
        """Kill and forget it."""
        self.end(box, 137)
        box.removed = True
        if self.boxes.get(box.name) is box:
            del self.boxes[box.name]
            self._happened("destroy", box)

    def reach(self, host: str) -> Box | None:
        """Whose address this is now."""
        for box in self.boxes.values():
            if box.running and box.address == host:
                return box
        return None

    def show(self, box: Box) -> Json:
        """As `docker inspect`."""
        status = "paused" if box.paused else "running" if box.running else "exited" if box.starts else "created"
        address = {"IPAddress": box.address, "IPPrefixLen": 24, "NetworkID": f"net-{box.network}"}
        return {
            "Id": box.id,
            "Name": f"/{box.name}",
            "Config": box.config,
            "State": {
                "Status": status,
                "Running": box.running,
                "Paused": box.paused,
                "StartedAt": box.started_at,
                "ExitCode": box.exit_code,
                "OOMKilled": box.out_of_memory,
                "Error": "",
                "Dead": False,
            },
            "HostConfig": {"NetworkMode": box.network},
            "NetworkSettings": {"Networks": {box.network: address}, "Ports": {}},
        }

    # --------------------------------------------------------------------------------------------------------- events

    def follow(self, stream: _Events) -> None:
        """A client follows the events from now on."""
        self._streams[stream] = None

    def unfollow(self, stream: _Events) -> None:
        """No longer."""
        self._streams.pop(stream, None)

    def history(self, container: str) -> list[Json]:
        """What it remembers."""
        return [event for event in self._history if event["Actor"]["ID"] == container]

    def _happened(self, action: str, box: Box, **more: str) -> None:
        attributes = {"name": box.name, **box.config["Labels"], **more}
        event = {"Action": action, "Actor": {"ID": box.id, "Attributes": attributes}, "at": box.started_at}
        self.world.tell("docker", f"{action} {box.name} {box.instance[-14:]} {box.address}")
        if not self.up:
            # Nobody was there to see it.
            return
        self._history.append(event)
        for stream in tuple(self._streams):
            if stream.process.dead:
                del self._streams[stream]
                continue
            now = self.world.scheduler.now
            stream.arrives = max(stream.arrives, now + self.world.between(*self.event_lag))
            self.world.scheduler.at(stream.arrives, stream.process, stream.arrive, event)


class _Events:
    """One event stream."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.arrives = 0.0
        self.came: deque[Json | RuntimeUnavailableError] = deque()
        self.waiter: asyncio.Future[None] | None = None

    def arrive(self, event: Json | RuntimeUnavailableError) -> None:
        self.came.append(event)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


def _settle(answer: asyncio.Future[Any], result: object) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
        # Who asked may have given up in this very moment.
        answer.exception()
    else:
        answer.set_result(result)


class SimulatedEngine(Engine):
    """The client's side: what ``docker_engine.Engine`` offers to the driver, on the simulated engine."""

    def __init__(self, dockerd: Dockerd, process: Process) -> None:
        super().__init__("unix:///simulated")
        self._dockerd = dockerd
        self._process = process

    async def _call(self, work: Callable[[Callable[[object], None]], None], seconds: float) -> Any:  # noqa: ANN401 - JSON
        world = self._dockerd.world
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        world.scheduler.after(world.between(0.0005, 0.004), self._dockerd.ask, self._process, answer, work)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise RuntimeUnavailableError(f"the engine did not answer in {seconds:g} s") from error

    async def _at_once(self, work: Callable[[], T], seconds: float = _QUICK) -> T:
        """A call that is answered when it has been done."""

        def do(reply: Callable[[object], None]) -> None:
            try:
                reply(work())
            except Refused as refused:
                reply(refused)

        result: T = await self._call(do, seconds)
        return result

    async def ping(self) -> None:
        """As the engine's."""
        await self._at_once(lambda: None)

    async def info(self) -> Json:
        """As the engine's."""
        return await self._at_once(lambda: {"ID": "simulated", "DockerRootDir": "/var/lib/docker", "MemTotal": 0})

    async def inspect(self, container: str) -> Json | None:
        """As the engine's."""
        try:
            return await self._at_once(lambda: self._dockerd.show(self._dockerd.find(container)))
        except Refused:
            return None

    async def labelled(self, label: str) -> list[str]:
        """As the engine's."""
        return await self._at_once(lambda: [box.id for box in self._dockerd.boxes.values()])

    async def create(self, name: str, config: Json) -> str:
        """As the engine's."""
        return await self._at_once(lambda: self._dockerd.create(name, config), _WORK)

    async def start(self, container: str) -> None:
        """As the engine's."""

        def do(reply: Callable[[object], None]) -> None:
            try:
                self._dockerd.start(self._process, self._dockerd.find(container), reply)
            except Refused as refused:
                reply(refused)

        await self._call(do, _WORK)

    async def stop(self, container: str, grace: int) -> None:
        """As the engine's."""

        def do(reply: Callable[[object], None]) -> None:
            try:
                self._dockerd.stop(self._process, self._dockerd.find(container), grace, reply)
            except Refused as refused:
                reply(refused)

        await self._call(do, grace + _KILL)

    async def ended(self, container: str, seconds: float) -> bool:
        """As the engine's."""

        def do(reply: Callable[[object], None]) -> None:
            try:
                box = self._dockerd.find(container)
            except Refused as refused:
                reply(refused)
                return
            if box.running:
                box.waiting.append(lambda: reply(None))
            else:
                reply(None)

        try:
            async with asyncio.timeout(seconds):
                await self._call(do, seconds + _QUICK)
        except TimeoutError:
            return False
        return True

    async def pause(self, container: str) -> None:
        """As the engine's."""

        def do() -> None:
            box = self._dockerd.find(container)
            if not box.running:
                raise Refused(409, "it is not running")
            box.paused = True

        await self._at_once(do, _WORK)

    async def unpause(self, container: str) -> None:
        """As the engine's."""

        def do() -> None:
            box = self._dockerd.find(container)
            if not box.paused:
                raise Refused(409, "it is not paused")
            box.paused = False

        await self._at_once(do, _WORK)

    async def remove(self, container: str) -> None:
        """As the engine's."""

        def do() -> None:
            try:
                self._dockerd.remove(self._dockerd.find(container))
            except Refused:
                return

        await self._at_once(do, _WORK)

    async def logs(self, container: str, lines: int) -> str:
        """As the engine's."""
        return await self._at_once(lambda: "the last words")

    async def network(self, name: str) -> Json | None:
        """As the engine's."""
        return await self._at_once(lambda: self._dockerd.networks.get(name))

    async def networks(self, label: str) -> list[Json]:
        """As the engine's."""
        return await self._at_once(lambda: list(self._dockerd.networks.values()))

    async def create_network(self, config: Json) -> None:
        """As the engine's."""

        def do() -> None:
            name = config["Name"]
            made = self._dockerd.networks.setdefault(name, self._dockerd._network(name))  # noqa: SLF001 - one module
            made["Labels"] = config["Labels"]

        await self._at_once(do, _WORK)

    async def remove_network(self, name: str) -> None:
        """As the engine's: it stays, as one that others use."""
        await self._at_once(lambda: None)

    async def connect(self, network: str, container: str) -> None:
        """As the engine's."""
        await self._at_once(lambda: None)

    async def disconnect(self, network: str, container: str) -> None:
        """As the engine's."""
        await self._at_once(lambda: None)

    async def history(self, container: str, since: str) -> list[Json]:
        """As the engine's."""

        def do() -> list[Json]:
            return [event for event in self._dockerd.history(container) if event["at"] >= since]

        return await self._at_once(do)

    async def events(self) -> AsyncGenerator[Json | None, None]:
        """As the engine's."""
        stream = _Events(self._process)
        await self._at_once(lambda: self._dockerd.follow(stream))
        try:
            yield None
            while True:
                while stream.came:
                    event = stream.came.popleft()
                    if isinstance(event, RuntimeUnavailableError):
                        raise event
                    yield event
                stream.waiter = asyncio.get_running_loop().create_future()
                try:
                    async with asyncio.timeout(_SILENCE):
                        await stream.waiter
                except TimeoutError:
                    await self.ping()
        finally:
            self._dockerd.unfollow(stream)

    async def close(self) -> None:
        """As the engine's."""


def docker_driver(dockerd: Dockerd, process: Process) -> DockerDriver:
    """The real driver on the simulated engine."""
    return DockerDriver("unix:///simulated", reach="bridge", engine=SimulatedEngine(dockerd, process))


def endpoint_of(box: Box) -> Endpoint:
    """Where it answers, while it runs."""
    return Endpoint(box.address, 80)
