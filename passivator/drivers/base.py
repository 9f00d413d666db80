"""What every runtime driver promises.

A driver knows how one kind of runtime runs a tenant's declaration and how to see what runs; it knows no registry, no
desired state and no policy. It is level-triggered: what it says is read from the runtime at that moment, and it can be
restarted at any time and find what it had started. ``tests/drivers`` holds the one suite that all drivers pass.

Rules that all keep:

- One *instance* is one start of one container or process. Its id never comes back, not after a restart of the same
  container, not when an address or a process id is handed out again.
- ``start`` while a stop is under way waits for that stop to end and then really starts.
- ``start`` of what runs, ``stop`` of what does not, ``remove`` of what is not there: done, no error.
- Endpoints are read from the runtime anew for each instance, never remembered.
- No call waits for ever; each raises RuntimeUnavailableError after a limit of its own.
- Calls for one tenant are made one at a time by the caller; calls for different tenants may run in parallel.
- A call that is cancelled leaves the runtime as it is at that moment; nothing is half remembered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from gogeta.domain.errors import Fault, GogetaError
from gogeta.domain.state import Reason, ReasonCode
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.domain.upstreams import Endpoint

PREFIX: Final = "gogeta"
"""First part of the names of what drivers make: containers and networks ``gogeta-NAME``, labels ``gogeta.tenant``."""


_NOT_EXECUTABLE: Final = (126, 127)
"""What shells and container inits end with when they cannot execute a command."""


class DriverError(GogetaError):
    """Base of the drivers' errors."""

    fault = Fault.RUNTIME


class RuntimeUnavailableError(DriverError):
    """The runtime did not answer in time, or could not be reached. The same call may be made again."""

    retry_safe = True


class StartFailedError(DriverError):
    """The tenant could not be started, for a reason that is its own (image, command, declaration)."""

    fault = Fault.TENANT

    def __init__(self, code: ReasonCode, message: str, *, hint: str = "") -> None:
        """``code`` as in the observed state's reason."""
        super().__init__(message, hint=hint)
        self.code = code

    @property
    def reason(self) -> Reason:
        """As the observed state records it."""
        return Reason(self.code, self.message)


class StopFailedError(DriverError):
    """It still runs after its grace time and SIGKILL, or the runtime refused to stop it."""

    retry_safe = True


class Status(StrEnum):
    """What the runtime says of a tenant."""

    ABSENT = "absent"
    """Nothing of it is there."""
    EXITED = "exited"
    """It is there and does not run (created and never started, too)."""
    RUNNING = "running"
    STOPPING = "stopping"
    """It is being stopped right now, by us or by anybody."""
    PAUSED = "paused"
    BROKEN = "broken"
    """Of several containers: some run, and one without which it does not answer has ended."""


class Health(StrEnum):
    """The runtime's own health check, where one is declared."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What the runtime says of one tenant at one moment."""

    status: Status
    instance: str = ""
    """Id of the present start; of the last one when it does not run; empty when it never ran."""
    endpoints: tuple[Endpoint, ...] = ()
    """Where it may be reached, when it runs."""
    health: Health = Health.NONE
    exit_code: int | None = None
    """Of the last start, when it (or a part of it) does not run; negative for a signal where the runtime tells."""
    out_of_memory: bool = False
    message: str = ""
    """The runtime's own words about the last start, if any, or the last lines the process wrote; for operators."""

    @property
    def failure(self) -> Reason | None:
        """What is wrong with it by what the runtime says; None where nothing is, or where it was never started.

        Whether an end with exit code 0 is a failure is for those to say who know whether it should run.
        """
        if self.status in (Status.EXITED, Status.BROKEN) and self.instance:
            return self._why_it_ended()
        if self.health is Health.UNHEALTHY:
            return Reason(ReasonCode.UNHEALTHY, self.message or "the runtime's health check fails")
        return None

    def _why_it_ended(self) -> Reason:
        told = f": {self.message}" if self.message else ""
        if self.out_of_memory:
            return Reason(ReasonCode.OUT_OF_MEMORY, f"killed for want of memory{told}")
        if self.exit_code in _NOT_EXECUTABLE:
            return Reason(ReasonCode.COMMAND_FAILED, f"the command could not be executed (exit {self.exit_code}){told}")
        if self.exit_code is None:
            return Reason(ReasonCode.EXITED, f"ended{told}")
        if self.exit_code < 0:
            return Reason(ReasonCode.EXITED, f"ended by signal {-self.exit_code}{told}")
        return Reason(ReasonCode.EXITED, f"ended with exit code {self.exit_code}{told}")


