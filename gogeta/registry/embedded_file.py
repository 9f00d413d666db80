"""The embedded store's file: the store's contract on SQLite, synchronous, for one thread at a time.

``embedded.py`` runs it on a thread of its own and adds watches. It knows SQL and nothing of asyncio or tenants.

Durability. WAL survives a SIGKILL at any point with either setting of ``synchronous``: what was written is in the
kernel's hands, and an unfinished commit at the end of the log has no commit frame and is passed over. The two differ
at a power loss: with NORMAL the last commits before it may be gone although they were answered, with FULL they are
not. A desired state that was answered and then forgotten would be a broken promise, and FULL costs one fsync a commit
(some thousand commits a second on a local disk, and last accesses go many to a commit), so it is FULL.

Leases end by the machine's monotonic clock, which all its processes share and nobody can set; a step of the wall clock
does nothing. The clock starts anew at boot, and no holder of a lease survives a boot, so each lease carries the boot's
id. Time in suspend does not count, because nobody can prolong a lease in it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gogeta.registry.keyspace import key_bytes, key_text, range_end
from gogeta.registry.store import (
    Change,
    Changes,
    Committed,
    CompactedError,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
)

SCHEMA_VERSION: Final = 1
HISTORY: Final = 50_000
"""Changes kept for watches that were away; older ones are compacted."""
_HISTORY_BYTES: Final = 64 * 1024 * 1024
_SLACK: Final = 10
"""Compaction waits until a tenth more than the bound is there, so that it is rare."""
_BATCH: Final = 1000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_APPLICATION: Final = 0x676F6774
"""Marks the file as ours: another program's database is never written to."""
_WAL_BYTES: Final = 16 * 1024 * 1024

