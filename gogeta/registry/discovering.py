"""Declarations that follow labels: written by passivator under ``--discover``, and what it could not take from them.

As all changes of declarations they are guarded by the generation key: what is decided is decided on all records as
they are, and written only if no declaration has changed since. So no discovered declaration ever replaces one that was
made by hand in between. It must not know labels, nor how it is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gogeta.domain.discovery import Discovery
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.tenant import Tenant
from gogeta.registry import keys
from gogeta.registry.codec import decode, encode
from gogeta.registry.declarations import ATTEMPTS, RUNNING, Declarations, load
from gogeta.registry.records import Records
from gogeta.registry.store import Delete, Put, RegistryError, RegistryUnavailableError, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """Declarations to write and to remove."""

    put: tuple[Tenant, ...] = ()
    remove: tuple[str, ...] = ()
    awake: frozenset[str] = frozenset()
    """Those of ``put`` that run already: where one is new, it begins started instead of asleep."""


async def rewrite(declarations: Declarations, decide: Callable[[Records], Rewrite]) -> Rewrite:
    """Do what ``decide`` says of all records as they are; what was done.

    ``decide`` is asked anew whenever somebody changed declarations meanwhile, and must be pure. Raises RegistryError:
    then a part of it may have been done, and deciding anew finds what is left.
    """
    done = Rewrite()
    for _ in range(ATTEMPTS):
        generation = await declarations.store.get(keys.GENERATION)
        records = await load(declarations.store)
        wanted = decide(records)
        if not wanted.put and not wanted.remove:
            return done
        done = wanted
        known = records.by_name
        try:
            written = await declarations.write(
                [tenant for tenant in wanted.put if tenant.name not in known],
                [tenant for tenant in wanted.put if tenant.name in known],
                generation.revision if generation is not None else 0,
                removed=wanted.remove,
                beginnings=dict.fromkeys(wanted.awake, RUNNING),
            )
        except RegistryUnavailableError as error:
            if not error.unknown:
                raise
            # What did happen will not be decided again in the next round.
            continue
        if written:
            return wanted
    raise RegistryError("others kept changing tenants at the same time", hint="it is tried again by itself")


async def note_discovery(store: Store, group: str, discovery: Discovery, lease: int) -> None:
    """Write what a group could not take from labels; gone when there is nothing, and with the lease of its leader."""
    key = keys.discovery_key(group)
    await store.commit([Put(key, encode(discovery), lease) if discovery.refusals else Delete(key)])


async def discoveries(store: Store) -> tuple[Discovery, ...]:
    """What all groups could not take from labels; values that cannot be read are passed over."""
    found = []
    for entry in (await store.list(keys.DISCOVERY)).entries:
        try:
            found.append(decode(Discovery, entry.value, what=entry.key))
        except InvalidInputError:
            continue  # for people alone, and written anew when it changes
    return tuple(found)
