"""A store for those who only look: every call that would change anything is refused before it reaches the registry.

A dry run is built on it, so that "it writes nothing" does not depend on what the rest of it does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NoReturn

from gogeta.registry.store import (
    Changes,
    Committed,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryRefusedError,
    Store,
)


class ReadOnlyStore:
    """The store's contract (``store.Store``) less all that writes."""

    def __init__(self, store: Store) -> None:
        """``store`` is owned: closed with this one."""
        self._store = store

    def __repr__(self) -> str:
        """Whose reading side it is."""
        return f"<ReadOnlyStore of {self._store!r}>"

    async def get(self, key: str) -> Entry | None:
        """See ``Store``."""
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        """See ``Store``."""
        return await self._store.list(prefix)

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """See ``Store``."""
        return self._store.watch(prefix, after)

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """Refused."""
        _refuse(", ".join(operation.key for operation in operations))

    async def grant(self, ttl: float) -> int:
        """Refused."""
        _refuse("a lease")

    async def keep_alive(self, lease: int) -> bool:
        """Refused."""
        _refuse("a lease")

    async def revoke(self, lease: int) -> None:
        """Refused."""
        _refuse("a lease")

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """See ``Store``."""
        return self._store.endpoints

    async def close(self) -> None:
        """See ``Store``."""
        await self._store.close()


def _refuse(what: str) -> NoReturn:
    raise RegistryRefusedError(f"this process only looks, and would have written {what}")
