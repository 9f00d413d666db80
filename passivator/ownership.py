"""Which tenants are ours: several passivators may share one registry.

Passivators that drive the same runtime are one *group*, and one of them leads (``candidacy.py``). A tenant belongs to a
group whose driver runs its kind of declaration: to the one it names, else to the one that ran it last, else to the
first that takes it. Nobody takes what another group has: its containers are there, and so is its data. Local processes
end with their passivator, so a group that nobody leads has none of them, and others may take them over.

Others leave a tenant alone, with two exceptions: they clean up what they ran for it before it went to another, and when
nobody at all would run it, one of them says so, because otherwise its visitors would wait for nothing and nobody would
know why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gogeta.domain.state import ObservedState, Reason, ReasonCode, TenantRecord
from gogeta.domain.tenant import Tenant
from gogeta.registry.registry import Registry

GRACE: Final = 5.0
"""Seconds that a passivator of the right kind gets to announce itself, e.g. when all start at the same time."""
_RUNS_ALL: Final = "memory"
ENDS_WITH_US: Final = frozenset({"process"})
"""Kinds of drivers whose tenants do not outlive their passivator."""


def runs(driver: str, tenant: Tenant) -> bool:
    """Whether a driver of this kind runs this tenant."""
    if tenant.driver is None:
        return False
    return driver == _RUNS_ALL or tenant.driver == ("docker" if driver == "swarm" else driver)


def group_name(kind: str, identity: str) -> str:
    """The group of a runtime when none is given: one that all who drive it come to, whatever way they reach it."""
    text = "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-") else "-" for letter in identity)
    return f"{kind}-{text.lower()}"[:63].rstrip(".-")


class Ownership:
    """What one group owns."""

    def __init__(self, kind: str, group: str, led: Callable[[str], bool]) -> None:
        """``led`` says whether another group has a leader."""
        self.kind, self.group = kind, group
        self._led = led

    def __repr__(self) -> str:
        """One line: whose."""
        return f"<Ownership of {self.group}>"

    def owns(self, record: TenantRecord) -> bool:
        """Whether we look after this tenant."""
        named, holder = record.tenant.group, record.observed.group
        if not runs(self.kind, record.tenant) or named not in (None, self.group):
            return False
        if holder in ("", self.group):
            return True
        # Named for us and held by another: that one lets go of it as long as somebody leads it.
        return not self._led(holder) and (named == self.group or self.kind in ENDS_WITH_US)

    def clears(self, observed: ObservedState) -> bool:
        """Whether we clean up after a tenant whose declaration is gone: whoever ran it last knows what there is."""
        if observed.driver not in ("", self.kind):
            return False
        holder = observed.group
        return holder in ("", self.group) or (self.kind in ENDS_WITH_US and not self._led(holder))

    def left_over(self, record: TenantRecord) -> bool:
        """Whether what our runtime may have of a tenant that is not ours is of no use to anybody any more."""
        if record.tenant.routed_only or not runs(self.kind, record.tenant):
            return True
        named, holder = record.tenant.group, record.observed.group
        if named not in (None, self.group):
            return True
        return holder != self.group and self._led(holder)


async def nobody_runs(registry: Registry, record: TenantRecord, ours: str) -> Reason | None:
    """The reason to record when no live passivator runs this tenant; None when one does."""
    tenant, group = record.tenant, record.tenant.group or record.observed.group
    members = [member for member in await registry.members() if member.kind == "passivator"]
    able = [member for member in members if runs(member.driver, tenant)]
    if not able:
        return Reason(
            ReasonCode.BAD_SPEC,
            f"it is declared for the {tenant.driver} driver, and no passivator with that driver is running "
            f"(there is one with {ours}): start one with `passivator --driver {tenant.driver}`",
        )
    if not group or any(member.group == group for member in able):
        return None
    there = ", ".join(sorted({member.group for member in able if member.group}))
    return Reason(
        ReasonCode.NOBODY,
        f"it belongs to group {group}, and no passivator of that group is running (there are: {there}): start one on "
        f"that runtime, or declare `group` for it to move it",
    )
