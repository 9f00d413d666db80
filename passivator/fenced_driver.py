"""A driver that only a leader can use to change anything.

Before a start the clocks say whether the lead holds; before all that ends something, the registry says so as well, and
the clocks once more after it: a process that was frozen in between finds its time over and does nothing. A start is let
through on the clocks' word because two of them are one, and a wake waits for it. What was let through is several calls
to the runtime, and before each that changes anything the driver's own fence asks the clocks again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from gogeta.domain.tenant import Tenant, TenantName
from gogeta.domain.upstreams import Endpoint
from gogeta.registry.lead import Lead
from gogeta.registry.store import Store
from passivator.drivers.base import Driver, Machine, Runtime, RuntimeEvent


class FencedDriver:
    """The contract of drivers, for one term. What a lost lead keeps from happening raises NotLeadingError."""

    def __init__(self, driver: Driver, lead: Lead, store: Store) -> None:
        """``driver`` and ``store`` are used and not owned."""
        self._driver, self._lead, self._store = driver, lead, store
        self.kind = driver.kind
        driver.fence = self.fence = lead.check

    def __repr__(self) -> str:
        """One line: the driver and the lead."""
        return f"<FencedDriver {self._driver!r}, {self._lead!r}>"

    async def open(self) -> None:
        """As the driver."""
        await self._driver.open()

    async def machine(self) -> Machine:
        """As the driver."""
        return await self._driver.machine()

    async def list(self) -> Mapping[TenantName, Runtime]:
        """As the driver."""
        return await self._driver.list()

    async def inspect(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        return await self._driver.inspect(tenant)

    async def start(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        self._lead.check()
        return await self._driver.start(tenant)

    async def stop(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        await self._lead.prove(self._store)
        return await self._driver.stop(tenant)

    async def pause(self, tenant: Tenant) -> Runtime:
        """As the driver."""
        await self._lead.prove(self._store)
        return await self._driver.pause(tenant)

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        """As the driver."""
        return await self._driver.cpu_seconds(tenant)

    async def remove(self, name: TenantName) -> None:
        """As the driver."""
        await self._lead.prove(self._store)
        await self._driver.remove(name)

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        """As the driver."""
        return await self._driver.logs(tenant, lines)

    def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        """As the driver."""
        return self._driver.follow(tenant, lines)

    def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        """As the driver."""
        return self._driver.events()

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        """As the driver."""
        return self._driver.runtime_endpoints

    async def resign(self) -> None:
        """As the driver."""
        await self._driver.resign()

    async def close(self) -> None:
        """Nothing: the driver is another's."""
