"""What is recorded about a tenant besides its declaration: desired state, observed state, last access.

These are the values of the registry's keys, one frozen value each, with the time and the reason beside every state:
nothing changes without saying who, when and why. Times are epoch milliseconds, UTC, of the writer's clock; they are for
people to read, and no decision compares the clocks of two hosts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import ConfigDict

from gogeta.domain.lifecycle import Cause, Desired, Meeting, Observed, meet
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint, Upstream
from gogeta.domain.wake_budget import History

# A newer minor writer may add fields; a reader of the same version passes over them.
_LENIENT: Final = ConfigDict(extra="ignore")


class ReasonCode(StrEnum):
    """Why a tenant failed, as a closed set: metrics count by it, pages and docs explain each."""

    IMAGE_MISSING = "image-missing"
    CONTAINER_MISSING = "container-missing"
    COMMAND_FAILED = "command-failed"
    """The command could not be executed at all: no such file, not executable."""
    EXITED = "exited"
    """It ended by itself; the message has the exit status."""
    OUT_OF_MEMORY = "out-of-memory"
    UNHEALTHY = "unhealthy"
    """The runtime's own health check turned red."""
    NOT_READY = "not-ready"
    """Not ready within its time: the port never opened, or its path never answered well."""
    PORT_TAKEN = "port-taken"
    BAD_SPEC = "bad-spec"
    """The runtime refused the declaration, or no driver here can run it."""
    STOP_FAILED = "stop-failed"
    RUNTIME = "runtime"
    """The runtime itself was in trouble."""
    NO_ROOM = "no-room"
    """There was no memory for it in time, or there never can be: it needs more than all may have together."""
    QUEUE_FULL = "queue-full"
    """Too many starts waited already."""
    NOBODY = "nobody"
    """It belongs to a group of passivators of which none is running."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a state is as it is: a code for programs, a sentence for operators (never shown to visitors)."""

    __pydantic_config__ = _LENIENT

    code: ReasonCode
    """For programs."""
    message: str
    """For operators."""
    retry_at: int | None = None
    """When it is tried again, epoch milliseconds; None when nothing is planned."""
    failures: int = 0
    """How often in a row it has failed."""
    given_up: bool = False
    """Too many failures in a row: it is not tried again by itself."""
    on_request: bool = False
    """Given up, and the next visitor's request is worth one more try: whoever asks renews the desired state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """What the tenant should be, and who said so."""

    __pydantic_config__ = _LENIENT

    state: Desired
    """What it should be."""
    cause: Cause | None = None
    """None for the state a tenant was created with."""
    by: str = ""
    """The writer: ``gogeta/HOST-PID``, ``passivator/HOST-PID``, ``cli/USER``."""
    since: int = 0
    """When it was last changed, epoch milliseconds."""
    wakes: int = 0
    """How many times it was woken; the number of the present wake while it is started."""
    request_id: str = ""
    """The request that asked for the wake, as access logs have it; empty when it was not a request."""
    trace: str = ""
    """The span of the wake that it belongs to, as a W3C ``traceparent``; empty where nobody traces. Who passivates
    carries it over, so that the way to sleep belongs to the trace of the request that woke."""
    recent_wakes: History = ()
    """Wakes by visitors in the last hour, counted by the minute of the epoch: what the wake budget is decided with."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One finished step of a start: its name and how long it took, in milliseconds.

    passivator's steps: ``queued`` (waited for its turn), ``started`` (the runtime started it), ``ready`` (it answered).
    """

    __pydantic_config__ = _LENIENT

    name: str
    """Which step."""
    ms: float
    """How long it took, milliseconds."""


PAST_STARTS: Final = 8
"""How many successful starts of a tenant are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedState:
    """What the tenant is."""

    __pydantic_config__ = _LENIENT

    state: Observed
    """What it is."""
    since: int = 0
    """Since when, epoch milliseconds."""
    endpoints: tuple[Endpoint, ...] = ()
    """Where it answers; only while started."""
    instance: str = ""
    """One start of one container or process. A connection or an address of another instance is never used again."""
    wakes: int = 0
    """The wake that this state belongs to: the desired state's number when passivator acted on it."""
    phase: str = ""
    """While starting: the step under way, for people."""
    phases: tuple[Phase, ...] = ()
    """The finished steps of the last start, in order."""
    ahead: int | None = None
    """While it waits for its turn to start: how many other starts wait before it; else None."""
    past_starts: tuple[float, ...] = ()
    """How long its latest successful starts took from their turn to ready, in milliseconds, the latest last."""
    reason: Reason | None = None
    """Why it failed; None where nothing did."""
    driver: str = ""
    """The kind of driver that runs it: who has to clean up when the declaration is gone."""
    group: str = ""
    """The group of passivators that runs it, one for each runtime; empty: nobody's yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAccess:
    """When a proxy last had the tenant in use."""

    __pydantic_config__ = _LENIENT

    at: int
    """Epoch milliseconds of the proxy's clock. Readers measure ages from when they saw the value change."""
    by: str = ""
    """The proxy."""
    in_flight: int = 0
    """Requests and tunnels open in that proxy when it wrote."""
    tunnels: int = 0
    """How many of them are tunnels: WebSockets and other upgraded connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A live process of ours: its listeners, so that no upstream points at them, and who it is."""

    __pydantic_config__ = _LENIENT

    kind: str
    """``gogeta`` or ``passivator``."""
    id: str
    """``HOST-PID``."""
    since: int = 0
    """When it was started, epoch milliseconds."""
    listeners: tuple[Endpoint, ...] = ()
    """Where it listens, its admin listener included."""
    runtime: tuple[Endpoint, ...] = ()
    """Endpoints of the container runtime it drives, where those are TCP."""
    driver: str = ""
    """The kind of driver a passivator has: tells whether anybody runs a tenant of that kind."""
    seen: int | None = None
    """Of a proxy: it has taken in every desired state up to this revision, and sends nothing new to tenants that are to
    sleep or stop by it. None of one that does not tell, and is not waited for."""
    draining: tuple[str, ...] = ()
    """Of a proxy: tenants that are to sleep or stop by what it has seen, and that are in flight there all the same."""
    group: str = ""
    """The group that a passivator stands for election in."""
    role: str = ""
    """Of a passivator: ``leader`` or ``follower``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who acts for a group of passivators, as long as this value lives under its lease."""

    __pydantic_config__ = _LENIENT

    by: str
    """The process: ``passivator/HOST-PID``."""
    since: int = 0
    """Since when it leads, epoch milliseconds."""
    mark: str = ""
    """Tells one run of one process on one machine from all others: a successor there need not wait for the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A proxy's hint that a started tenant did not accept a connection: passivator, look at it now."""

    __pydantic_config__ = _LENIENT

    instance: str
    """The instance that was tried, so that a hint about an earlier one says nothing about the present one."""
    at: int = 0
    """When it was tried, epoch milliseconds."""
    by: str = ""
    """The proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How far a group of passivators has told its webhooks."""

    __pydantic_config__ = _LENIENT

    revision: int
    """Every observed state up to this revision has been told, or was given up."""


