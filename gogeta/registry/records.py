"""Listings and changes of keys, folded into one record per tenant. Pure.

Values that cannot be read, or are of an unknown version, are quarantined: reported, skipped, and what was last known
good of that key stays in force until a good value comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.hosts import normalise_tenant_name
from gogeta.domain.state import ASLEEP, NEVER_SEEN, DesiredState, ObservedState, TenantRecord
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.registry import keys
from gogeta.registry.codec import decode
from gogeta.registry.store import Change, Entry, Listing


@dataclass(slots=True)
class _Parts:
    """The three keys of one name; a state may be there before its declaration, or outlive it."""

    tenant: Tenant | None = None
    created: int = 0
    revision: int = 0
    desired: DesiredState = ASLEEP
    desired_revision: int = 0
    observed: ObservedState = NEVER_SEEN
    observed_revision: int = 0

    @property
    def empty(self) -> bool:
        return not (self.revision or self.desired_revision or self.observed_revision)


@dataclass(slots=True)
class Records:
    """All tenants as the registry has them.

    ``reset`` takes a listing of ``keys.STATE``, ``apply_all`` changes under it; both return the names that changed.
    """

    by_name: dict[TenantName, TenantRecord] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    """Key to what is wrong with its value; the last good one is still in force."""
    _parts: dict[TenantName, _Parts] = field(default_factory=dict)

    @property
    def leftovers(self) -> tuple[TenantName, ...]:
        """Names that have states and no declaration: removed tenants that passivator has yet to clean up."""
        return tuple(name for name, parts in self._parts.items() if parts.tenant is None and parts.observed_revision)

    def observed(self, name: str) -> tuple[ObservedState, int]:
        """The observed state and its key's revision (0: there is none), whether or not there is a declaration."""
        parts = self._parts.get(TenantName(name))
        return (parts.observed, parts.observed_revision) if parts else (NEVER_SEEN, 0)

    def reset(self, listing: Listing) -> set[TenantName]:
        """Become what the listing says; keys it does not have are gone."""
        listed = {entry.key for entry in listing.entries}
        known = {
            key
            for name, parts in self._parts.items()
            for key, revision in (
                (keys.tenant_key(name), parts.revision),
                (keys.desired_key(name), parts.desired_revision),
                (keys.observed_key(name), parts.observed_revision),
            )
            if revision
        } | set(self.quarantine)
        gone = (Change(key, listing.revision, None) for key in sorted(known - listed))
        return self.apply_all([*(Change(entry.key, entry.revision, entry) for entry in listing.entries), *gone])

    def apply_all(self, changes: Iterable[Change]) -> set[TenantName]:
        """Apply changes in order; the names whose record is now another."""
        touched = {name for change in changes if (name := self._fold(change)) is not None}
        return {name for name in touched if self._publish(name)}

    def _fold(self, change: Change) -> TenantName | None:
        for prefix in (keys.TENANTS, keys.DESIRED, keys.OBSERVED):
            if change.key.startswith(prefix):
                name = keys.name_of(change.key, prefix)
                break
        else:
            return None
        parts = self._parts.setdefault(name, _Parts())
        try:
            self._set(parts, prefix, name, change.entry)
        except InvalidInputError as error:
            self.quarantine[change.key] = "; ".join(str(problem) for problem in error.problems)
        else:
            self.quarantine.pop(change.key, None)
        if parts.empty and not any(key.endswith("/" + name) for key in self.quarantine):
            del self._parts[name]
        return name

    def _set(self, parts: _Parts, prefix: str, name: TenantName, entry: Entry | None) -> None:
        if entry is not None and not _is_name(name):
            raise InvalidInputError(entry.key, (Problem((), "the key does not end in a tenant's name"),))
        if prefix == keys.TENANTS:
            if entry is None:
                parts.tenant, parts.created, parts.revision = None, 0, 0
                return
            tenant = decode(Tenant, entry.value, what=entry.key)
            if tenant.name != name:
                raise InvalidInputError(entry.key, (Problem(("name",), f"expected {name!r}, as the key says"),))
            parts.tenant, parts.created, parts.revision = tenant, entry.created, entry.revision
        elif prefix == keys.DESIRED:
            if entry is None:
                parts.desired, parts.desired_revision = ASLEEP, 0
                return
            parts.desired = decode(DesiredState, entry.value, what=entry.key)
            parts.desired_revision = entry.revision
        else:
            if entry is None:
                parts.observed, parts.observed_revision = NEVER_SEEN, 0
                return
            parts.observed = decode(ObservedState, entry.value, what=entry.key)
            parts.observed_revision = entry.revision

    def _publish(self, name: TenantName) -> bool:
        parts, before = self._parts.get(name), self.by_name.get(name)
        if parts is None or parts.tenant is None:
            return self.by_name.pop(name, None) is not None
        record = TenantRecord(
            tenant=parts.tenant,
            desired=parts.desired,
            observed=parts.observed,
            revision=parts.revision,
            desired_revision=parts.desired_revision,
            observed_revision=parts.observed_revision,
            created=parts.created,
        )
        if before is not None and record == before:
            return False
        self.by_name[name] = record
        return True


def _is_name(name: str) -> bool:
    try:
        return normalise_tenant_name(name) == name
    except ValueError:
        return False
