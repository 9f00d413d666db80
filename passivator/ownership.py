"""Which tenants are ours: several passivators with different drivers may share one registry.

A tenant belongs to the passivator whose driver runs its kind of declaration. Others leave it alone, with two
exceptions: they clean up what they ran for it before its declaration changed, and when no passivator at all runs its
kind, one of them says so, because otherwise its visitors would wait for nothing and nobody would know why.
"""

from __future__ import annotations

from typing import Final

from gogeta.domain.state import Reason, ReasonCode
from gogeta.domain.tenant import Tenant
from gogeta.registry.registry import Registry

GRACE: Final = 5.0
"""Seconds that a passivator of the right kind gets to announce itself, e.g. when all start at the same time."""
_RUNS_ALL: Final = "memory"


def runs(driver: str, tenant: Tenant) -> bool:
    """Whether a driver of this kind runs this tenant."""
    if tenant.driver is None:
        return False
    return driver == _RUNS_ALL or tenant.driver == ("docker" if driver == "swarm" else driver)


async def nobody_runs(registry: Registry, tenant: Tenant, ours: str) -> Reason | None:
    """The reason to record when no live passivator runs this kind of tenant; None when one does."""
    drivers = {member.driver for member in await registry.members() if member.kind == "passivator"}
    if any(runs(driver, tenant) for driver in drivers):
        return None
    return Reason(
        ReasonCode.BAD_SPEC,
        f"it is declared for the {tenant.driver} driver, and no passivator with that driver is running "
        f"(there is one with {ours}): start one with `passivator --driver {tenant.driver}`",
    )
