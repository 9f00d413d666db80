"""What is wrong between a tenants file and the registry, and what applying it changes. Pure but for two reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gogeta.domain.claims import claimed_by_others, giving_way
from gogeta.domain.errors import HostConflictError, InvalidInputError, Problem
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName, tenant_to_data
from gogeta.domain.upstreams import Endpoint, Forbidden
from gogeta.registry.forbidding import forbidden_upstreams
from gogeta.registry.registry import Registry

Result = Literal["created", "changed", "unchanged", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What applying does to one tenant."""

    name: str
    result: Result
    fields: tuple[str, ...] = ()
    """What changes, as the file has it: ``idle_timeout``, ``docker.image``."""


class Declared(Protocol):
    """Tenants that somebody wants applied, and whoever can say where what is wrong with them stands."""

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """In the order that problems speak of them: ``("tenants", 0, "hosts", 1)``."""
        ...

    def refuse(self, problems: list[Problem]) -> InvalidInputError:
        """The refusal of all of them for ``problems``."""
        ...


async def check(file: Declared, registry: Registry, listeners: Iterable[Endpoint] = ()) -> list[Difference]:
    """What applying ``file`` would change. Raises InvalidInputError, with every problem, when it may not be applied.

    ``listeners``: further listeners of ours that no upstream may be, besides those announced in the registry.
    """
    records = (await registry.load()).by_name
    forbidden = forbidden_upstreams(await registry.members(), registry.store.endpoints, listeners)
    problems = [*conflicts(file.tenants, records), *refused_upstreams(file.tenants, forbidden)]
    if problems:
        raise file.refuse(problems)
    return differences(file.tenants, records)


def conflicts(tenants: Sequence[Tenant], records: Mapping[TenantName, TenantRecord]) -> list[Problem]:
    """Hosts of ``tenants`` that another tenant of the registry has, which the file does not declare anew."""
    claimed = claimed_by_others(records.values(), tenants)
    return [
        Problem(("tenants", index, "hosts", place), HostConflictError(host, claimed[host], tenant.name).message)
        for index, tenant in enumerate(tenants)
        for place, host in enumerate(tenant.hosts)
        if host in claimed
    ]


def refused_upstreams(tenants: Sequence[Tenant], forbidden: Forbidden) -> list[Problem]:
    """Upstreams of ``tenants`` that a rule forbids; the message is the rule."""
    return [
        Problem(("tenants", index, "upstreams", place), rule)
        for index, tenant in enumerate(tenants)
        for place, endpoint in enumerate(tenant.upstreams)
        if (rule := forbidden.rule_against(endpoint)) is not None
    ]


def differences(tenants: Sequence[Tenant], records: Mapping[TenantName, TenantRecord]) -> list[Difference]:
    """What applying ``tenants`` changes, in their order; last those discovered by labels that give way to them."""
    gone = (Difference(name, "withdrawn") for name in giving_way(records.values(), tenants))
    return [*(_difference(tenant, records.get(tenant.name)) for tenant in tenants), *gone]


def _difference(tenant: Tenant, before: TenantRecord | None) -> Difference:
    if before is None:
        return Difference(tenant.name, "created")
    if before.tenant == tenant:
        return Difference(tenant.name, "unchanged")
    old, new = _flat(tenant_to_data(before.tenant)), _flat(tenant_to_data(tenant))
    fields = [name for name in dict.fromkeys((*new, *old)) if old.get(name) != new.get(name)]
    return Difference(tenant.name, "changed", tuple(fields))


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    # Two levels, as a person names a field: docker.image, but not docker.env.PATH.
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": part for inner, part in value.items()})
        else:
            flat[name] = value
    return flat
