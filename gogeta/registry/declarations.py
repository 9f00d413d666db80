"""Declarations: what operators apply and remove, guarded by the generation key.

All changes of declarations follow each other, so that two of them at once cannot both claim a host. What a tenant
should be, and what it is, are ``registry.py``'s.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from gogeta.domain.claims import claimed_by_others, giving_way
from gogeta.domain.errors import UnknownTenantError
from gogeta.domain.lifecycle import Cause, Desired
from gogeta.domain.state import DesiredState, Judgement, LastAccess, TenantRecord
from gogeta.domain.tenant import Tenant, TenantName, find_conflict
from gogeta.kit.clock import wall_ms
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.records import Records
from gogeta.registry.store import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    Delete,
    Guard,
    Put,
    RegistryError,
    RegistryUnavailableError,
    Store,
)

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 16
"""Most rounds of a compare-and-set against other writers before giving up: more means that something is wrong."""
_KEY_BYTES: Final = 256
"""What a key takes in a commit, at the most, and the generation's part."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What ``apply`` did, by tenant name, each in the order given."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a tenant begins with that was run by something else before."""

    desired: Desired = Desired.PASSIVATED
    last_access: LastAccess | None = None
    cause: Cause | None = None
    """Why it is to be so, where somebody asked for it."""


NEW: Final = Beginning()
"""What every other tenant begins with: asleep, and never used."""


RUNNING: Final = Beginning(Desired.STARTED, cause=Cause.START)
"""What a tenant begins with that is found running."""


async def load(store: Store) -> Records:
    """Everything about all tenants, at one moment."""
    records = Records()
    records.reset(await store.list(keys.STATE))
    return records


def unknown(name: str, records: Mapping[TenantName, TenantRecord]) -> NoReturn:
    """Raise UnknownTenantError, with the nearest name that there is."""
    close = difflib.get_close_matches(name, records, n=1)
    raise UnknownTenantError(name, close[0] if close else None)


