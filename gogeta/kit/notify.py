"""Telling the service manager how we are (sd_notify(3)): ready, reloading, stopping, and still alive.

Where nobody asked (no ``NOTIFY_SOCKET``) nothing is done; a manager that does not listen costs nothing either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_VARIABLE: Final = "NOTIFY_SOCKET"
_SHORTEST: Final = 0.05
"""Seconds between two signs of life, at least, whatever the manager wants."""


def ready(status: str = "serving") -> None:
    """We serve: after the start, and after a reload however it went."""
    _tell("READY=1", f"STATUS={status}")


def reloading() -> None:
    """A reload has begun; ``ready`` ends it."""
    _tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping(status: str = "draining") -> None:
    """The orderly end has begun."""
    _tell("STOPPING=1", f"STATUS={status}")


def watchdog_seconds(environment: Mapping[str, str] | None = None) -> float | None:
    """How often to give a sign of life: half of what the manager waits for one; None when it waits for none of ours.

    A child of the process that was started has the variables, too: ``WATCHDOG_PID`` says whose they are.
    """
    environment = os.environ if environment is None else environment
    micros, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not environment.get(_VARIABLE) or not micros.isdecimal() or not int(micros):
        return None
    if process and process != str(os.getpid()):
        return None
    return max(int(micros) / 2e6, _SHORTEST)


async def signs_of_life() -> None:
    """Give them until cancelled, from this loop: where the loop stands still they stop, and the manager acts.

    Returns at once when nobody waits for them.
    """
    pause = watchdog_seconds()
    if pause is None:
        return
    while True:
        _tell("WATCHDOG=1")
        await asyncio.sleep(pause)


def _tell(*lines: str) -> None:
    address = os.environ.get(_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    # A name beginning with @ is in the kernel's abstract namespace.
    place = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
        to.settimeout(0.0)
        to.sendto("\n".join(lines).encode(), place)
