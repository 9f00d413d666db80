"""What the tenants are at each moment, in the words of the story, from the registry itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from gogeta.domain.lifecycle import Desired, Meeting, Observed
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.kit.setting_values import parse_registry
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.settings import RegistrySettings

ASLEEP: Final = "asleep"
AWAKE: Final = "awake"
FAILED: Final = "failed"

Listener = Callable[[str, str, TenantRecord], None]
"""Called with a tenant's name, its new word, and all that is known of it."""


def word(record: TenantRecord) -> str:
    """Desired and observed state as one word or two."""
    observed = record.observed.state
    if record.meeting is Meeting.FORWARD:
        return AWAKE
    if observed is Observed.FAILED:
        return FAILED
    if record.desired.state is Desired.STARTED:
        return "waking" if observed is Observed.STOPPED else "starting"
    asleep = ASLEEP if record.desired.state is Desired.PASSIVATED else "stopped"
    return asleep if observed is Observed.STOPPED else "being stopped"


class States:
    """Follows the registry; open it with ``watching``."""

    def __init__(self, mirror: TenantMirror) -> None:
        """Becomes current with the mirror."""
        self._mirror = mirror
        self._changed = asyncio.Event()
        self._words: dict[str, str] = {}
        self.listeners: list[Listener] = []
        mirror.subscribe(self._take)

    def _take(self, name: TenantName, _before: TenantRecord | None, after: TenantRecord | None) -> None:
        if after is None:
            return
        now = word(after)
        if self._words.get(name) != now:
            self._words[name] = now
            for listener in self.listeners:
                listener(str(name), now, after)
        self._changed.set()
        self._changed = asyncio.Event()

    def now(self, name: str) -> str:
        """The tenant's word; empty when it is not known."""
        return self._words.get(name, "")

    def record(self, name: str) -> TenantRecord:
        """All that is known of it."""
        return self._mirror.records[TenantName(name)]

    async def until(self, name: str, wanted: str, *, within: float) -> None:
        """Wait until the tenant is as wanted; TimeoutError when it is not in time."""
        async with asyncio.timeout(within):
            while self.now(name) != wanted:
                await self._changed.wait()


@contextlib.asynccontextmanager
async def watching(registry: str) -> AsyncIterator[States]:
    """The states of the tenants of a registry, live."""
    store = open_store(RegistrySettings(registry=parse_registry(registry)))
    try:
        async with Tasks("demo") as tasks:
            mirror = TenantMirror(store)
            states = States(mirror)
            tasks.start(mirror.source.run(), "mirror")
            await mirror.source.wait_synced()
            yield states
    finally:
        await store.close()
