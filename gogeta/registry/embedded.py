"""The store without a server: one SQLite file, shared by the processes of one machine.

All work on the file (``embedded_file.py``) is done by one thread, so that nothing blocks the event loop; its queue is
bounded. While somebody watches, that thread looks at the file when another process has committed
(``embedded_news.py``), and after each commit of its own. It knows nothing of tenants.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, TypeVar

from gogeta.kit.clock import monotonic
from gogeta.registry.embedded_file import HISTORY, EmbeddedFile, Position, machine_seconds
from gogeta.registry.embedded_news import News
from gogeta.registry.store import (
    Changes,
    Committed,
    Delete,
    Entry,
    Guard,
    Listing,
    Put,
    Refused,
    RegistryError,
    RegistryUnavailableError,
    check_commit,
)

T = TypeVar("T")

_END_LEASES_EVERY: Final = 1.0
"""Seconds between two rounds for ended leases."""
_SIGN_OF_LIFE: Final = 2.0
_MAX_WAITING: Final = 10_000
"""Most calls waiting for the thread; more are refused as unavailable."""

Look = Callable[[Position | RegistryError], None]


class _Worker:
    """The one thread that touches the file, and what it has to do."""

    def __init__(self, file: EmbeddedFile) -> None:
        self._file = file
        self._news = News(file.path)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._look: Look | None = None
        self._seen: Position | None = None
        self._ended_at = 0.0
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="registry-file", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> concurrent.futures.Future[T]:
        """Queue ``work``. Raises queue.Full."""
        if self._jobs.qsize() >= _MAX_WAITING:
            raise queue.Full
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        self._news.poke()
        return future

    def look(self, look: Look | None) -> None:
        """Call ``look`` (on the thread) with the position when it changed, or with what keeps it from being read."""
        self._look = look
        self._seen = None
        self._news.poke()

    def stop(self) -> None:
        """End the thread when it has done what is queued, and close the file."""
        self._jobs.put(None)
        self._news.poke()

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._news.wait(watching=self._look is not None)
            worked = False
            while True:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    self._file.close()
                    self._news.close()
                    return
                job()
                worked = True
                # Others' watches of this process wait for what it has just committed.
                self._look_now(own=True)
            if not worked:
                self._look_now(own=False)

    def _look_now(self, *, own: bool) -> None:
        look = self._look
        if look is None:
            return
        try:
            if machine_seconds() - self._ended_at >= _END_LEASES_EVERY:
                self._ended_at = machine_seconds()
                self._file.end_lapsed()
            position = self._file.position()
        except RegistryError as error:
            self._seen = None
            look(error)
            return
        changed = position != self._seen
        self._news.looked(changed=changed, own=own or self._seen is None)
        if changed:
            self._seen = position
            look(position)


class _Watcher:
    """One running watch: told on the loop that there is something to fetch."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.error: RegistryError | None = None


class EmbeddedStore:
    """The store's contract (``store.Store``) on a file. Use it on one event loop."""

    def __init__(self, path: str, *, timeout: float = 3.0, history: int = HISTORY, read_only: bool = False) -> None:
        """Open or make the file; see ``EmbeddedFile`` for what it raises.

        ``timeout`` seconds is the longest wait for another process that writes; ``history`` is how many changes are
        kept for watches that were away. ``read_only``: see ``EmbeddedFile``.
        """
        self._file = EmbeddedFile(path, timeout=timeout, history=history, read_only=read_only)
        self._worker = _Worker(self._file)
        # One wait for the lock, and as much again for what is queued before us.
        self._limit = 2 * timeout
        self._watchers: set[_Watcher] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<EmbeddedStore {self._file.path}{' closed' if self._closed else ''}>"

    async def get(self, key: str) -> Entry | None:
        """See ``Store``."""
        return await self._do(lambda: self._file.get(key))

    async def list(self, prefix: str) -> Listing:
        """See ``Store``."""
        return await self._do(lambda: self._file.list(prefix))

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        """See ``Store``."""
        check_commit(operations, guards)
        return await self._do(lambda: self._file.commit(operations, guards), changes=bool(guards))

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """See ``Store``."""
        watcher = _Watcher()
        watcher.woken.set()
        self._add(watcher)
        told_at = float("-inf")
        try:
            while not self._closed:
                watcher.woken.clear()
                if watcher.error is not None:
                    raise watcher.error
                changes = await self._do(lambda: self._file.changes(prefix, after))  # noqa: B023 - awaited at once
                if changes.changes or monotonic() - told_at >= _SIGN_OF_LIFE:
                    yield changes
                    told_at = monotonic()
                if changes.revision > after:
                    # There may be more, in the next batch.
                    after = changes.revision
                    continue
                try:
                    async with asyncio.timeout(max(0.0, told_at + _SIGN_OF_LIFE - monotonic())):
                        await watcher.woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._remove(watcher)

    async def grant(self, ttl: float) -> int:
        """See ``Store``."""
        if ttl < 1:
            raise ValueError(f"expected a ttl of 1 second or more, not {ttl}")
        return await self._do(lambda: self._file.grant(ttl))

    async def keep_alive(self, lease: int) -> bool:
        """See ``Store``."""
        return await self._do(lambda: self._file.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        """See ``Store``."""
        await self._do(lambda: self._file.revoke(lease))

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """None: it is a file."""
        return ()

    async def close(self) -> None:
        """See ``Store``."""
        if self._closed:
            return
        self._closed = True
        for watcher in self._watchers:
            watcher.woken.set()
        self._worker.look(None)
        self._worker.stop()
        await asyncio.to_thread(self._worker.join, self._limit)

    async def _do(self, work: Callable[[], T], *, changes: bool = False) -> T:
        """Do ``work`` on the thread; ``changes``: whether doing it twice would differ from doing it once."""
        if self._closed:
            raise RegistryUnavailableError("the registry was closed by this process")
        try:
            future = self._worker.submit(work)
        except queue.Full:
            raise RegistryUnavailableError(
                f"more than {_MAX_WAITING} calls wait for the registry file {self._file.path}",
                hint="its disk is too slow for what is asked of it",
            ) from None
        try:
            async with asyncio.timeout(self._limit):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise RegistryUnavailableError(
                f"the registry file {self._file.path} did not answer within {self._limit:g} s",
                hint="look at its disk",
                # What had not begun was taken from the queue.
                unknown=changes and not future.cancelled(),
            ) from None

    # -------------------------------------------------------------------------------------------------- watches

    def _add(self, watcher: _Watcher) -> None:
        self._watchers.add(watcher)
        if len(self._watchers) == 1:
            loop = asyncio.get_running_loop()

            def look(seen: Position | RegistryError) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._tell, seen)

            self._worker.look(look)

    def _remove(self, watcher: _Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers:
            self._worker.look(None)

    def _tell(self, seen: Position | RegistryError) -> None:
        for watcher in self._watchers:
            watcher.error = seen if isinstance(seen, RegistryError) else None
            watcher.woken.set()
