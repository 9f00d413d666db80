"""``passivator --dry-run``: the idle policy's verdicts beside a live installation, with nothing to carry them out.

It reads the registry through a store that refuses every write, and it has no driver at all: there is nothing in it that
could start or stop anything. What would be put to sleep is noted; when such a tenant is used later, it would have been
woken again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.quantities import format_duration
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import Tenant, TenantName
from gogeta.kit.clock import monotonic, rfc3339, wall_ms
from gogeta.kit.tasks import Tasks, first_of
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.store import RegistryUnavailableError, Store
from passivator.core.idle import IdlePolicy, Passivate
from passivator.core.lost import LostProxies
from passivator.core.rehearsal import Books, Summary
from passivator.watches import AccessWatch

logger = logging.getLogger(__name__)

LOOK: Final = 0.5
"""Seconds between looks at all tenants."""
_JUDGED: Final = frozenset({Observed.STARTED, Observed.FAILED})


@dataclass(slots=True)
class _Listening(IdlePolicy):
    """The idle policy, with an ear for uses."""

    used: Callable[[str], None] = field(default=lambda _: None)
    revisions: dict[str, int] = field(default_factory=dict)

    def accessed(self, name: str, revision: int, at_ms: int, in_flight: int, now: float) -> None:
        """As the idle policy's."""
        IdlePolicy.accessed(self, name, revision, at_ms, in_flight, now)
        before = self.revisions.get(name)
        self.revisions[name] = revision
        if revision and before != revision:
            self.used(name)


class Rehearsal:
    """One dry run over one registry."""

    def __init__(self, store: Store, *, idle_timeout: float | None = None) -> None:
        """``store`` is used, not owned. ``idle_timeout``: as if every tenant that sleeps at all had this one."""
        self.books = Books()
        self._idle_timeout = idle_timeout
        self._policy = _Listening(used=self._used)
        self._mirror = TenantMirror(store)
        self._accesses = AccessWatch(store, self._policy, LostProxies(0.0))
        self._began_ms = wall_ms()

    async def run(self, stop: asyncio.Event, seconds: float | None = None) -> Summary:
        """Look until ``stop``, or for so many seconds. Raises RegistryError when the registry was never there."""
        began = monotonic()
        async with Tasks("dry run") as tasks:
            parts = [
                tasks.start(self._mirror.source.run(), "tenants"),
                tasks.start(self._accesses.source.run(), "accesses"),
            ]
            self._mirror.subscribe(self._changed)
            while not stop.is_set() and not any(part.done() for part in parts):
                self.look()
                left = LOOK if seconds is None else min(LOOK, began + seconds - monotonic())
                if left <= 0:
                    break
                await first_of(stop, timeout=left)
            for part in parts:
                if part.done():
                    part.result()
        if not (self._mirror.source.synced and self._accesses.source.synced):
            # A report of nothing would be taken for one that there is nothing to report.
            error = self._mirror.source.last_error or self._accesses.source.last_error
            raise error or RegistryUnavailableError("the registry was not read in that time")
        return self.books.summary(monotonic())

    def look(self) -> None:
        """Judge everybody who is up."""
        now = monotonic()
        if self._mirror.source.stale or self._accesses.source.stale:
            self._policy.lost_sight(now)
            return
        self._policy.has_sight(now)
        for record in self._mirror.records.values():
            up = record.desired.state is Desired.STARTED and record.observed.state in _JUDGED
            if not up or record.tenant.routed_only or self.books.would_be_asleep(record.name):
                continue
            verdict = self._policy.judge(
                record.name,
                idle_timeout=self.timeout_of(record.tenant),
                desired_revision=record.desired_revision,
                stored_ms=max(record.desired.since, record.observed.since),
                now=now,
                wall_ms=wall_ms(),
            )
            if isinstance(verdict, Passivate):
                self._would_sleep(record, f"was not used for {verdict.silent:.1f} s: would put it to sleep")

    def timeout_of(self, tenant: Tenant) -> float | None:
        """The idle timeout that it is judged by.

        Proxies say that a tenant is in use every tenth of its own timeout, so a much shorter one could not be judged.
        """
        if self._idle_timeout is None or tenant.idle_timeout is None:
            return tenant.idle_timeout
        return max(self._idle_timeout, tenant.idle_timeout / 5)

    def _would_sleep(self, record: TenantRecord, why: str) -> None:
        tenant = record.tenant
        spec = tenant.docker or tenant.process
        memory = (spec.memory if spec is not None else None) or 0
        if self.books.would_sleep(record.name, monotonic(), wall_ms(), memory=memory):
            logger.info("dry run: tenant %s %s", record.name, why)

    def _used(self, name: str) -> None:
        if (slept := self.books.used(name, monotonic(), wall_ms())) is not None:
            self._policy.touched(name, monotonic())
            logger.info("dry run: tenant %s is used: would have been woken again after %.1f s", name, slept)

    def _changed(self, name: TenantName, before: TenantRecord | None, after: TenantRecord | None) -> None:
        now = monotonic()
        if after is None:
            self.books.gone(name, now)
            self._policy.forget(name)
            return
        decided = before is None or before.desired_revision != after.desired_revision
        if decided and after.desired.state is Desired.STARTED:
            if before is not None:
                self._policy.touched(name, now)
                self._used(name)
        elif decided and after.desired.state is Desired.STOPPED:
            self.books.gone(name, now)
        elif decided and before is not None and after.desired.cause is Cause.IDLE:
            self._would_sleep(after, "is put to sleep by the passivator that runs")
        if before is not None and before.observed.state is not after.observed.state is Observed.STARTED:
            self._policy.touched(name, now)

    def report(self, summary: Summary) -> dict[str, Any]:
        """The result as JSON-able data. Public: members are added, never changed."""
        now = monotonic()
        return {
            "from": rfc3339(self._began_ms),
            "to": rfc3339(wall_ms()),
            "tenants_seen": len(self._mirror.records),
            "idle_timeout": self._idle_timeout,
            "would_have_slept": summary.sleeps,
            "would_have_been_woken_again": summary.rewakes,
            "would_be_asleep_now": summary.asleep_now,
            "memory_now_bytes": summary.memory_now,
            "memory_byte_seconds": round(summary.memory_seconds),
            "left_out": summary.left_out,
            "tenants": [
                {
                    "name": account.name,
                    "would_have_slept": account.sleeps,
                    "would_have_been_woken_again": account.rewakes,
                    "asleep_seconds": round(account.asleep(now), 3),
                    "shortest_sleep_seconds": None if account.shortest is None else round(account.shortest, 3),
                    "would_be_asleep_now": account.asleep_since is not None,
                    "memory_bytes": account.memory or None,
                    "last_sleep_at": rfc3339(account.last_sleep_ms) if account.last_sleep_ms else None,
                    "last_wake_at": rfc3339(account.last_wake_ms) if account.last_wake_ms else None,
                }
                for account in summary.accounts
            ],
        }


