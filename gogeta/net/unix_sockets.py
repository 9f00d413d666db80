"""Connecting to a tenant's unix socket: what is judged is what is connected to.

A path may lead through symbolic links, and a hard link or a bind mount shows one socket under another name. So the
socket is opened first, without using it; then it is judged by its real path and by its identity (device and inode,
which no link changes), and connected to through that very descriptor: nobody can put another in its place in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Final

from gogeta.core.refusal import Reason
from gogeta.domain.upstreams import RUNTIME_SOCKETS, UnixEndpoint

if TYPE_CHECKING:
    from gogeta.domain.upstreams import Forbidden


class ForbiddenUpstreamError(Exception):
    """The socket may not be an upstream; the text is the rule."""

    reason: Final = Reason.UPSTREAM_FORBIDDEN


def connect(endpoint: UnixEndpoint, forbidden: Forbidden) -> socket.socket:
    """A connected, non-blocking socket.

    Raises ForbiddenUpstreamError; BlockingIOError when so many connections wait to be accepted that no more may
    (trying again in a moment is right); OSError for anything else, such as a path that does not exist. It looks at the
    file system, which may be slow: not for the event loop.
    """
    # O_PATH opens a place in the file system, not the socket: nobody notices, and no permission on it is needed yet.
    place = os.open(endpoint.path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.ENOTSOCK, "it is no socket", endpoint.path)
        held = f"/proc/self/fd/{place}"
        real = UnixEndpoint(os.readlink(held))  # noqa: PTH115 - text in, text out
        if (rule := forbidden.rule_against(real)) is not None:
            raise ForbiddenUpstreamError(f"{endpoint}: {rule}")
        if (found.st_dev, found.st_ino) in _identities():
            raise ForbiddenUpstreamError(
                f"{endpoint} is refused: an upstream may not be the container runtime, under whatever name"
            )
        own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # The kernel answers at once: a unix socket has nothing to wait for.
            own.connect(held)
        except BaseException:
            own.close()
            raise
        return own
    finally:
        os.close(place)


def _identities() -> set[tuple[int, int]]:
    """The runtimes' sockets that exist now, as devices and inodes."""
    found = set()
    for path in RUNTIME_SOCKETS:
        with contextlib.suppress(OSError):
            runtime = os.stat(path)  # noqa: PTH116 - no object is needed for it
            found.add((runtime.st_dev, runtime.st_ino))
    return found
