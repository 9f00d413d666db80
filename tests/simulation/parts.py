"""The processes of a simulated system, put together as ``gogeta.app.serve`` and ``passivator.app`` put them together.

Everything in them is the product's own code; the store, the engine below the Docker driver and the transports are not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from gogeta.core.forwarding import Forwarding
from gogeta.domain.errors import GogetaError
from gogeta.domain.state import Member
from gogeta.domain.upstreams import Forbidden
from gogeta.kit.tasks import Tasks
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.forwarder import Proxy
from gogeta.net.listener import Listener
from gogeta.net.server import SWEEP_SECONDS
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.registry import Registry
from gogeta.settings import ServeSettings
from passivator.controller import Controller
from passivator.meters import Meters
from passivator.process_mark import ThisProcess
from passivator.settings import ControllerSettings
from tests.simulation.engine import Dockerd, docker_driver
from tests.simulation.network import Network, Peer, Transport
from tests.simulation.registry import Server, SimulatedStore
from tests.simulation.scheduler import Process
from tests.simulation.world import Wire, World

SETTINGS = ServeSettings(response_timeout=30.0, body_timeout=30.0, access_interval=2.0)
CONTROL = ControllerSettings(
    driver="docker", max_starts=2, resync=10.0, retry_first=0.5, retry_limit=4.0, max_failures=0
)


class Visited(DownstreamConnection):
    """A visitor's connection whose place in a set does not depend on addresses of memory."""

    __slots__ = ("number",)

    def __init__(self, proxy: Proxy, listener: Listener, number: int) -> None:
        super().__init__(proxy, listener)
        self.number = number

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Part:
    """One process, and its way to the registry."""

    def __init__(self, world: World, server: Server, network: Network, name: str) -> None:
        self.world = world
        self.name = name
        self.wire = Wire()
        self.process = world.process(name)
        self.process.loop.connector = network
        self.store = SimulatedStore(server, self.process, self.wire)
        self.generation = 0
        self._server = server
        self._network = network
        self.on_start: Callable[[], None] = lambda: None

    def restart(self) -> None:
        """A new process of the same name. The old one must be dead."""
        assert self.process.dead
        self.generation += 1
        offset = self.process.wall_offset
        self.process = self.world.process(self.name)
        self.process.wall_offset = offset
        self.process.loop.connector = self._network
        self.store = SimulatedStore(self._server, self.process, self.wire)
        self.start()

    def start(self) -> None:
        """Begin."""
        raise NotImplementedError


class ProxyPart(Part):
    """``gogeta serve``."""

    proxy: Proxy
    listener: Listener
    serving = False
    """Whether visitors are let in."""
    _visited = 0

    def start(self) -> None:
        """As ``gogeta.app.serve``."""
        self.serving = False
        self.on_start()
        self.process.run(self._serve(self.process))

    async def _serve(self, process: Process) -> None:
        registry = Registry(self.store, f"gogeta/{self.name}")
        async with Tasks("gogeta") as tasks:
            mirror = TenantMirror(self.store)
            proxy = Proxy(SETTINGS, registry, Forbidden(), tasks)
            proxy.clock = process.loop.time
            mirror.subscribe(proxy.fleet.changed)
            self.proxy, self.mirror = proxy, mirror
            self.listener = Listener(Forwarding(80, ()))
            tasks.start(mirror.source.run(), "mirror")
            tasks.start(proxy.activity.run(), "activity")
            proxy.yielding.introduce(Member(kind="gogeta", id=f"{self.name}-{self.generation}"))
            tasks.start(proxy.awaiting.run(), "wake reports")
            tasks.start(proxy.yielding.run(), "yielding")
            tasks.start(registry.announce(proxy.yielding.told, changed=proxy.yielding.changed), "announce")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await mirror.source.wait_synced()
            self.serving = True
            self.world.tell(self.name, "serves")
            tasks.start(self._loaded(proxy, mirror), "loaded")
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                proxy.sweep()

    async def _loaded(self, proxy: Proxy, mirror: TenantMirror) -> None:
        await mirror.source.wait_synced()
        proxy.loaded = True

    def accept(self, peer: Peer) -> Transport | None:
        """A visitor connects; None when nobody listens."""
        process = self.process
        if process.dead or not self.serving:
            return None
        transport = Transport(self.world, process, peer)
        self._visited += 1
        number = self._visited
        self.world.scheduler.at(
            self.world.scheduler.now + 0.0001,
            process,
            lambda: transport.start(Visited(self.proxy, self.listener, number)),
        )
        return transport


class PassivatorPart(Part):
    """``passivator``."""

    def __init__(
        self, world: World, server: Server, network: Network, name: str, dockerd: Dockerd, *, one_machine: bool
    ) -> None:
        """``one_machine``: whether all passivators are on one, where a successor can tell that a process is dead."""
        super().__init__(world, server, network, name)
        self._dockerd = dockerd
        self._one_machine = one_machine
        self._mistakes = 0.0
        self.metrics = CollectorRegistry()
        self.problems: dict[str, str | None] = {}

    def _is_dead(self, mark: str) -> bool:
        return self._one_machine and all(
            process.dead for process in self.world.processes if f"{process.name}@{process.born}" == mark
        )

    def start(self) -> None:
        """As ``passivator.app``."""
        self.on_start()
        self._mistakes = self.mistakes
        metrics = CollectorRegistry()
        self.metrics = metrics
        mark = f"{self.name}@{self.process.born}"
        self.controller = Controller(
            CONTROL,
            self.store,
            docker_driver(self._dockerd, self.process),
            member=ThisProcess(f"{self.name}-{self.generation}", mark, self._is_dead),
            listeners=(),
            meters=Meters(metrics, driver="docker"),
            ready=self.problems.__setitem__,
        )
        self.process.run(self._control(self.controller))

    async def _control(self, controller: Controller) -> None:
        await controller.run()

    @property
    def mistakes(self) -> float:
        """What the controller itself counts as mistakes of ours, in all its generations."""
        return self._mistakes + (self.metrics.get_sample_value("passivator_faults_total") or 0.0)


class OperatorPart(Part):
    """``gogeta`` commands of an operator, each given up when it does not succeed at once."""

    def start(self) -> None:
        """Nothing runs until something is asked for."""
        self.registry = Registry(self.store, "cli/operator")

    def ask(self, work: Callable[[Registry], object]) -> None:
        """Run a command in the background."""
        self.process.run(self._ask(work))

    async def _ask(self, work: Callable[[Registry], object]) -> None:
        with contextlib.suppress(GogetaError):
            await work(self.registry)  # type: ignore[misc] # an operation of the registry's
