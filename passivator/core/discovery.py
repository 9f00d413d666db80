"""Which declarations follow from labels: what to write, what to leave, what is in conflict. Pure.

What was declared by hand counts, whatever labels say; of several claims by labels to a name or a host the one that is
in force stays in force, and else the older one wins. Refused labels change nothing: what they declared when they were
right stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gogeta.domain.discovery import Refusal, Refused
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName
from passivator.core.labels import NAME, Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What there is to do."""

    put: tuple[Tenant, ...] = ()
    """Declarations that are new or different."""
    missing: tuple[str, ...] = ()
    """Discovered by us, and nothing declares them any more."""
    accepted: tuple[Found, ...] = ()
    """Labels that are in force, or will be when ``put`` is written."""
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class _Claim:
    """Who has a host."""

    tenant: str
    holder: str
    """For people: who that is."""


def settle(
    found: Sequence[Found],
    refused: Iterable[Refusal],
    records: Mapping[TenantName, TenantRecord],
    *,
    group: str,
    led: Callable[[str], bool],
    unreadable: Collection[str] = (),
) -> Verdict:
    """Compare what labels declare (``found``, the oldest first, and ``refused``) with what is declared.

    ``group`` is ours; ``led`` says of another group whether it has a leader: what the others of a group without one
    discovered may be taken over. ``unreadable``: names whose declarations are there and cannot be read.
    """
    refusals = list(refused)
    ours = {name for name, record in records.items() if record.tenant.discovered and record.tenant.group == group}
    by_hand = {host for record in records.values() if not record.tenant.discovered for host in record.tenant.hosts}
    kept = (ours & {name for refusal in refusals for name in refusal.names[:1]}) - {each.tenant.name for each in found}
    fixed = {name: record for name, record in records.items() if name in kept or not _free(record, group, led)}
    claims = {host: _Claim(name, _holder(record)) for name, record in fixed.items() for host in record.tenant.hosts}
    for each in found:
        if each.tenant.name in ours - fixed.keys():
            # What is in force and stays declared is nobody else's, whoever is older.
            lasting = set(records[each.tenant.name].tenant.hosts) & set(each.tenant.hosts)
            _claim(claims, lasting, each)
    accepted: dict[TenantName, Found] = {}
    for each in sorted(found, key=lambda each: each.tenant.name not in ours):  # stable: else the oldest first
        name = each.tenant.name
        refusal = _in_the_way(each, accepted, fixed, claims, unreadable)
        if refusal is None:
            accepted[name] = each
            _claim(claims, each.tenant.hosts, each)
            continue
        refusals.append(refusal)
        if (
            name in ours
            and name not in accepted
            and name not in fixed
            and not by_hand & set(records[name].tenant.hosts)
        ):
            # What it has stays its own, also against those who come after it.
            kept.add(name)
            _claim(claims, records[name].tenant.hosts, each)
    return Verdict(
        put=tuple(each.tenant for each in accepted.values() if _differs(each.tenant, records)),
        missing=tuple(sorted(ours - accepted.keys() - kept)),
        accepted=tuple(accepted.values()),
        refused=tuple(refusals),
    )


def _claim(claims: dict[str, _Claim], hosts: Iterable[str], found: Found) -> None:
    for host in hosts:
        claims.setdefault(host, _Claim(found.tenant.name, found.source))


def _free(record: TenantRecord, group: str, led: Callable[[str], bool]) -> bool:
    """Whether labels of ours may change it: discovered by us, or by a group of which nobody is left."""
    tenant = record.tenant
    return tenant.discovered and (tenant.group == group or not led(tenant.group or ""))


def _holder(record: TenantRecord) -> str:
    tenant = record.tenant
    if not tenant.discovered:
        return "declared by hand"
    return f"discovered by group {tenant.group}"


def _differs(tenant: Tenant, records: Mapping[TenantName, TenantRecord]) -> bool:
    record = records.get(tenant.name)
    return record is None or record.tenant != tenant


def _in_the_way(
    found: Found,
    accepted: Mapping[TenantName, Found],
    fixed: Mapping[TenantName, TenantRecord],
    claims: Mapping[str, _Claim],
    unreadable: Collection[str],
) -> Refusal | None:
    """Why labels that are right cannot be in force; None when they can."""
    name = found.tenant.name
    if name in accepted:
        return _conflict(found, f"tenant {name} is {accepted[name].source} already; {NAME} gives it another name")
    if name in fixed:
        record = fixed[name]
        if not record.tenant.discovered:
            return _conflict(found, f"tenant {name} is declared by hand, and that counts; `gogeta rm {name}` ends it")
        return _conflict(found, f"tenant {name} was discovered by group {record.tenant.group}, on another engine")
    if name in unreadable:
        return _conflict(found, f"tenant {name} is declared, and its declaration cannot be read")
    return next(_hosts_taken(found, claims), None)


def _hosts_taken(found: Found, claims: Mapping[str, _Claim]) -> Iterator[Refusal]:
    for host in found.tenant.hosts:
        claim = claims.get(host)
        if claim is not None and claim.tenant != found.tenant.name:
            yield _conflict(
                found, f"host {host} is tenant {claim.tenant}'s ({claim.holder}), which keeps it", claim.tenant
            )


def _conflict(found: Found, message: str, other: str = "") -> Refusal:
    names = (found.tenant.name, other) if other else (found.tenant.name,)
    return Refusal(source=found.source, why=Refused.CONFLICT, message=message, names=names)
