"""Whether a stop may go ahead: every proxy has heard of it, and nothing is in flight any more. Pure.

Each proxy says two things in its member key: how far it has seen the registry (``seen``), and which tenants that should
sleep or stop are still in flight with it (``draining``). A proxy that has seen a decision sends the tenant nothing new.
So a stop waits for all proxies that speak so, for what is in flight, and never longer than its bound; a proxy that is
lost is waited for until its key is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gogeta.domain.state import Member


@dataclass(frozen=True, slots=True)
class Go:
    """Nothing is in the way."""


@dataclass(frozen=True, slots=True)
class WaitForProxies:
    """These proxies have not heard of it (``unaware``), or still have it in flight (``draining``): wait, so long."""

    until: float
    unaware: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeIsUp:
    """These proxies still have it in flight, or did not answer, and the bound has passed."""

    unaware: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()


def may_stop(
    members: Iterable[Member], name: str, *, desired_revision: int, decided_at: float, limit: float, now: float
) -> Go | WaitForProxies | TimeIsUp:
    """About tenant ``name``, whose desired state has had that revision since ``decided_at``; ``limit`` in seconds.

    Members of older versions, which say nothing of what they saw, are not waited for.
    """
    proxies = [member for member in members if member.seen is not None]
    unaware = tuple(member.id for member in proxies if (member.seen or 0) < desired_revision)
    draining = tuple(member.id for member in proxies if name in member.draining)
    if not unaware and not draining:
        return Go()
    until = decided_at + limit
    return TimeIsUp(unaware, draining) if now >= until else WaitForProxies(until, unaware, draining)
