"""Who is there: each live process of ours keeps one key under a lease.

Whoever ends in order takes its key along; after a crash it is gone when the lease is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from gogeta.domain.state import Member
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic
from gogeta.kit.tasks import first_of
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.store import Put, RegistryError, RegistryRefusedError, Store

logger = logging.getLogger(__name__)

_FAREWELL: Final = 1.0
"""Seconds that ending a lease may take; it ends by itself otherwise."""


async def announce(
    store: Store, member: Member | Callable[[], Member], ttl: float = 10.0, changed: asyncio.Event | None = None
) -> NoReturn:
    """Keep ``member`` listed while this runs (run it as a task); ``ttl`` seconds after a crash it is gone.

    A function is asked for what to list each time, and at once when ``changed`` is set.
    """
    backoff, changed = Backoff(), changed or asyncio.Event()
    lease: int | None = None
    written, renew_at = b"", 0.0
    try:
        while True:
            changed.clear()
            now = member() if callable(member) else member
            key, value = keys.member_key(now.kind, now.id), encode(now)
            try:
                if lease is not None and monotonic() >= renew_at:
                    lease = lease if await store.keep_alive(lease) else None
                    renew_at = monotonic() + ttl / 3
                if lease is None:
                    granted = await store.grant(ttl)
                    await store.commit([Put(key, value, granted)])
                    # Only now: a lease that no key hangs on would be prolonged for ever.
                    lease, written, renew_at = granted, value, monotonic() + ttl / 3
                elif value != written:
                    await store.commit([Put(key, value, lease)])
                    written = value
                backoff.reset()
                delay = max(renew_at - monotonic(), 0.001)
            except RegistryError as error:
                logger.debug("cannot announce %s: %s", key, error)
                if isinstance(error, RegistryRefusedError):
                    # The lease has ended: another one takes the key over.
                    lease = None
                delay = backoff.next()
            await first_of(changed, timeout=delay)
    finally:
        if lease is not None:
            await end_lease(store, lease)


async def end_lease(store: Store, lease: int) -> None:
    """End a lease now if that is possible; it ends by itself otherwise."""
    try:
        async with asyncio.timeout(_FAREWELL):
            await store.revoke(lease)
    except (RegistryError, TimeoutError) as error:
        logger.debug("a lease will end by itself: %s", error)
