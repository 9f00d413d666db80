"""Starting this very program again: as a child with a part to play, or in place of this process.

It is always the command line by which this process was started, so that the version that is installed now runs, on the
same interpreter and in the same way. One variable says which part (``gogeta.__main__`` looks at it first) and which
descriptor holds what the other process has to know: plain values, pickled by one of us for another one of us.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Final

from gogeta.kit import channel, logs

VARIABLE: Final = "_GOGETA_PART"
WORKER: Final = "worker"
SUPERVISOR: Final = "supervisor"
SETTINGS: Final = "settings"
"""The part that only reads the settings, as they are now, and tells them."""


def start(
    part: str, knowledge: dict[str, Any], descriptors: Iterable[int]
) -> tuple[subprocess.Popen[bytes], channel.Channel]:
    """Start a child with a part; what it hears and says goes through the channel. Raises OSError."""
    ours, theirs = channel.pair()
    with theirs, os.fdopen(_written({**knowledge, "channel": theirs.fileno()}), "rb") as written:
        environment = {**os.environ, VARIABLE: f"{part}:{written.fileno()}"}
        # Only the first process speaks to the service manager.
        environment.pop("NOTIFY_SOCKET", None)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command line
                _command(),
                stdin=subprocess.DEVNULL,
                pass_fds=(*descriptors, theirs.fileno(), written.fileno()),
                env=environment,
                # A session of its own: Ctrl-C reaches the parent alone, which then asks each child once.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return process, channel.Channel(ours)


def become(part: str, knowledge: dict[str, Any], descriptors: Iterable[int]) -> None:
    """Go on as that part, in this process; signals must be blocked. Returns only by raising OSError.

    The log's thread ends before. Whoever goes on after the error sets it up again.
    """
    written = _written(knowledge)
    passed = (*descriptors, written)
    logs.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        for number in passed:
            os.set_inheritable(number, True)  # noqa: FBT003 - os's signature
        command = _command()
        os.execve(command[0], command, {**os.environ, VARIABLE: f"{part}:{written}"})  # noqa: S606 - no shell is meant
    finally:
        for number in passed:
            os.set_inheritable(number, False)  # noqa: FBT003 - ditto
        os.close(written)


def part() -> str:
    """The part this process was started for; empty for one that a person or a service manager started."""
    return os.environ.get(VARIABLE, "").partition(":")[0]


def knowledge() -> dict[str, Any]:
    """What this process was told by the one that started it. Once: no child of ours must find it."""
    with os.fdopen(int(os.environ.pop(VARIABLE).partition(":")[2]), "rb") as written:
        told: dict[str, Any] = pickle.load(written)  # noqa: S301 - one of us wrote it, into memory that nobody else has
    return told


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _written(knowledge: dict[str, Any]) -> int:
    number = os.memfd_create("gogeta", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(number), "wb") as stream:
        pickle.dump(knowledge, stream)
    os.lseek(number, 0, os.SEEK_SET)
    return number
