"""Telling the service manager how we are (sd_notify(3)): ready, reloading, stopping.

Where nobody asked (no ``NOTIFY_SOCKET``) nothing is done; a manager that does not listen costs nothing either.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Final

_VARIABLE: Final = "NOTIFY_SOCKET"


def ready(status: str = "serving") -> None:
    """We serve: after the start, and after a reload however it went."""
    _tell("READY=1", f"STATUS={status}")


def reloading() -> None:
    """A reload has begun; ``ready`` ends it."""
    _tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """The orderly end has begun."""
    _tell("STOPPING=1", "STATUS=draining")


def _tell(*lines: str) -> None:
    address = os.environ.get(_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    # A name beginning with @ is in the kernel's abstract namespace.
    place = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
        to.settimeout(0.0)
        to.sendto("\n".join(lines).encode(), place)