def as_text(report: dict[str, Any]) -> str:
    """The report for people: one sentence, then a line for each tenant that would have slept."""
    slept, again = report["would_have_slept"], report["would_have_been_woken_again"]
    asleep, memory = report["would_be_asleep_now"], report["memory_now_bytes"]
    lines = [
        f"Dry run from {report['from']} to {report['to']}: nothing was stopped.",
        f"Tenants: {report['tenants_seen']}. Would have been put to sleep: {len(report['tenants'])}, {_times(slept)} "
        f"in all. Would then have been woken again: {_times(again)}. Would be asleep now: {asleep}"
        + (f", which would free up to {_size(memory)}" if memory else "")
        + ".",
    ]
    if report["tenants"]:
        rows: list[tuple[str, ...]] = [("TENANT", "SLEEPS", "WOKEN AGAIN", "ASLEEP FOR", "SHORTEST", "NOW", "MEMORY")]
        rows += [_row(tenant) for tenant in report["tenants"]]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines.append("")
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return "\n".join(lines)


def _row(tenant: dict[str, Any]) -> tuple[str, ...]:
    shortest = tenant["shortest_sleep_seconds"]
    return (
        tenant["name"],
        str(tenant["would_have_slept"]),
        str(tenant["would_have_been_woken_again"]),
        format_duration(round(tenant["asleep_seconds"])),
        "-" if shortest is None else format_duration(round(shortest, 1)),
        "asleep" if tenant["would_be_asleep_now"] else "awake",
        _size(tenant["memory_bytes"]) if tenant["memory_bytes"] else "-",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
