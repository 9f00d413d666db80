"""What the admin API reads tenants' output through: a driver, whoever leads. It changes nothing and needs no lead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from gogeta.api.tenant_logs import LogReader, NotReadableError
from gogeta.domain.tenant import Tenant
from passivator.drivers.base import Driver


def reader_of(driver: Driver) -> LogReader:
    """Reads what this driver's tenants wrote."""

    async def read(tenant: Tenant, lines: int, *, follow: bool) -> AsyncGenerator[Sequence[str], None]:
        if tenant.driver != driver.kind:
            raise NotReadableError(
                f"tenant {tenant.name!r} is run by {tenant.driver}, and this process drives {driver.kind}",
                hint=f"ask a passivator with --driver {tenant.driver}",
            )
        if not follow:
            yield (await driver.logs(tenant, lines)).splitlines()
            return
        async with aclosing(driver.follow(tenant, lines)) as portions:
            async for portion in portions:
                yield portion

    return read
