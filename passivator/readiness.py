"""Is this instance ready? Asked often at first and more rarely later, until it is, or its time is over.

The ladder: the declared HTTP path answers 2xx or 3xx; else the runtime's own health check is green, where there is
one; else the port accepts a connection. A check belongs to one instance: addresses of another start never count. It
reads what the runtime said and opens connections; it calls no driver and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from gogeta.domain.hosts import DEFAULT_HOST
from gogeta.domain.state import Reason, ReasonCode
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.clock import monotonic
from gogeta.kit.tasks import first_of
from passivator.drivers.base import Health, Runtime

FIRST_DELAY: Final = 0.005
LONGEST_DELAY: Final = 0.25
_SHARE: Final = 0.05
"""A pause is this part of the time tried so far: it delays nobody by more than that part of what the start takes."""
ROUND: Final = 1.0
"""Seconds after which the runtime is asked again whether the instance still lives, should its events be late."""
CONNECT_TIMEOUT: Final = 1.0
ANSWER_TIMEOUT: Final = 5.0
_MAX_STATUS_LINE: Final = 4096


@dataclass(frozen=True, slots=True)
class Ready:
    """It answers, at these of its endpoints."""

    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class NotYet:
    """Look at the runtime again, then go on."""


@dataclass(frozen=True, slots=True)
class NeverReady:
    """It will not do any more."""

    reason: Reason


Outcome = Ready | NotYet | NeverReady


class Readiness:
    """The check of one instance, from when it ran (``began``, loop time) to its end."""

    def __init__(self, tenant: Tenant, instance: str, began: float) -> None:
        """The tenant's ``ready`` settings count as they are now."""
        self.instance = instance
        self.began = began
        self._path = tenant.ready.path
        self._host = next((host for host in tenant.hosts if host != DEFAULT_HOST and not host.startswith("*.")), None)
        self._deadline = began + tenant.ready.timeout
        self._timeout = tenant.ready.timeout
        self._tried_since: float | None = None
        self.seen = "nothing was tried"
        """What the last check met, for people."""

    async def check(self, runtime: Runtime, changed: asyncio.Event) -> Outcome:
        """Check for about a second, or until ``changed`` is set: then look at the runtime again and call again."""
        if runtime.health is Health.UNHEALTHY and runtime.failure is not None:
            return NeverReady(runtime.failure)
        until = monotonic() + ROUND
        if self._tried_since is None:
            self._tried_since = monotonic()
        while True:
            answering = await self._answering(runtime)
            if answering:
                return Ready(answering)
            now = monotonic()
            if now >= self._deadline:
                return NeverReady(
                    Reason(
                        ReasonCode.NOT_READY, f"it was not ready within {self._timeout:g} s of its start: {self.seen}"
                    )
                )
            delay = min(max((now - self._tried_since) * _SHARE, FIRST_DELAY), LONGEST_DELAY)
            if await first_of(changed, timeout=min(delay, max(self._deadline - now, 0.001))) or monotonic() >= until:
                return NotYet()

    async def _answering(self, runtime: Runtime) -> tuple[Endpoint, ...]:
        if not runtime.endpoints:
            self.seen = "the runtime tells no address of it"
            return ()
        if self._path is None and runtime.health is not Health.NONE:
            self.seen = f"its health check says {runtime.health.value}"
            return runtime.endpoints if runtime.health is Health.HEALTHY else ()
        left = max(self._deadline - monotonic(), FIRST_DELAY)
        troubles = await asyncio.gather(*(self._trouble(endpoint, left) for endpoint in runtime.endpoints))
        self.seen = "; ".join(trouble for trouble in troubles if trouble) or "it answers"
        return tuple(endpoint for endpoint, trouble in zip(runtime.endpoints, troubles, strict=True) if trouble is None)

    async def _trouble(self, endpoint: Endpoint, left: float) -> str | None:
        """What keeps this endpoint from being ready; None when nothing does."""
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT, left)):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=_MAX_STATUS_LINE)
        except TimeoutError:
            return f"{endpoint} does not answer"
        except OSError as error:
            return f"{endpoint}: {error.strerror or error}"
        try:
            if self._path is None:
                return None
            async with asyncio.timeout(min(ANSWER_TIMEOUT, left)):
                return await self._ask(reader, writer, endpoint)
        except TimeoutError:
            return f"{endpoint}{self._path} does not answer"
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            return f"{endpoint}{self._path}: {error}"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint) -> str | None:
        # Applications that check the Host field know their public name, not their address.
        host = self._host or endpoint.authority
        request = f"GET {self._path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: passivator\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        line = (await reader.readuntil(b"\n")).split(maxsplit=2)
        status = line[1] if len(line) > 1 and line[0].startswith(b"HTTP/1.") else b""
        if not (status.isdigit() and len(status) == 3):
            return f"{endpoint}{self._path} does not speak HTTP"
        return None if 200 <= int(status) < 400 else f"{endpoint}{self._path} answers {int(status)}"
