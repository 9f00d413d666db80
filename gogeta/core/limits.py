"""How much of a visitor's request is taken, how slow it may be, and how long an exchange may last. Pure.

A tenant's own limits stand before those of the settings; 0 is no limit. What is worked out here once per record is what
the data plane compares with, at most one comparison each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gogeta.domain.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for one tenant. 0 is no limit, save for ``idle``."""

    body: int = 0
    """Largest request body, in bytes."""
    exchange: float = 0.0
    """Longest whole exchange, in seconds from the head read to the last byte of the answer."""
    idle: int = 0
    """Most idle connections kept to one endpoint; with 0 each request has a connection of its own."""


def bounds_of(tenant: Tenant, defaults: Bounds) -> Bounds:
    """The tenant's own limits, and the defaults where it has none."""
    own = tenant.limits
    return Bounds(
        body=defaults.body if own.body is None else own.body,
        exchange=defaults.exchange if own.exchange is None else own.exchange,
        idle=defaults.idle if tenant.keep_alive else 0,
    )


def too_large(length: int | None, received: int, limit: int) -> bool:
    """Whether a body is larger than is taken, by its length where that is known (RFC 9110 section 15.5.14)."""
    return limit > 0 and (received if length is None else length) > limit


class Mark(NamedTuple):
    """How far a request's body had come at a moment."""

    at: float
    """Seconds, on the clock that is asked with."""
    received: int
    """Bytes."""


def pace(mark: Mark, received: int, now: float, *, minimum: int, window: float) -> Mark | None:
    """The mark to judge a body by next; None when it is too slow.

    That is slower than ``minimum`` bytes a second, over ``window`` seconds or more: a pause within a window is made
    good by speed in the rest of it.
    """
    elapsed = now - mark.at
    if elapsed < window:
        return mark
    return Mark(now, received) if received - mark.received >= minimum * elapsed else None
