"""The process driver: a tenant is a local command. For machines without Docker, and for development.

A port of its own on loopback, its output in ``STATE_DIR/NAME.log``, its limits, an environment that has nothing of
passivator's, and a clean end of everything it started; no isolation beyond that, it runs as the same user. How nothing
is left behind is told in ``guardian.py``. Must not know the registry, desired states or policies.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import ProcessSpec, Tenant, TenantName
from gogeta.domain.upstreams import Endpoint
from passivator.drivers import log_files
from passivator.drivers.base import (
    NOTHING,
    Machine,
    Runtime,
    RuntimeEvent,
    RuntimeUnavailableError,
    StartFailedError,
    Status,
    StopFailedError,
    unfenced,
)
from passivator.drivers.guardian import processor_seconds
from passivator.drivers.guarding import CannotRun, Guard, Kept, Order
from passivator.drivers.hints import Hints
from passivator.drivers.local_memory import available_memory
from passivator.drivers.local_ports import LOOPBACK, Claim, claim_port, is_free
from passivator.drivers.output import Lines

LOG_LIMIT: Final = 1 << 20
"""Most bytes of each of a tenant's two log files."""
_PASSED_ON: Final = ("PATH", "HOME", "LANG")
_LONGEST_FAREWELL: Final = 10.0
"""Most seconds of grace that commands get when the driver is closed."""
_MAX_LINES: Final = 10_000
_LOOK: Final = 0.25
"""Seconds between looks at a log that is followed."""
_REFUSED: Final = {
    "command": ReasonCode.COMMAND_FAILED,
    "cwd": ReasonCode.BAD_SPEC,
    "limit": ReasonCode.BAD_SPEC,
    "log": ReasonCode.RUNTIME,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Start:
    """One start and what only we know of it."""

    kept: Kept
    port: int
    grace: float
    claim: Claim | None
    """Of the port, where we chose it; released at the end."""

    def runtime(self) -> Runtime:
        kept = self.kept
        if kept.ended or kept.pid is None:
            return Runtime(status=Status.EXITED, instance=kept.instance, exit_code=kept.code, message=kept.tail)
        status = Status.STOPPING if kept.stopping else Status.PAUSED if kept.paused else Status.RUNNING
        return Runtime(status=status, instance=kept.instance, endpoints=(Endpoint(LOOPBACK, self.port),))


class ProcessDriver:
    """See the module. Everything it started ends when it is closed, or dies."""

    kind = "process"

    def __init__(self, state_dir: Path) -> None:
        """``state_dir`` gets the tenants' output; it is made when missing."""
        self.fence = unfenced
        self._state_dir = state_dir
        self._hints = Hints()
        self._guard = Guard(self._hints.tell)
        self._starts: dict[TenantName, _Start] = {}

    def __repr__(self) -> str:
        """One line: how many it keeps."""
        running = sum(not start.kept.ended for start in self._starts.values())
        return f"<ProcessDriver {running} of {len(self._starts)} running, guardian {self._guard.pid}>"

    async def open(self) -> None:
        """Make the folder and start the guardian. Raises RuntimeUnavailableError."""
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RuntimeUnavailableError(
                f"the folder for what local processes write cannot be made: {error}",
                hint="set state_dir to one that can",
            ) from error
        await self._guard.open()

    async def machine(self) -> Machine:
        """As the contract has it: this host. Its memory is what is available while nothing of ours runs."""
        return Machine(identity=socket.gethostname().lower(), memory=await asyncio.to_thread(available_memory))

    async def resign(self) -> None:
        """As the contract has it: whoever leads now starts them anew, and two of one would write the same files."""
        stops = (start.kept.stop(min(start.grace, _LONGEST_FAREWELL)) for start in self._starts.values())
        for result in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(result, StopFailedError):
                logger.warning("a local process did not end: %s", result)

    async def list(self) -> Mapping[TenantName, Runtime]:
        """All that was started since this driver was made; nothing survives an earlier one."""
        return {name: start.runtime() for name, start in self._starts.items()}

    async def inspect(self, tenant: Tenant) -> Runtime:
        """As the contract has it."""
        start = self._starts.get(tenant.name)
        return NOTHING if start is None else start.runtime()

    async def start(self, tenant: Tenant) -> Runtime:
        """As the contract has it; every start uses the declaration it is given."""
        if tenant.process is None:
            raise StartFailedError(ReasonCode.BAD_SPEC, "the process driver runs only tenants that declare `process`")
        start = self._starts.get(tenant.name)
        if start is not None and start.kept.stopping:
            try:
                await start.kept.gone()
            except StopFailedError as error:
                raise RuntimeUnavailableError(f"the stop before this start has not ended: {error}") from error
        if start is None or start.kept.ended:
            self.fence()
            start = await self._run(tenant, tenant.process)
        try:
            await start.kept.born()
        except CannotRun as refused:
            what = tenant.process.cwd if refused.what == "cwd" else tenant.process.command[0]
            raise StartFailedError(_REFUSED[refused.what], f"{what}: {refused.error}") from refused
        if start.kept.paused:
            await start.kept.freeze(frozen=False)
        return start.runtime()

    async def _run(self, tenant: Tenant, spec: ProcessSpec) -> _Start:
        await self.open()
        claim = None if tenant.port is not None else self._claim(tenant.name)
        port = self._declared_port(tenant) if claim is None else claim.port
        order = Order(
            argv=tuple(word.replace("{port}", str(port)) for word in spec.command),
            env=_environment(spec, port),
            cwd=spec.cwd,
            memory=spec.memory,
            open_files=spec.open_files,
            log=self._log(tenant.name),
            log_limit=LOG_LIMIT,
        )
        try:
            kept = await self._guard.run(order, functools.partial(self._kept_changed, tenant.name))
        except BaseException:
            if claim is not None:
                claim.release()
            raise
        # Nothing is awaited between the hand-over and this line: a start that is given up is still known.
        start = self._starts[tenant.name] = _Start(kept, port, tenant.stop_grace, claim)
        return start

    def _kept_changed(self, name: TenantName) -> None:
        start = self._starts.get(name)
        if start is not None and start.claim is not None and start.kept.ended:
            start.claim.release()
        self._hints.tell(name)

    def _claim(self, name: TenantName) -> Claim:
        claim = claim_port(f"{self._state_dir.absolute()} {name}")
        if claim is None:
            raise RuntimeUnavailableError("no free port was found for a local process")
        return claim

    @staticmethod
    def _declared_port(tenant: Tenant) -> int:
        assert tenant.port is not None  # noqa: S101 - else a port is claimed
        if not is_free(tenant.port):
            raise StartFailedError(
                ReasonCode.PORT_TAKEN,
                f"port {tenant.port} is in use on this machine",
                hint="leave `port` out, and a free one is found at each start",
            )
        return tenant.port

    async def stop(self, tenant: Tenant) -> Runtime:
        """As the contract has it; SIGTERM goes to all it started, and so does SIGKILL."""
        start = self._starts.get(tenant.name)
        if start is None:
            return NOTHING
        self.fence()
        await start.kept.stop(tenant.stop_grace)
        return start.runtime()

    async def pause(self, tenant: Tenant) -> Runtime:
        """As the contract has it, by SIGSTOP."""
        start = self._starts.get(tenant.name)
        if start is None or start.kept.ended or start.kept.stopping:
            raise StopFailedError(f"{tenant.name} does not run, so it cannot be paused")
        self.fence()
        await start.kept.freeze(frozen=True)
        return start.runtime()

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        """As the contract has it, of everything below its keeper."""
        start = self._starts.get(tenant.name)
        if start is None or start.kept.ended or start.kept.pid is None:
            return None
        return await asyncio.to_thread(processor_seconds, start.kept.pid)

    async def remove(self, name: TenantName) -> None:
        """As the contract has it; its output is removed too."""
        start = self._starts.get(name)
        if start is not None:
            self.fence()
            await start.kept.stop(start.grace)
            del self._starts[name]
        await asyncio.to_thread(log_files.remove, self._log(name))

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        """As the contract has it, also of earlier starts; at most 10 000 lines."""
        return await asyncio.to_thread(log_files.last_lines, self._log(tenant.name), min(max(lines, 0), _MAX_LINES))

    async def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        """As the contract has it; it looks four times a second."""
        whole, tail = Lines(), log_files.Tail(self._log(tenant.name))
        try:
            text = await asyncio.to_thread(tail.last, min(max(lines, 0), _MAX_LINES))
            over = False
            while True:
                if found := whole.take(text):
                    yield found
                elif over:
                    break
                text = await asyncio.to_thread(tail.more)
                # What it wrote last is there when it has ended: one more look.
                if not text and not (over := not self._keeps(tenant.name)):
                    await asyncio.sleep(_LOOK)
            if rest := whole.end():
                yield rest
        finally:
            tail.close()

    def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        """As the contract has it; a guardian that died is a gap."""
        return self._hints.follow()

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        """None: there is no API."""
        return ()

    async def close(self) -> None:
        """End all that runs, each with its grace up to 10 s, and the guardian."""
        stops = (start.kept.stop(min(start.grace, _LONGEST_FAREWELL)) for start in self._starts.values())
        results = await asyncio.gather(*stops, return_exceptions=True)
        await self._guard.close()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _log(self, name: TenantName) -> Path:
        return self._state_dir.absolute() / f"{name}.log"

    def _keeps(self, name: TenantName) -> bool:
        """Whether something of it runs."""
        start = self._starts.get(name)
        return start is not None and start.runtime().status is not Status.EXITED


def _environment(spec: ProcessSpec, port: int) -> dict[str, str]:
    # Only what a command needs to be found and to speak: passivator's own variables may hold secrets.
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Last of all the folder of our own Python: where a system has no `python`, the one we run with is meant.
    path = os.pathsep.join((passed_on.pop("PATH", os.defpath), os.path.dirname(sys.executable)))  # noqa: PTH120 - text
    return {"PATH": path, **passed_on, **spec.env, "PORT": str(port)}
