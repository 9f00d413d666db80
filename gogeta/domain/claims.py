"""Who has which host, for those who declare tenants by hand: what was discovered by labels gives way to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant


def claimed_by_others(records: Iterable[TenantRecord], tenants: Sequence[Tenant]) -> dict[str, str]:
    """Host to the tenant that has it by hand, ``tenants`` left out: no declaration of these may claim it."""
    named = {tenant.name for tenant in tenants}
    return {
        host: record.name
        for record in records
        if record.name not in named and not record.tenant.discovered
        for host in record.tenant.hosts
    }


def giving_way(records: Iterable[TenantRecord], tenants: Sequence[Tenant]) -> tuple[str, ...]:
    """The discovered tenants that have a host which ``tenants`` claim: their declarations go when these come.

    Their labels are then shown as a conflict by the passivator that discovered them.
    """
    named = {tenant.name for tenant in tenants}
    wanted = {host for tenant in tenants for host in tenant.hosts}
    return tuple(
        record.name
        for record in records
        if record.tenant.discovered and record.name not in named and wanted.intersection(record.tenant.hosts)
    )
