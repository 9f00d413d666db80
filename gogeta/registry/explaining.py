"""Reads from the registry all that an explanation rests on: for the command line and for both admin listeners.

What may not or cannot be read is left out, and the explanation says so; only the tenant's own record is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from gogeta.domain.discovery import Refusal
from gogeta.domain.explanation import Facts, Keeper, explain, explanation_data, timeline_data
from gogeta.domain.hours import span_at, zone_of
from gogeta.domain.state import LastAccess, TenantRecord
from gogeta.domain.timeline import EMPTY, Timeline
from gogeta.domain.wakefulness import Keeps, Vetoes
from gogeta.kit.clock import rfc3339, utc_time, wall_ms
from gogeta.registry.discovering import discoveries
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryError
from gogeta.settings import RegistrySettings

T = TypeVar("T")


async def facts_of(registry: Registry, name: str) -> Facts:
    """What the registry holds about a tenant now. Raises UnknownTenantError, RegistryError."""
    unknown: list[str] = []

    async def maybe(what: str, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except RegistryError as error:
            unknown.append(f"{what} could not be read: {error.message}")
            return None

    record, unreadable = await registry.look_up(name)
    unknown.extend(f"{key} cannot be read and is passed over: {why}" for key, why in sorted(unreadable.items()))
    access, timeline, report, members, vetoes = await asyncio.gather(
        maybe("its last access", registry.access(name)),
        maybe("its timeline", registry.timeline(name)),
        maybe("the report of its last wake", registry.wake_report(name)),
        maybe("which processes are alive", registry.members()),
        maybe("what else keeps it awake", registry.vetoes(name)),
    )
    refusals = await _refusals(registry, name)
    last: LastAccess | None = access[0] if access is not None else None
    known: Timeline = timeline[0] if timeline is not None else EMPTY
    now = wall_ms()
    return Facts(
        record=record,
        now=now,
        access=last,
        timeline=known,
        report=report,
        members=members,
        keepers=tuple(_keepers(record, vetoes, now)),
        refusals=refusals,
        unknown=tuple(unknown),
    )


async def _refusals(registry: Registry, name: str) -> tuple[Refusal, ...]:
    """Labels that concern it and are not in force. Where nobody discovers, nobody need be allowed to read of it."""
    try:
        found = await discoveries(registry.store)
    except RegistryError:
        return ()
    return tuple(refusal for discovery in found for refusal in discovery.refusals if name in refusal.names)


def _keepers(record: TenantRecord, vetoes: Vetoes | None, now: int) -> Iterator[Keeper]:
    """Its hours, by their declaration, and what passivator wrote besides when it last judged it."""
    awake = record.tenant.awake
    zone = zone_of(awake.zone) if awake is not None else None
    if awake is not None and zone is not None:
        span = span_at(awake.hours, zone, datetime.fromtimestamp(now / 1000, UTC))
        if span is not None:
            yield Keeper("its hours keep it awake", round(span.end.timestamp() * 1000))
    for reason in vetoes.reasons if vetoes is not None else ():
        # Where the zone is not known here, passivator's word for it counts.
        if reason.keeps is not Keeps.HOURS or zone is None:
            yield Keeper(reason.detail, reason.until)


async def explained(registry: Registry, name: str) -> dict[str, Any]:
    """Why a tenant is as it is, as JSON-able data with times in UTC. Raises UnknownTenantError, RegistryError."""
    facts = await facts_of(registry, name)
    return explanation_data(explain(facts, lambda moment: utc_time(moment, facts.now)), rfc3339)


async def recounted(registry: Registry, name: str) -> dict[str, Any]:
    """What happened to a tenant lately, likewise."""
    facts = await facts_of(registry, name)
    return {"name": name, **timeline_data(explain(facts, rfc3339).timeline, rfc3339)}


async def once(
    settings: RegistrySettings, tell: Callable[[Registry, str], Awaitable[dict[str, Any]]], name: str
) -> dict[str, Any]:
    """The same from a process that holds no registry: opened for this one question."""
    store = open_store(settings)
    try:
        return await tell(Registry(store, "reader"), name)
    finally:
        await store.close()