_SCHEMA: Final = (
    """CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL,
        log_rows INTEGER NOT NULL, log_bytes INTEGER NOT NULL)""",
    "INSERT INTO state VALUES (1, 1, 0, 0, 0)",
    """CREATE TABLE entries (
        key BLOB NOT NULL UNIQUE, value BLOB NOT NULL, revision INTEGER NOT NULL, created INTEGER NOT NULL,
        lease INTEGER)""",
    "CREATE INDEX entries_by_lease ON entries (lease) WHERE lease IS NOT NULL",
    # Append-only; an empty `created` stands for a deletion.
    """CREATE TABLE log (
        place INTEGER PRIMARY KEY, revision INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
        created INTEGER)""",
    "CREATE INDEX log_by_revision ON log (revision)",
    """CREATE TABLE leases (
        id INTEGER PRIMARY KEY AUTOINCREMENT, ttl REAL NOT NULL, boot TEXT NOT NULL, ends REAL NOT NULL)""",
    # For people with the sqlite3 shell.
    """CREATE VIEW readable AS
        SELECT CAST(key AS TEXT) AS key, CAST(value AS TEXT) AS value, revision, created, lease
        FROM entries ORDER BY key""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_LAPSED: Final = "boot != :boot OR ends <= :now OR ends - ttl > :now"
"""A lease that ends later than its ttl from now is of an earlier boot whose id could not be read."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the history stands: its last revision, and the last one whose changes are gone."""

    revision: int
    compacted: int


def boot_id() -> str:
    """What tells one boot of this machine from another; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def machine_seconds() -> float:
    """Seconds on the clock that all processes of this machine share and nobody can set."""
    return time.monotonic()


class EmbeddedFile:
    """One open database file. Not for two threads at once; any number of processes may have it open."""

    def __init__(self, path: str, *, timeout: float = 3.0, history: int = HISTORY, read_only: bool = False) -> None:
        """Open the file, or make it (mode 0600).

        ``read_only``: SQLite itself refuses every write of this process, nothing is made, and leases that have ended
        are left for others to remove. Waits at most ``timeout`` seconds for others. Raises RegistryRefusedError when it
        cannot be opened, is no database of ours or a newer gogeta's; RegistryUnavailableError when others keep it
        locked.
        """
        self.path = path
        self._history = history
        self._boot = boot_id()
        self._read_only = read_only
        self._changed = False
        if read_only:
            if not Path(path).exists():
                raise RegistryRefusedError(
                    f"there is no registry file {path}", hint="`gogeta up` makes one; name it with --registry"
                )
        else:
            with contextlib.suppress(FileExistsError, OSError):
                # SQLite gives its side files the mode of this one. What else is wrong with the path it says itself.
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with self._told("be opened"):
            self._connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            with self._told("be opened"):
                if read_only:
                    self._prepare_reading()
                else:
                    self._prepare(timeout)
        except BaseException:
            self._connection.close()
            raise
        self._inode = self._inode_now()

    def __repr__(self) -> str:
        return f"<EmbeddedFile {self.path}>"

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    # ------------------------------------------------------------------------------------------------- opening

    def _prepare(self, timeout: float) -> None:
        self._check_ours()
        if (mode := self._use_wal(timeout)) != "wal":
            raise RegistryRefusedError(
                f"the registry file {self.path} cannot be shared between processes here (journal mode {mode})",
                hint="put it on a local disk",
            )
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        with self._writing():
            # Looked at again: another process may have made the tables meanwhile.
            if not self._check_ours():
                for statement in _SCHEMA:
                    self._connection.execute(statement)

    def _prepare_reading(self) -> None:
        self._connection.execute("PRAGMA query_only = ON")
        if not self._check_ours():
            raise RegistryRefusedError(f"{self.path} is no registry yet", hint="`gogeta up` makes one")

    def _use_wal(self, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return str(self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            except sqlite3.OperationalError as error:
                # Changing the mode does not wait for others by itself.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _check_ours(self) -> bool:
        """Whether the tables are there. Raises RegistryRefusedError when the file is not ours to write to."""
        version, application, tables = self._connection.execute(
            "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
            " FROM pragma_user_version, pragma_application_id"
        ).fetchone()
        if not tables and not version:
            return False
        if application != _APPLICATION:
            raise RegistryRefusedError(
                f"{self.path} is a database of another program", hint="name another file in embedded:PATH"
            )
        if version != SCHEMA_VERSION:
            raise RegistryRefusedError(
                f"the registry file {self.path} has schema version {version}; this gogeta reads {SCHEMA_VERSION}",
                hint="use the gogeta that wrote it, or a newer one",
            )
        return True

    # ------------------------------------------------------------------------------------------------- reading

    def position(self) -> Position:
        """Where the history stands. Raises RegistryUnavailableError too when the file was removed or replaced."""
        self._check_in_place()
        with self._told("be read"):
            return self._position()

    def get(self, key: str) -> Entry | None:
        """The entry as of now."""
        with self._told("be read"):
            self._end_lapsed()
            return self._entry(key_bytes(key))

    def list(self, prefix: str) -> Listing:
        """All entries under ``prefix`` at one revision."""
        start = key_bytes(prefix)
        with self._told("be read"):
            self._end_lapsed()
            with self._reading():
                rows = self._connection.execute(
                    "SELECT key, value, revision, created FROM entries"
                    " WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key",
                    (start, range_end(start)),
                )
                entries = tuple(Entry(key_text(key), value, *revisions) for key, value, *revisions in rows)
                return Listing(self._position().revision, entries)

    def changes(self, prefix: str, after: int) -> Changes:
        """The next changes under ``prefix`` after a revision, whole commits, a bounded number of them.

        Raises CompactedError when they are not all there any more.
        """
        start = key_bytes(prefix)
        end = range_end(start)
        found: list[Change] = []
        size = 0
        with self._told("be read"), self._reading():
            position = self._position()
            if after < position.compacted or after > position.revision:
                # After the end: the file was replaced by one with a shorter history, which is not ours.
                raise CompactedError(f"the registry's history after revision {after} is not there any more")
            told = position.revision
            for key, value, revision, created in self._connection.execute(
                "SELECT key, value, revision, created FROM log"
                " WHERE revision > ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) ORDER BY place",
                (after, start, end),
            ):
                # A commit is told whole: who goes on after its revision would otherwise miss the rest of it.
                if (len(found) >= _BATCH or size >= _BATCH_BYTES) and revision != found[-1].revision:
                    told = revision - 1
                    break
                name = key_text(key)
                found.append(Change(name, revision, None if created is None else Entry(name, value, revision, created)))
                size += len(value)
            return Changes(told, tuple(found))

    # ------------------------------------------------------------------------------------------------- writing

    def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard]) -> Committed | Refused:
        """All operations or none, if all guards hold."""
        self._check_in_place()
        with self._told("be written"):
            self._end_lapsed()
            with self._writing():
                current = [entry for guard in guards if (entry := self._entry(key_bytes(guard.key))) is not None]
                revisions = {entry.key: entry.revision for entry in current}
                if any(revisions.get(guard.key, 0) != guard.revision for guard in guards):
                    return Refused(tuple(current))
                return Committed(self._write(operations))

    def _write(self, operations: Sequence[Put | Delete]) -> int:
        row = self._connection.execute("SELECT revision + 1, log_rows, log_bytes FROM state").fetchone()
        revision, rows, size = row
        changed = 0
        for operation in operations:
            key = key_bytes(operation.key)
            if isinstance(operation, Put):
                if operation.lease is not None:
                    self._check_lease(operation.lease)
                (created,) = self._connection.execute(
                    "INSERT INTO entries (key, value, revision, created, lease) VALUES (?1, ?2, ?3, ?3, ?4)"
                    " ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3, lease = ?4 RETURNING created",
                    (key, operation.value, revision, operation.lease),
                ).fetchone()
                value = operation.value
            elif self._connection.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount:
                created, value = None, b""
            else:
                continue
            self._connection.execute(
                "INSERT INTO log (revision, key, value, created) VALUES (?, ?, ?, ?)", (revision, key, value, created)
            )
            changed += 1
            size += len(key) + len(value)
        if not changed:
            return int(revision) - 1
        self._changed = True
        self._connection.execute(
            "UPDATE state SET revision = ?, log_rows = ?, log_bytes = ?", (revision, rows + changed, size)
        )
        self._compact(rows + changed, size)
        return int(revision)

    def _compact(self, rows: int, size: int) -> None:
        most = self._history
        if rows <= most + most // _SLACK and size <= _HISTORY_BYTES + _HISTORY_BYTES // _SLACK:
            return
        # Where it is the bytes that are too many, half the changes go.
        keep = min(most, rows // 2) if size > _HISTORY_BYTES else most
        (last,) = self._connection.execute(
            "SELECT revision FROM log ORDER BY place LIMIT 1 OFFSET ?", (rows - keep - 1,)
        ).fetchone()
        self._connection.execute("DELETE FROM log WHERE revision <= ?", (last,))
        self._connection.execute(
            "UPDATE state SET compacted = ?, (log_rows, log_bytes) ="
            " (SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM log)",
            (last,),
        )

    # -------------------------------------------------------------------------------------------------- leases

    def grant(self, ttl: float) -> int:
        """A new lease."""
        with self._told("be written"), self._writing():
            cursor = self._connection.execute(
                "INSERT INTO leases (ttl, boot, ends) VALUES (?, ?, ?)", (ttl, self._boot, machine_seconds() + ttl)
            )
            return int(cursor.lastrowid or 0)

    def keep_alive(self, lease: int) -> bool:
        """Prolong a lease; False when it has ended."""
        with self._told("be written"):
            self._end_lapsed()
            with self._writing():
                done = self._connection.execute(
                    f"UPDATE leases SET ends = :now + ttl WHERE id = :id AND NOT ({_LAPSED})",  # noqa: S608 - a constant
                    {"id": lease, **self._now()},
                )
                return done.rowcount == 1

    def revoke(self, lease: int) -> None:
        """End a lease and its keys."""
        with self._told("be written"), self._writing():
            self._end([lease])

    def end_lapsed(self) -> None:
        """End the leases that were not prolonged in time, and their keys; whichever process comes first does it."""
        with self._told("be written"):
            self._end_lapsed()

    def _end_lapsed(self) -> None:
        if self._read_only:
            return
        lapsed = f"SELECT id FROM leases WHERE {_LAPSED} LIMIT 100"  # noqa: S608 - a constant
        if not self._connection.execute(lapsed, self._now()).fetchall():
            return
        with self._writing():
            # Asked again under the lock: one of them may have been prolonged just now.
            self._end([row[0] for row in self._connection.execute(lapsed, self._now()).fetchall()])

    def _end(self, leases: Sequence[int]) -> None:
        for lease in leases:
            held = self._connection.execute("SELECT key FROM entries WHERE lease = ? ORDER BY key", (lease,)).fetchall()
            if held:
                self._write([Delete(key_text(key)) for (key,) in held])
            self._connection.execute("DELETE FROM leases WHERE id = ?", (lease,))

    def _check_lease(self, lease: int) -> None:
        if self._connection.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).fetchone() is None:
            raise RegistryRefusedError(f"lease {lease} has ended", hint="grant another one")

    def _now(self) -> dict[str, object]:
        return {"boot": self._boot, "now": machine_seconds()}

    # -------------------------------------------------------------------------------------------- transactions

    def _check_in_place(self) -> None:
        # What is written to a removed file is answered and then gone; a look at its name costs microseconds.
        if self._inode_now() != self._inode:
            raise RegistryUnavailableError(
                f"the registry file {self.path} was removed or replaced while it was in use",
                hint="put it back, or restart to use the new one",
            )

    def _inode_now(self) -> tuple[int, int] | None:
        try:
            status = Path(self.path).stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _position(self) -> Position:
        return Position(*self._connection.execute("SELECT revision, compacted FROM state").fetchone())

    def _entry(self, key: bytes) -> Entry | None:
        row = self._connection.execute("SELECT value, revision, created FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else Entry(key_text(key), *row)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """One consistent view for several queries."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._roll_back()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction that has the write lock from the start: what it reads is what it writes over."""
        self._changed = False
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
                # The log may have it or not: whoever opens the file after a crash will know.
                raise RegistryUnavailableError(
                    f"the registry file {self.path} could not be written: {error}", unknown=True
                ) from error
            raise
        if self._changed:
            self._changed = False
            # Now that it can be read: who watches the file hears of its time (``embedded_news.py``).
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # some errors have rolled back already
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _told(self, purpose: str) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error, purpose) from error

    def _error(self, error: sqlite3.Error, purpose: str) -> RegistryError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        message = f"the registry file {self.path} cannot {purpose}: {error}"
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return RegistryUnavailableError(message, hint="another process keeps it locked; it is tried again")
        if code == sqlite3.SQLITE_IOERR:
            return RegistryUnavailableError(message, hint="look at the disk and the system's log")
        hints = {
            sqlite3.SQLITE_FULL: "make room on its disk",
            sqlite3.SQLITE_READONLY: "let this user write to it, and to its folder",
            sqlite3.SQLITE_PERM: "let this user write to it, and to its folder",
            sqlite3.SQLITE_CANTOPEN: "its folder must exist and this user must be able to write in it",
            sqlite3.SQLITE_CORRUPT: "restore it from a copy, or remove it and apply the tenants again",
            sqlite3.SQLITE_NOTADB: "name another file in embedded:PATH",
        }
        return RegistryRefusedError(message, hint=hints.get(code, ""))