class Declarations:
    """The operations on declarations. ``by`` is this process's name in everything it writes."""

    def __init__(self, store: Store, by: str) -> None:
        """``store`` is used and not owned: its maker closes it."""
        self.store = store
        self.by = by

    async def apply(self, tenants: Sequence[Tenant], beginnings: Mapping[str, Beginning] | None = None) -> Applied:
        """Create or change tenants; those not named stay as they are.

        All conflicts are found before anything is written: HostConflictError names the host and both tenants, and then
        nothing has changed. New tenants begin passivated, or as ``beginnings`` has it by name: written with the
        declaration, and never to a tenant that exists. Tenants that were discovered by labels and have one of the
        hosts give way: they are removed.
        """
        beginnings = beginnings or {}
        first: dict[TenantName, TenantRecord] | None = None
        for _ in range(ATTEMPTS):
            generation = await self.store.get(keys.GENERATION)
            before = (await load(self.store)).by_name
            # What is reported is the difference from what was there when we came.
            first = before if first is None else first
            claimed = claimed_by_others(before.values(), tenants)
            if (conflict := find_conflict(claimed, tenants)) is not None:
                raise conflict
            created = [tenant for tenant in tenants if tenant.name not in before]
            changed = [tenant for tenant in tenants if tenant.name in before and before[tenant.name].tenant != tenant]
            try:
                written = await self.write(
                    created,
                    changed,
                    generation.revision if generation else 0,
                    removed=giving_way(before.values(), tenants),
                    beginnings=beginnings,
                )
            except RegistryUnavailableError as error:
                if not error.unknown:
                    raise
                # What did happen will not have to be written in the next round.
                continue
            if written:
                return Applied(
                    created=tuple(tenant.name for tenant in tenants if tenant.name not in first),
                    changed=tuple(
                        tenant.name
                        for tenant in tenants
                        if tenant.name in first and first[tenant.name].tenant != tenant
                    ),
                    unchanged=tuple(
                        tenant.name
                        for tenant in tenants
                        if tenant.name in first and first[tenant.name].tenant == tenant
                    ),
                )
        raise RegistryError("others kept changing tenants at the same time", hint="try again in a moment")

    async def write(
        self,
        created: Iterable[Tenant],
        changed: Iterable[Tenant],
        generation: int,
        *,
        removed: Iterable[str] = (),
        beginnings: Mapping[str, Beginning],
    ) -> bool:
        """Write and remove declarations if ``generation`` is still the revision of that key; else False.

        Several commits where one would be too large: then some may have happened. For those who have just found out
        what is new and what is not; ``beginnings`` as in ``apply``.
        """
        groups: list[list[Put | Delete]] = [[Put(keys.tenant_key(tenant.name), encode(tenant))] for tenant in changed]
        groups.extend(all_of(name) for name in removed)
        now = wall_ms()
        for tenant in created:
            begin = beginnings.get(tenant.name, NEW)
            group: list[Put | Delete] = [Put(keys.tenant_key(tenant.name), encode(tenant))]
            if not tenant.routed_only:
                # One that runs already is in its first wake, as if it had been asked for.
                wakes = int(begin.desired is Desired.STARTED)
                desired = DesiredState(state=begin.desired, cause=begin.cause, by=self.by, since=now, wakes=wakes)
                group.append(Put(keys.desired_key(tenant.name), encode(desired)))
            if begin.last_access is not None:
                group.append(Put(keys.access_key(tenant.name), encode(begin.last_access)))
            groups.append(group)
        batch: list[Put | Delete] = []
        batches = [batch]
        size = 0
        for group in groups:
            size += (added := sum(len(item.value) + _KEY_BYTES for item in group if isinstance(item, Put)))
            if batch and (len(batch) + len(group) >= MAX_OPERATIONS or size > MAX_COMMIT_BYTES):
                batches.append(batch := [])
                size = added
            batch.extend(group)
        for number, batch in enumerate(batches):
            if not batch:
                continue
            # Each batch is guarded by the revision that the one before left behind.
            result = await self.store.commit(
                [*batch, Put(keys.GENERATION, self.by.encode())], [Guard(keys.GENERATION, generation)]
            )
            if not result.happened:
                if number:
                    logger.warning("another apply came between; going on with what is left")
                return False
            generation = result.revision
        return True

    async def remove(self, name: str) -> None:
        """Remove a tenant's declaration and desired state; passivator then ends and removes what ran for it.

        Raises UnknownTenantError, with the nearest name.
        """
        for _ in range(ATTEMPTS):
            generation = await self.store.get(keys.GENERATION)
            tenant = await self.store.get(keys.tenant_key(name))
            if tenant is None:
                unknown(name, (await load(self.store)).by_name)
            try:
                result = await self.store.commit(
                    [*all_of(name), Put(keys.GENERATION, self.by.encode())],
                    [
                        Guard(keys.GENERATION, generation.revision if generation else 0),
                        Guard(tenant.key, tenant.revision),
                    ],
                )
            except RegistryUnavailableError as error:
                if not error.unknown:
                    raise
                if await self.store.get(keys.tenant_key(name)) is None:
                    return
                continue
            if result.happened:
                return
        raise RegistryError("others kept changing tenants at the same time", hint="try again in a moment")

    async def destroy(self, name: str, tenant_revision: int, judged: Judgement) -> bool:
        """Remove a tenant that nobody used, as ``remove`` does, if nothing it was judged by has changed; else False.

        Raises RegistryUnavailableError: then it may have happened. Judged anew, it is found gone or is removed.
        """
        generation = await self.store.get(keys.GENERATION)
        result = await self.store.commit(
            [*all_of(name), Put(keys.GENERATION, self.by.encode())],
            [
                Guard(keys.GENERATION, generation.revision if generation else 0),
                Guard(keys.tenant_key(name), tenant_revision),
                Guard(keys.desired_key(name), judged.desired_revision),
                Guard(keys.access_key(name), judged.access_revision),
            ],
        )
        return result.happened


def all_of(name: str) -> list[Put | Delete]:
    """A declaration, and what goes with it. What is observed stays, for passivator to end what runs."""
    gone = (keys.tenant_key, keys.desired_key, keys.access_key, keys.timeline_key, keys.wake_key, keys.veto_key)
    return [Delete(key(name)) for key in gone]
