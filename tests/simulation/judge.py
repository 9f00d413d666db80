"""The invariants, checked at the moment at which they could break, from what really is and never from what parts say.

I1. No stop takes effect at the runtime while a request is in flight through a proxy to which the promise is made. Two
    ways keep it: the proxy writes last accesses, so that the idle policy never judges it silent; and it takes a
    passivation back that it sees while it has something in flight. A request that was there before the decision is
    lost only if *both* were cut, one that came about the time of the decision only if the second was. What cuts
    them is a trouble of that proxy's own way to the registry (cut, slow), or a freeze of the proxy itself, within
    the time they need. An operator's ``stop`` is a stop; ``sleep`` is taken back like the idle policy's decision.
I2. Every request that arrives is answered: by its tenant, by the starting page (a person's), or by a refusal whose name
    is true; and in the end, when all troubles are over, every tenant is served again, and with nobody there, asleep.
I3. At most one start is in progress for a tenant at the runtime.
I4. A request reaches, and is answered by, its own tenant alone.
I5. What is stopped was announced as ``stopping`` by the same process, nobody has said anything else about it since, and
    the registry had been heard of a moment ago.

Something new to be promised gets a method here, called by what happens, and a list of what excuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState
from gogeta.domain.tenant import Tenant
from gogeta.registry import keys
from gogeta.registry.codec import decode
from gogeta.registry.store import Delete, Guard, Put
from tests.simulation.engine import Box
from tests.simulation.registry import Server
from tests.simulation.scheduler import Process
from tests.simulation.visitors import LEFT, OWN, PAGE, Request
from tests.simulation.world import FOR_EVER, World

WRITES: Final = frozenset({"cut", "slow", "freeze", "lost answers"})
"""What keeps a proxy from writing last accesses."""
SIGHT: Final = frozenset(
    {"cut", "slow", "late watch", "freeze", "lost answers", "registry down", "registry hangs", "boot"}
)
"""What keeps a proxy from seeing a decision and taking it back in time."""
AT_ONCE: Final = frozenset({"broken watch", "compaction"})
"""The same, for a moment."""
HARM: Final = frozenset(
    {"crash", "out of memory", "stopped by hand", "paused by hand", "removed by hand", "restarted by hand",
     "engine dies", "stop", "excused stop", "program", "undeclared", "engine down"}
)  # fmt: skip
"""What ends a tenant's container, or keeps it from answering, beside the life cycle."""
CONTROL: Final = frozenset(
    {"freeze", "kill", "cut", "slow", "late watch", "lost answers", "registry down", "registry hangs", "engine down",
     "engine hangs", "engine slow", "program", "stubborn", "broken watch", "compaction", "boot", "clock"}
)  # fmt: skip
"""What keeps passivator from starting something in time."""
RECOVERY: Final = 12.0
"""Seconds after a trouble in which its consequences may still be felt: pauses that grew, watches given up."""


@dataclass(slots=True)
class _Announced:
    process: Process
    at: float
    revision: int
    desired: DesiredState | None
    """What the tenant should be at that moment: by whose word it is stopped."""