ASLEEP: Final = DesiredState(state=Desired.PASSIVATED)
NEVER_SEEN: Final = ObservedState(state=Observed.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """All that the registry holds of one tenant at one moment; revisions are 0 where the key does not exist."""

    tenant: Tenant
    desired: DesiredState = ASLEEP
    observed: ObservedState = NEVER_SEEN
    revision: int = 0
    """Of the declaration."""
    desired_revision: int = 0
    observed_revision: int = 0
    created: int = 0
    """Revision at which the declaration was first written: the older of two claims to a host wins."""

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.tenant.name

    @property
    def endpoints(self) -> tuple[Upstream, ...]:
        """Where it answers now: its upstreams, or what was observed."""
        return self.tenant.upstreams or self.observed.endpoints

    @property
    def meeting(self) -> Meeting:
        """What a visitor meets now."""
        if self.tenant.routed_only:
            return Meeting.FORWARD
        meeting = meet(self.desired.state, self.observed.state)
        reason = self.observed.reason
        if meeting is Meeting.FAILED and reason is not None and reason.on_request:
            # Once somebody has asked, the try is on its way.
            return Meeting.WAIT if self.desired.wakes > self.observed.wakes else Meeting.WAKE
        # Started without an address cannot be forwarded to; the next observation brings one.
        return Meeting.WAIT if meeting is Meeting.FORWARD and not self.observed.endpoints else meeting


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the idle policy judged by. Passivating is valid only while both are still what they were."""

    desired_revision: int
    access_revision: int = field(default=0)
