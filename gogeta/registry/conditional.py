"""Declaring and removing one tenant only if nobody changed it meanwhile: what keeps two operators from overwriting.

``expected`` is the revision of the declaration that the caller has seen; 0: there was none. Guarded by the generation
key as all changes of declarations are.
"""

from __future__ import annotations

from typing import Final

from gogeta.domain.claims import claimed_by_others, giving_way
from gogeta.domain.errors import GogetaError, HostConflictError, InvalidInputError, Problem
from gogeta.domain.lifecycle import Desired
from gogeta.domain.state import DesiredState
from gogeta.domain.tenant import Tenant, find_conflict
from gogeta.kit.clock import wall_ms
from gogeta.registry import keys
from gogeta.registry.codec import MAX_VALUE_BYTES, encode
from gogeta.registry.declarations import ATTEMPTS, Declarations, all_of, load
from gogeta.registry.store import Delete, Entry, Guard, Put, RegistryError, RegistryUnavailableError

_MOST_GIVING_WAY: Final = 16
"""Most tenants discovered by labels that give way to one declaration: all of it is one commit."""


class DeclarationChangedError(GogetaError):
    """The declaration is not the one that the caller has seen; nothing was changed. ``current``: its revision, or 0."""

    def __init__(self, name: str, current: int) -> None:
        """``current`` is 0 where there is none."""
        now = "it was changed meanwhile" if current else "there is none"
        super().__init__(f"the declaration of tenant {name!r} is not the expected one: {now}", hint="read it again")
        self.current = current


async def declare(declarations: Declarations, tenant: Tenant, expected: int) -> int:
    """Create or replace one declaration over revision ``expected``; its revision then.

    What is already so is not written again. Raises DeclarationChangedError, HostConflictError; InvalidInputError for
    one that is too large.
    """
    store, value = declarations.store, encode(tenant)
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidInputError("tenant", (Problem((), f"is {len(value)} bytes long, at most {MAX_VALUE_BYTES}"),))
    unsure = False
    for _ in range(ATTEMPTS):
        generation = await store.get(keys.GENERATION)
        # Read after the generation: whatever is changed from now on makes the commit fail.
        entry = await store.get(keys.tenant_key(tenant.name))
        found = entry.revision if entry is not None else 0
        if entry is not None and entry.value == value and (unsure or found == expected):
            return found
        if found != expected:
            raise DeclarationChangedError(tenant.name, found)
        records = (await load(store)).by_name
        claimed = claimed_by_others(records.values(), (tenant,))
        if (conflict := find_conflict(claimed, (tenant,))) is not None:
            raise conflict
        operations: list[Put | Delete] = [
            Put(keys.tenant_key(tenant.name), value),
            Put(keys.GENERATION, declarations.by.encode()),
        ]
        way = giving_way(records.values(), (tenant,))
        if len(way) > _MOST_GIVING_WAY:
            raise HostConflictError(host=tenant.hosts[0], holder=way[0], claimant=tenant.name)
        operations.extend(removal for name in way for removal in all_of(name))
        if not found and not tenant.routed_only:
            asleep = DesiredState(state=Desired.PASSIVATED, by=declarations.by, since=wall_ms())
            operations.append(Put(keys.desired_key(tenant.name), encode(asleep)))
        try:
            result = await store.commit(operations, _guards(generation, tenant.name, expected))
        except RegistryUnavailableError as error:
            if not error.unknown:
                raise
            unsure = True
            continue
        if result.happened:
            return result.revision
    raise RegistryError("others kept changing tenants at the same time", hint="try again in a moment")


async def remove(declarations: Declarations, name: str, expected: int) -> None:
    """Remove a declaration, as ``Declarations.remove`` does, if it is the one of revision ``expected``."""
    store, unsure = declarations.store, False
    for _ in range(ATTEMPTS):
        generation = await store.get(keys.GENERATION)
        entry = await store.get(keys.tenant_key(name))
        if entry is None and unsure:
            return
        if entry is None or entry.revision != expected:
            raise DeclarationChangedError(name, entry.revision if entry is not None else 0)
        try:
            result = await store.commit(
                [*all_of(name), Put(keys.GENERATION, declarations.by.encode())], _guards(generation, name, expected)
            )
        except RegistryUnavailableError as error:
            if not error.unknown:
                raise
            unsure = True
            continue
        if result.happened:
            return
    raise RegistryError("others kept changing tenants at the same time", hint="try again in a moment")


def _guards(generation: Entry | None, name: str, expected: int) -> list[Guard]:
    return [
        Guard(keys.GENERATION, generation.revision if generation is not None else 0),
        Guard(keys.tenant_key(name), expected),
    ]
