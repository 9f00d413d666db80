"""What every store promises: an ordered key-value space with revisions, compare-and-set, leases and watches.

The contract follows etcd's data model, because etcd is the strongest store behind it; a store that cannot keep a
promise here is not a store. It knows keys and bytes and nothing of tenants. ``tests/registry`` holds the one suite that
all implementations pass.

- A *revision* is a positive integer that grows by at least one with every commit that changes anything; all changes of
  one commit carry the same revision. 0 stands for "does not exist".
- A *listing* is of one moment: it is consistent however many pages it took.
- A *watch* from revision R yields every change after R exactly once and in order, or raises; it never skips silently.
- No call waits for ever: each has a limit of its own, and raises RegistryUnavailableError after it.
- A key is text of one character or more. What others wrote and is no UTF-8 comes as Python's surrogate escapes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol

from gogeta.domain.errors import Fault, GogetaError
from gogeta.registry.keyspace import key_bytes

MAX_OPERATIONS: Final = 128
"""Most operations in one commit (etcd's default limit)."""
MAX_COMMIT_BYTES: Final = 1024 * 1024
"""Most bytes of keys and values in one commit (etcd's default limit is 1.5 MiB of its own encoding)."""


class RegistryError(GogetaError):
    """Base of the registry's errors."""

    fault = Fault.REGISTRY


class RegistryUnavailableError(RegistryError):
    """No answer within the limit, from any endpoint. Reads and idempotent writes may be made again.

    ``unknown`` is True when a guarded commit was sent and its answer lost: it may or may not have happened, so the
    caller reads again and compares.
    """

    retry_safe = True

    def __init__(self, message: str, *, hint: str = "", unknown: bool = False) -> None:
        """``unknown``: whether a commit may have happened all the same."""
        super().__init__(message, hint=hint)
        self.unknown = unknown


class RegistryRefusedError(RegistryError):
    """The registry answered and refused: credentials, permissions, a full disk. Trying again alone does not help."""


class CompactedError(RegistryError):
    """The history that a watch asked for is gone. List again, and watch from that listing's revision."""

    retry_safe = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One key at one moment."""

    key: str
    value: bytes
    revision: int
    """Revision of its last change."""
    created: int
    """Revision at which it came into being."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All entries under a prefix, ordered by key, at ``revision``."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one key; ``entry`` is None when it was deleted."""

    key: str
    revision: int
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a watch yields: changes in order. ``revision``: everything up to and including it has been told.

    ``changes`` may be empty: a proof that the watch is alive.
    """

    revision: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """A commit happens only if the key's last change has this revision (0: the key does not exist)."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key. With a lease, it goes when the lease ends."""

    key: str
    value: bytes
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key, if it exists."""

    key: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit happened, at ``revision``."""

    happened: ClassVar[Literal[True]] = True
    revision: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A guard did not hold; nothing happened. ``current``: the guarded entries as they are, missing ones left out."""

    happened: ClassVar[Literal[False]] = False
    current: tuple[Entry, ...]


def check_commit(operations: Sequence[Put | Delete], guards: Sequence[Guard]) -> None:
    """What every store checks before a commit.

    Raises ValueError for our own mistakes (too many operations, a key twice, an empty key or one that is no text),
    RegistryRefusedError for values that are too large together.
    """
    if not 1 <= len(operations) <= MAX_OPERATIONS or len(guards) > MAX_OPERATIONS:
        raise ValueError(f"expected 1 to {MAX_OPERATIONS} operations and as many guards, not {len(operations)}")
    names = [operation.key for operation in operations]
    if len(set(names)) != len(names):
        raise ValueError("a key stands twice in one commit")
    if not all(names) or not all(guard.key for guard in guards):
        raise ValueError("a key is empty")
    size = sum(len(key_bytes(item.key)) + (len(item.value) if isinstance(item, Put) else 0) for item in operations)
    if size > MAX_COMMIT_BYTES:
        raise RegistryRefusedError(
            f"a commit of {size} bytes is too large, at most {MAX_COMMIT_BYTES} are written at once",
            hint="write fewer or smaller values",
        )


class Store(Protocol):
    """The contract (see the module's docstring)."""

    async def get(self, key: str) -> Entry | None:
        """The entry as of now (linearisable: never older than any commit that had been answered)."""
        ...

    async def list(self, prefix: str) -> Listing:
        """All entries under ``prefix`` at one revision."""
        ...

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """All operations or none, if all guards hold.

        At most MAX_OPERATIONS operations, no key twice (ValueError); at most MAX_COMMIT_BYTES (RegistryRefusedError).
        After RegistryUnavailableError with ``unknown`` the commit may have happened. An unguarded commit is retried by
        the store itself where that is idempotent.
        """
        ...

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """Every change under ``prefix`` after revision ``after``, as it happens.

        Yields at least every few seconds while alive (then with no changes). Raises CompactedError when history after
        ``after`` is gone; RegistryUnavailableError when the store cannot be reached or turned silent (watch again from
        the last revision told); RegistryRefusedError when it is not allowed.
        """
        ...

    async def grant(self, ttl: float) -> int:
        """A lease that ends ``ttl`` seconds (at least 1) after the last ``keep_alive``; its id."""
        ...

    async def keep_alive(self, lease: int) -> bool:
        """Prolong the lease by its ttl; False when it has ended already."""
        ...

    async def revoke(self, lease: int) -> None:
        """End the lease now, and its keys with it. Ending an ended lease is no error."""
        ...

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Network addresses of the store (host, port), so that nothing else may point at them; empty for a file."""
        ...

    async def close(self) -> None:
        """Let go of everything; running watches end. Idempotent."""
        ...