class Judge:
    """Watches one world."""

    def __init__(self, world: World, server: Server, passivators: frozenset[str]) -> None:
        self._world = world
        self._space = server.space
        self._passivators = passivators
        self.requests: dict[int, Request] = {}
        self._at: dict[Box, dict[int, Request]] = {}
        self._announced: dict[str, _Announced] = {}
        self._decided: dict[str, float] = {}
        """When each tenant's desired state last became something else than started."""
        self._stopped: dict[str, float] = {}
        """Until when an operator's stop was in force."""
        self._undeclared: dict[str, float] = {}
        """Until when there was no declaration."""
        self._starting: dict[str, list[Process]] = {}
        self._used: dict[tuple[str, str], float] = {}
        """By tenant and proxy: when a request was last in flight."""
        self.shared_network = False
        self.on_sleep: Callable[[str], None] = lambda _: None
        """Called when it has just been decided that a tenant sleeps."""

    # ------------------------------------------------------------------------------------------ what the registry has

    def desired(self, tenant: str) -> DesiredState | None:
        """As it is."""
        entry = self._space.get(keys.desired_key(tenant))
        return None if entry is None else decode(DesiredState, entry.value, what="desired")

    def observed(self, tenant: str) -> ObservedState | None:
        """As it is written."""
        entry = self._space.get(keys.observed_key(tenant))
        return None if entry is None else decode(ObservedState, entry.value, what="observed")

    def idle_timeout(self, tenant: str) -> float:
        """As declared now."""
        entry = self._space.get(keys.tenant_key(tenant))
        return (decode(Tenant, entry.value, what="tenant").idle_timeout if entry else None) or 0.0

    def committed(self, process: Process, operations: Sequence[Put | Delete], guards: Sequence[Guard]) -> None:
        """A commit has just happened."""
        for operation in operations:
            key = operation.key
            if key.startswith(keys.DESIRED):
                tenant = keys.name_of(key, keys.DESIRED)
                state = None if isinstance(operation, Delete) else decode(DesiredState, operation.value, what=key)
                self._wished(process, tenant, state)
            elif key.startswith(keys.TENANTS):
                tenant = keys.name_of(key, keys.TENANTS)
                gone = isinstance(operation, Delete)
                self._world.tell(process.name, f"{tenant} is {'removed' if gone else 'declared'}")
                self._undeclared[tenant] = FOR_EVER if gone else self._world.scheduler.now
            elif key.startswith(keys.OBSERVED):
                tenant = keys.name_of(key, keys.OBSERVED)
                if isinstance(operation, Delete):
                    self._announced.pop(tenant, None)
                    continue
                observed = decode(ObservedState, operation.value, what=key)
                why = f": {observed.reason.code}" if observed.reason else ""
                self._world.tell(process.name, f"{tenant} is {observed.state} {observed.instance[-14:]}{why}")
                if observed.state is Observed.STOPPING:
                    entry = self._space.get(key)
                    assert entry is not None
                    self._announced[tenant] = _Announced(
                        process, self._world.scheduler.now, entry.revision, self.desired(tenant)
                    )

    def _wished(self, process: Process, tenant: str, state: DesiredState | None) -> None:
        world = self._world
        told = "forgotten" if state is None else f"{state.state} ({state.cause}, wake {state.wakes})"
        world.tell(process.name, f"{tenant} should be {told}")
        if self._stopped.get(tenant) == FOR_EVER:
            self._stopped[tenant] = world.scheduler.now
        if state is None or state.state is not Desired.STARTED:
            self._decided[tenant] = world.scheduler.now
        if state is None:
            return
        if state.state is Desired.STOPPED:
            self._stopped[tenant] = FOR_EVER
        elif state.state is Desired.STARTED:
            world.count("wakes")
        if state.cause in (Cause.IDLE, Cause.SLEEP):
            self.on_sleep(tenant)
        if state.cause is Cause.IDLE:
            world.count("sleeps decided")
            self._never_early(tenant)

    # ------------------------------------------------------------------------------------------------------- requests

    def began(self, request: Request) -> None:
        """A visitor asks."""
        self.requests[request.number] = request
        self._world.count("requests")
        self._world.tell("visitor", f"{request}")

    def arrived(self, number: int, box: Box) -> None:
        """An application has read a request."""
        request = self.requests[number]
        self._world.tell(box.name, f"has {request}")
        if box.tenant != request.tenant:
            self._strangers(f"{request} reached {box.name}", request)
        request.instance = box.instance
        self._at.setdefault(box, {})[number] = request

    def departed(self, number: int, box: Box) -> None:
        """An application is done with a request."""
        request = self._at.get(box, {}).pop(number, None)
        if request is not None and not self._of_earlier(request):
            self._used[request.tenant, request.proxy] = self._world.scheduler.now

    def ended(self, request: Request) -> None:
        """A visitor knows what became of the request."""
        world = self._world
        world.count(f"answer {request.outcome}")
        if request.outcome == OWN and request.answered_by != request.tenant:
            self._strangers(f"{request} was answered by {request.answered_by}", request)
        why = self._why(request)
        if why is None:
            world.violated("I2", f"{request} met {request.outcome!r} and nothing explains it")

    def _why(self, request: Request) -> str | None:
        """What explains the outcome; None when nothing does."""
        outcome = request.outcome
        if outcome in (OWN, LEFT) or (outcome == PAGE and request.kind == "navigation"):
            return outcome
        since = request.began - RECOVERY
        world, here = self._world, frozenset({"", request.proxy})
        tenants = frozenset({"", request.tenant})
        proxies_sight = world.troubled(since, SIGHT | AT_ONCE, here)
        match outcome:
            case "broken":
                dead = world.troubled(request.began, frozenset({"kill"}), here)
                explained = dead or proxies_sight or world.troubled(since, HARM, tenants)
            case "nobody" | "routes-not-loaded" | "unknown-host" | "tenant-removed":
                explained = (
                    self._undeclared.get(request.tenant, 0.0) >= since
                    or proxies_sight
                    or world.troubled(since, frozenset({"kill", "boot", "freeze"}), here)
                )
            case "upstream-connect" | "upstream-lost" | "upstream-timeout":
                # What is gone stays so for as long as passivator can do nothing about it.
                helpless = world.troubled(since, CONTROL, self._passivators | {""})
                harmed = world.troubled(since - (60.0 if helpless else 0.0), HARM, tenants)
                explained = proxies_sight or harmed
            case "wake-timeout":
                everybody = here | tenants | self._passivators
                explained = world.troubled(since - RECOVERY, CONTROL | HARM, everybody)
            case "registry-unavailable":
                explained = proxies_sight
            case "failed":
                everybody = tenants | self._passivators
                explained = world.troubled(since - RECOVERY, HARM | CONTROL, everybody)
            case "stopped":
                explained = proxies_sight or self._stopped.get(request.tenant, 0.0) >= since
            case _:
                explained = False
        return outcome if explained else None

    def _strangers(self, what: str, request: Request) -> None:
        if self.shared_network:
            sight = self._world.troubled(request.began - RECOVERY, SIGHT | AT_ONCE, frozenset({"", request.proxy}))
            harm = self._world.troubled(request.began - RECOVERY, HARM, frozenset({"", request.tenant}))
            if sight or harm:
                self._world.count("strangers in a shared network")
                return
        self._world.violated("I4", what)

    # ---------------------------------------------------------------------------------------------------- the runtime

    def start_asked(self, process: Process, box: Box) -> None:
        """The engine begins to start a container."""
        self._world.tell(process.name, f"has {box.name} started")
        starting = self._starting.setdefault(box.tenant, [])
        others = [other for other in starting if box.starting and not self._out_of_sight(other)]
        if others:
            self._world.violated("I3", f"{process.name} starts {box.tenant} while {others} do")
        starting.append(process)

    def _out_of_sight(self, process: Process) -> bool:
        """Whether a process could not know that its call goes on without it, or that its lead has ended."""
        lost = frozenset({"freeze", "cut", "slow", "registry down", "registry hangs", "engine hangs", "engine slow"})
        return process.dead or self._world.troubled(
            self._world.scheduler.now - 60.0, lost, frozenset({"", process.name})
        )

    def started(self, box: Box) -> None:
        """A start has taken effect."""
        self._world.count("starts")
        self._starting.pop(box.tenant, None)

    def stop_begins(self, process: Process, box: Box) -> None:
        """A stop takes effect: SIGTERM is sent, in the name of a process of ours."""
        world, tenant = self._world, box.tenant
        world.count("stops")
        world.tell(process.name, f"has {box.name} stopped")
        self._announced_rightly(process, box)
        announced, observed = self._announced.get(tenant), self.observed(tenant)
        if announced is None or observed is None or observed.state is not Observed.STOPPING:
            return  # a start that never became ready, or a fault that has just been told
        if announced.desired is None or announced.desired.state is Desired.STOPPED:
            world.over(world.trouble("excused stop", tenant))
            return
        for request in tuple(self._at.get(box, {}).values()):
            # Not what strayed in here where addresses are shared, nor what was at a start that ended by itself: its
            # proxy has that one back.
            if request.ended is None and request.tenant == tenant and request.instance == box.instance:
                self._in_flight(request, tenant)

    def _of_earlier(self, request: Request) -> bool:
        """Whether the tenant was removed since: what was under way then ends with that declaration."""
        return request.began <= self._undeclared.get(request.tenant, 0.0)

    def _in_flight(self, request: Request, tenant: str) -> None:
        world, proxy = self._world, frozenset({"", request.proxy})
        decided = self._decided.get(tenant, world.scheduler.now)
        sight_lost = world.troubled(decided - RECOVERY, SIGHT, proxy) or world.troubled(decided - 1.0, AT_ONCE, proxy)
        writes_lost = world.troubled(decided - self.idle_timeout(tenant) - RECOVERY, WRITES, frozenset({request.proxy}))
        before = request.began < decided - 0.5
        if self._of_earlier(request):
            world.over(world.trouble("excused stop", tenant))
            return
        if sight_lost and (writes_lost or not before or self._slept_by_hand(tenant)):
            world.count("excused stops in use")
            world.over(world.trouble("excused stop", tenant))
            return
        world.violated(
            "I1",
            f"{tenant} is stopped while {request} is in flight (decided {world.scheduler.now - decided:.3f} s ago)",
        )

    def _slept_by_hand(self, tenant: str) -> bool:
        desired = self.desired(tenant)
        return desired is not None and desired.cause is not Cause.IDLE

    def _announced_rightly(self, process: Process, box: Box) -> None:
        """I5."""
        tenant, world = box.tenant, self._world
        if self._space.get(keys.tenant_key(tenant)) is None:
            return  # its declaration is gone
        observed, announced = self.observed(tenant), self._announced.get(tenant)
        if observed is not None and observed.state in (Observed.FAILED, Observed.STARTING):
            return  # a start that never became ready: nobody is sent there
        entry = self._space.get(keys.observed_key(tenant))
        if entry is None or announced is None or entry.revision != announced.revision:
            world.violated("I5", f"{process.name} stops {tenant}, which is {observed and observed.state}")
        elif announced.process is not process:
            world.violated("I5", f"{process.name} stops {tenant}, which {announced.process.name} was to stop")
        elif world.scheduler.now - announced.at > 1.0:
            # An answer that comes late, or only to the second time of asking, is late news, but news.
            slow = frozenset({"freeze", "engine hangs", "engine slow", "slow", "lost answers"})
            if not world.troubled(announced.at, slow, frozenset({"", process.name})):
                world.violated(
                    "I5", f"{process.name} stops {tenant} {world.scheduler.now - announced.at:.1f} s after it said so"
                )

    def _never_early(self, tenant: str) -> None:
        """Nobody is put to sleep by the idle policy while, or soon after, it is used through a proxy that can write.

        An outage of the registry is noticed after seconds; what is decided in them is taken back, and not judged here.
        """
        world, idle = self._world, self.idle_timeout(tenant)
        now = world.scheduler.now
        if world.troubled(now - idle - RECOVERY, frozenset({"registry down", "registry hangs"}), frozenset({""})):
            return
        for requests in self._at.values():
            for request in requests.values():
                if request.tenant == tenant and request.ended is None and not self._of_earlier(request):
                    if request.began > now - 0.6:
                        continue
                    if not world.troubled(now - idle - RECOVERY, WRITES, frozenset({request.proxy})):
                        world.violated("I1", f"{tenant} is put to sleep while {request} is in flight")
        if world.troubled(0.0, frozenset({"clock"}), self._passivators):
            # After a restart a stored time counts where clocks are no more than an hour apart; these may be.
            return
        for (used, proxy), at in self._used.items():
            early = used == tenant and 0.6 < now - at < 0.85 * idle
            if early and not world.troubled(at - 3.0, WRITES | {"kill"}, frozenset({proxy})):
                world.violated("I1", f"{tenant} is put to sleep {now - at:.2f} s after its last use by {proxy}")


def pending(requests: dict[int, Request]) -> list[Request]:
    """Those without an end."""
    return [request for request in requests.values() if request.ended is None]
