"""Listening sockets: taken once, held by whoever supervises, and lent to whoever accepts.

A socket that listens has a queue of connections that the kernel has accepted already. Closing the last descriptor of
it resets those, so a socket outlives the process that serves it: its holder keeps a descriptor while workers come and
go. This module knows addresses and descriptors; what is served is its callers' business.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from gogeta.domain.errors import Fault, GogetaError
from gogeta.domain.upstreams import Endpoint

BACKLOG: Final = 4096
"""Connections that may wait in one socket's queue; the system's own limit (net.core.somaxconn) may be lower."""
_SO_ATTACH_FILTER: Final = 26
"""Linux's, which the socket module does not have."""
_NO_SYN: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        # Classic BPF over the TCP header: its flags, in byte 13; with SYN (2) drop it, else take all of it.
        (0x30, 0, 0, 13),
        (0x45, 0, 1, 0x02),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFFFFFF),
    )
)
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""An address of a name that this machine does not have, such as ::1 where IPv6 is off: the others will do."""


class AddressTakenError(GogetaError):
    """A listener's address cannot be had: taken, not ours, or not allowed."""

    fault = Fault.OPERATOR

    def __init__(self, setting: str, endpoint: Endpoint, error: OSError) -> None:
        """``setting`` is the flag without its hyphens, e.g. ``admin``."""
        reason = {
            errno.EADDRINUSE: "another program listens there already",
            errno.EADDRNOTAVAIL: "this machine does not have that address",
            errno.EACCES: "this user may not listen there",
        }.get(error.errno or 0, error.strerror or str(error))
        super().__init__(
            f"--{setting}: cannot listen on {endpoint}: {reason}",
            hint=f"choose another address with --{setting} HOST:PORT",
        )
        self.setting = setting
        self.endpoint = endpoint


def take(endpoint: Endpoint, setting: str, *, count: int = 1) -> list[socket.socket]:
    """Listen on each address of ``endpoint`` with ``count`` sockets: who comes waits in a queue until it is served.

    An empty host is every address; port 0 takes a free port, the same for all. The kernel spreads connections over the
    sockets of one address (SO_REUSEPORT). Raises AddressTakenError, which names ``setting``, also when another program
    listens there that would share the address.
    """
    port = endpoint.port
    sockets: list[socket.socket] = []
    unusable: OSError | None = None
    try:
        for family, host in _addresses(endpoint):
            try:
                with _socket(family) as probe:
                    # Without SO_REUSEPORT: another program's listener is noticed, not joined.
                    probe.bind((host, port))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                unusable = error
                continue
            for _ in range(count):
                bound = _bound(family, host, port)
                port = port or bound.getsockname()[1]
                sockets.append(bound)
        if not sockets:
            raise unusable or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except OSError as error:
        close(sockets)
        raise AddressTakenError(setting, endpoint, error) from error
    return sockets


def more(sockets: Sequence[socket.socket], count: int) -> list[socket.socket]:
    """What is missing to have ``count`` sockets for each address of ``sockets``, where the system allows more.

    A socket that came from outside may belong to another user, or may not be shareable: then there is only that one.
    """
    added: list[socket.socket] = []
    for group in _by_address(sockets):
        first = group[0]
        if first.family not in (socket.AF_INET, socket.AF_INET6):
            continue
        if not first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
            continue
        host, port = first.getsockname()[:2]
        try:
            added += [_bound(first.family, host, port) for _ in range(count - len(group))]
        except OSError:
            continue
    return added


def share(sockets: Sequence[socket.socket], number: int, count: int) -> list[socket.socket]:
    """The part of ``sockets`` that worker ``number`` of ``count`` accepts from.

    Each socket has somebody: where an address has fewer sockets than there are workers, several share one.
    """
    mine: list[socket.socket] = []
    for group in _by_address(sockets):
        mine += group[number::count] if len(group) >= count else [group[number % len(group)]]
    return mine


def address(listener: socket.socket) -> Endpoint:
    """Where a TCP socket listens."""
    host, port = listener.getsockname()[:2]
    return Endpoint(host, port)


def admit_no_more(sockets: Iterable[socket.socket]) -> None:
    """From now on nobody new gets into the queues of these listening sockets, by whichever descriptor they are held.

    For their end: between the last look into a queue and the close somebody could come in, and would be reset. Such a
    visitor's first packet is dropped instead; its system sends it again a second later, to whoever listens then. It
    cannot be taken back. Where the system has no such filter, nothing changes.
    """
    code = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    program = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(code))
    for each in sockets:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def close(sockets: Iterable[socket.socket]) -> None:
    """Give up our descriptors."""
    for each in sockets:
        each.close()


def _addresses(endpoint: Endpoint) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _by_address(sockets: Iterable[socket.socket]) -> list[list[socket.socket]]:
    groups: dict[object, list[socket.socket]] = {}
    for each in sockets:
        groups.setdefault((each.family, each.getsockname()), []).append(each)
    return list(groups.values())


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    bound = _socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # IPv4 has a socket of its own.
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.settimeout(0.0)
    return made


def adopt(number: int) -> socket.socket:
    """A socket of a process before this one, from its descriptor; no child of ours inherits it unasked."""
    os.set_inheritable(number, False)  # noqa: FBT003 - os's signature
    adopted = socket.socket(fileno=number)
    adopted.settimeout(0.0)
    return adopted
