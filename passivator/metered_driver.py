"""A driver whose calls are counted: how long the runtime takes, and how often it fails. They go through as they are.

What is wrong with a tenant (an image that is missing, a command that ends) is no failure of the runtime; those are
counted by who starts it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final

from gogeta.domain.tenant import Tenant, TenantName
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.calls import OTHER, Calls
from gogeta.registry.store import RegistryError
from passivator.drivers.base import (
    Driver,
    Machine,
    Runtime,
    RuntimeEvent,
    RuntimeUnavailableError,
    StartFailedError,
    StopFailedError,
)

_OPERATIONS: Final = ("open", "machine", "list", "inspect", "start", "stop", "pause", "remove", "cpu", "logs")
_STREAMS: Final = ("events", "follow")
_UNAVAILABLE: Final = "unavailable"
_STOP_FAILED: Final = "stop-failed"


def _kind(error: Exception) -> str | None:
    match error:
        case StartFailedError() | RegistryError():
            # The tenant's own fault; or our lead was lost, and the runtime was not asked at all.
            return None
        case RuntimeUnavailableError():
            return _UNAVAILABLE
        case StopFailedError():
            return _STOP_FAILED
        case _:
            return OTHER


class MeteredDriver:
    """The contract of drivers (``drivers.base.Driver``), counted in ``calls``."""

    def __init__(self, driver: Driver) -> None:
        """``driver`` is owned: closed with this one."""
        self._driver = driver
        self.kind = driver.kind
        self.calls = Calls(_OPERATIONS, _STREAMS, (_UNAVAILABLE, _STOP_FAILED, OTHER), _kind)

    def __repr__(self) -> str:
        """Whose calls are counted."""
        return f"<MeteredDriver of {self._driver!r}>"

    @property
    def fence(self) -> Callable[[], None]:
        """The driver's own."""
        return self._driver.fence

    @fence.setter
    def fence(self, fence: Callable[[], None]) -> None:
        self._driver.fence = fence

    async def open(self) -> None:
        """As the driver."""
        with self.calls.made("open"):
            await self._driver.open()

    async def machine(self) -> Machine:
        """As the driver."""
        with self.calls.made("machine"):
            return await self._driver.machine()

    async def list(self) -> Mapping[TenantName, Runtime]:
        """As the driver."""
        with self.calls.made("list"):
            return await self._driver.list()

    async def inspect(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        with self.calls.made("inspect"):
            return await self._driver.inspect(tenant)

    async def start(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        with self.calls.made("start"):
            return await self._driver.start(tenant)

    async def stop(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        with self.calls.made("stop"):
            return await self._driver.stop(tenant)

    async def pause(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        with self.calls.made("pause"):
            return await self._driver.pause(tenant)

    async def remove(self, name: TenantName) -> None:
        """As the driver."""
        with self.calls.made("remove"):
            await self._driver.remove(name)

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        """As the driver."""
        with self.calls.made("cpu"):
            return await self._driver.cpu_seconds(tenant)

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        """As the driver."""
        with self.calls.made("logs"):
            return await self._driver.logs(tenant, lines)

    async def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        """As the driver."""
        with self.calls.tried("follow"):
            async with contextlib.aclosing(self._driver.follow(tenant, lines)) as portions:
                async for portion in portions:
                    yield portion

    async def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        """As the driver."""
        with self.calls.tried("events"):
            async with contextlib.aclosing(self._driver.events()) as events:
                async for event in events:
                    yield event

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        """As the driver."""
        return self._driver.runtime_endpoints

    async def resign(self) -> None:
        """As the driver."""
        await self._driver.resign()

    async def close(self) -> None:
        """As the driver."""
        await self._driver.close()