MAX_LINE: Final = 16_384
"""Characters of a line of output that are passed on at once."""
NOTHING: Final = Runtime(status=Status.ABSENT)


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something may have changed. Without a name: anything may have; look at all of it again."""

    name: TenantName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a driver drives."""

    identity: str
    """The same for all drivers of one runtime, whatever way they reach it, and for no other; also after its restart."""
    memory: int | None = None
    """Bytes of memory that all tenants together may reasonably have there; None when it does not tell."""


def unfenced() -> None:
    """The fence of a driver that anybody may use."""


class Driver(Protocol):
    """The contract (see the module's docstring)."""

    kind: str
    """``docker``, ``process``, ``memory``."""
    fence: Callable[[], None]
    """Called right before each call to the runtime that changes anything, and may raise to keep it from being made.

    An operation takes several calls, and its process may be frozen between two of them. At first it does nothing.
    """

    async def open(self) -> None:
        """Reach the runtime for the first time; RuntimeUnavailableError when it is not there yet.

        May be called again. The other calls do it themselves when it was not done.
        """
        ...

    async def machine(self) -> Machine:
        """Which runtime this is, and how much it can bear. RuntimeUnavailableError."""
        ...

    async def list(self) -> Mapping[TenantName, Runtime]:
        """All that we made (or adopted, as far as labels tell) and that the runtime still knows."""
        ...

    async def inspect(self, tenant: Tenant) -> Runtime:
        """What the runtime says of it now; absent where nothing can be said to be its own. RuntimeUnavailableError."""
        ...

    async def start(self, tenant: Tenant) -> Runtime:
        """Make it run: create what is missing, resume what is paused.

        What does not run and was made from another declaration is created anew; what runs or is paused goes on as it
        is, whatever the declaration says now. Returns when it runs, ready or not. Raises StartFailedError,
        RuntimeUnavailableError.
        """
        ...

    async def stop(self, tenant: Tenant) -> Runtime:
        """SIGTERM, then SIGKILL after ``tenant.stop_grace`` seconds; returns when it does not run. StopFailedError."""
        ...

    async def pause(self, tenant: Tenant) -> Runtime:
        """Freeze it in memory; of what does not run, an error: StopFailedError."""
        ...

    async def remove(self, name: TenantName) -> None:
        """Stop and remove all that we made for a tenant, by its name alone: its declaration is gone.

        Adopted containers are left as they are: without the declaration nobody knows them.
        """
        ...

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        """Seconds of processor time that its present start has used so far, all its processes together.

        What counts is the difference of two answers. None when it does not run, or where that cannot be told.
        """
        ...

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        """The last lines it wrote; empty when there are none."""
        ...

    def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        """The last lines it wrote, then those it writes, in portions; ends when it does not run any more.

        A line of more than ``MAX_LINE`` characters comes in pieces. Raises RuntimeUnavailableError.
        """
        ...

    def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        """Hints that something changed, as they come, for ever.

        The first event of each iteration, and the first after every gap (a restart of the runtime, a lost connection),
        has no name: look at all of it again. Raises RuntimeUnavailableError when the runtime cannot be reached, or is
        no longer; the caller waits and iterates anew.
        """
        ...

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        """Addresses of the runtime's own API where those are TCP; nothing may point at them."""
        ...

    async def resign(self) -> None:
        """Another process drives this runtime now: end what would be in its way. Containers stay as they are."""
        ...

    async def close(self) -> None:
        """Let go. Containers stay as they are; local processes end, because nobody would look after them."""
        ...
