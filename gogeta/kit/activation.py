"""Sockets that a service manager opened for us (sd_listen_fds(3), socket activation).

A manager that holds the sockets keeps them listening while the program is restarted, and may open ports that the
program's own user may not. This module reads the protocol; which listener a name belongs to is said by the caller.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from gogeta.domain.errors import Fault, GogetaError

FIRST: Final = 3
"""The first descriptor that is passed; the others follow it."""
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


class ActivationError(GogetaError):
    """What the service manager passed cannot be used."""

    fault = Fault.OPERATOR


def passed_sockets(
    names: Sequence[str], unnamed: Sequence[str], environment: MutableMapping[str, str] | None = None
) -> dict[str, list[socket.socket]]:
    """The sockets passed to this process, by name of listener; empty when there are none.

    ``names`` are the listeners there are. A socket of any other name (systemd takes the unit's if none is chosen) goes
    to the first listener of ``unnamed`` that has none yet, in the order of the descriptors. The variables are removed,
    so that no child takes them for its own. Raises ActivationError for a descriptor that is no listening TCP socket,
    and for one too many.
    """
    environment = os.environ if environment is None else environment
    given = {name: environment.pop(name, "") for name in _VARIABLES}
    if given["LISTEN_PID"] != str(os.getpid()) or not given["LISTEN_FDS"].isdecimal():
        return {}
    count = int(given["LISTEN_FDS"])
    labels = given["LISTEN_FDNAMES"].split(":") if given["LISTEN_FDNAMES"] else []
    labels += ["unknown"] * (count - len(labels))
    found: dict[str, list[socket.socket]] = {}
    others: list[tuple[str, socket.socket]] = []
    for number, label in zip(range(FIRST, FIRST + count), labels, strict=False):
        passed = _socket(number, label)
        if label in names:
            found.setdefault(label, []).append(passed)
        else:
            others.append((label, passed))
    free = [name for name in unnamed if name not in found]
    if len(others) > len(free):
        raise ActivationError(
            f"the service manager passed {count} sockets, and {others[len(free)][0]!r} is none of: {', '.join(names)}",
            hint="name each with FileDescriptorName= in its .socket unit",
        )
    for name, (_, passed) in zip(free, others, strict=False):
        found[name] = [passed]
    return found


def _socket(number: int, label: str) -> socket.socket:
    try:
        passed = socket.socket(fileno=number)
    except OSError as error:
        raise ActivationError(
            f"descriptor {number} ({label!r}), passed by the service manager, is no socket: {error.strerror}"
        ) from None
    os.set_inheritable(number, False)  # noqa: FBT003 - os's signature
    tcp = passed.family in (socket.AF_INET, socket.AF_INET6) and passed.type == socket.SOCK_STREAM
    if not tcp or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ActivationError(
            f"descriptor {number} ({label!r}), passed by the service manager, is no listening TCP socket",
            hint="use ListenStream=HOST:PORT, and Accept=no, in its .socket unit",
        )
    passed.settimeout(0.0)
    return passed
