"""When to look at the embedded store's file: at once when another process has written to it, and now and then anyway.

Who commits touches the file's time after the commit (``EmbeddedFile``), and Linux tells every process that watches the
file of that (inotify(7)). So a change is heard of within a fraction of a millisecond, and a machine at rest does
nothing. Not every commit is told of: a file system that another kernel shares with us tells nothing, and there may be
no watches left. So there is a look by the clock, too, and it is a frequent one as soon as such a look finds what it was
not told of. It knows paths and descriptors, nothing of SQL.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
from typing import Final

TOLD: Final = 0.25
"""Seconds between looks where changes are told of."""
UNTOLD: Final = 0.02
"""Seconds between looks where they are not."""
_MISSED: Final = 3
"""Changes found by the clock alone, one after the other, after which nothing more is expected to be told."""

_IN_MODIFY, _IN_ATTRIB, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x2, 0x4, 0x400, 0x800
_EVENTS: Final = _IN_MODIFY | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
_PIECE: Final = 1 << 14


def watch_file(path: str) -> int:
    """A descriptor that becomes readable when the file is written, touched, moved or removed. Raises OSError.

    The file's, not the name's: whoever takes its place is not watched.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    if libc.inotify_add_watch(descriptor, os.fsencode(path), _EVENTS) < 0:
        code = ctypes.get_errno()
        os.close(descriptor)
        raise OSError(code, os.strerror(code), path)
    return int(descriptor)


class News:
    """What one thread waits on: pokes by other threads, and the file's changes."""

    def __init__(self, path: str) -> None:
        """Watch the file, which exists; where that is impossible, the clock alone tells."""
        self._poked = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._file: int | None = None
        self._missed = 0
        self._poll = select.poll()
        self._poll.register(self._poked, select.POLLIN)
        with contextlib.suppress(OSError, AttributeError):
            self._file = watch_file(path)
            self._poll.register(self._file, select.POLLIN)
        self._heard = False

    @property
    def told(self) -> bool:
        """Whether changes of other processes are told of."""
        return self._file is not None

    def poke(self) -> None:
        """End a wait, this one or the next. From any thread, also after ``close``."""
        with contextlib.suppress(OSError, ValueError):
            os.eventfd_write(self._poked, 1)

    def wait(self, *, watching: bool) -> None:
        """Until poked; with ``watching`` also until the file may have changed."""
        timeout = None if not watching else TOLD if self.told else UNTOLD
        ready = {descriptor for descriptor, _ in self._poll.poll(None if timeout is None else timeout * 1000)}
        if self._poked in ready:
            os.eventfd_read(self._poked)
        if self._file is not None and self._file in ready:
            self._drain(self._file)

    def _drain(self, descriptor: int) -> None:
        self._heard = True
        try:
            while len(os.read(descriptor, _PIECE)) > _PIECE // 2:
                pass
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._give_up()

    def looked(self, *, changed: bool, own: bool) -> None:
        """Tell of a look: whether the file was ``changed``, and whether by this process itself."""
        if not changed or own or not self.told:
            self._heard = False
            return
        self._missed = 0 if self._heard else self._missed + 1
        self._heard = False
        if self._missed >= _MISSED:
            self._give_up()

    def _give_up(self) -> None:
        if self._file is not None:
            self._poll.unregister(self._file)
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Release the descriptors. From the thread that waits."""
        self._give_up()
        self._poll.unregister(self._poked)
        os.close(self._poked)
        self._poked = -1
