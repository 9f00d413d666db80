"""How deep a tenant that should be asleep sleeps: paused first, stopped later. Pure.

Desired is ``passivated`` for both. Which it is follows from why it sleeps and from how long it was not used, so that a
restart of passivator need not remember anything.
"""

from __future__ import annotations

from enum import StrEnum

from gogeta.domain.lifecycle import Cause
from gogeta.domain.state import DesiredState
from gogeta.domain.tenant import Tenant


class Depth(StrEnum):
    """What becomes of a tenant that should not be awake."""

    PAUSE = "pause"
    """Frozen in memory."""
    STOP = "stop"
    """Nothing of it runs."""


def depth(tenant: Tenant, desired: DesiredState, *, silent_long: bool, can_pause: bool) -> Depth:
    """``silent_long``: whether its idle timeout is over; ``can_pause``: whether the runtime can freeze it.

    Only what fell asleep for want of use is paused: who says sleep or stop means that it should free its memory.
    """
    pauses = tenant.sleep.pause_after is not None and can_pause and not silent_long
    return Depth.PAUSE if pauses and desired.cause is Cause.IDLE else Depth.STOP


def falls_asleep_after(tenant: Tenant, *, can_pause: bool) -> float | None:
    """Seconds without use until it first falls asleep; None never."""
    return tenant.sleeps_after if can_pause else tenant.idle_timeout


def acts_while_asleep(tenant: Tenant) -> bool:
    """Whether something happens to it by itself while it is stopped: its hours begin, or it is destroyed."""
    wakes = tenant.awake is not None and tenant.awake.wake
    return not tenant.routed_only and (wakes or tenant.sleep.destroy_after is not None)
