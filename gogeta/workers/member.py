"""One worker process as its supervisor sees it: what it reported last, and whether it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Final

from gogeta.admin.reports import Report, decode
from gogeta.kit.channel import Channel
from gogeta.kit.clock import monotonic

logger = logging.getLogger(__name__)

SILENCE_SECONDS: Final = 10.0
"""A worker that has not reported for so long hangs."""
START_SECONDS: Final = 60.0
"""The same for its first report: the interpreter starts, on a machine that may be busy."""
_LAST_SECONDS: Final = 5.0
"""Between a worker's last word and its end."""
_REAP_SECONDS: Final = 0.02


class Worker:
    """One worker process as its supervisor sees it."""

    def __init__(self, number: int, pid: int, channel: Channel, popen: subprocess.Popen[bytes] | None = None) -> None:
        """``popen``: None for a child of the program that this process was before."""
        self.number = number
        self.pid = pid
        self.channel = channel
        self._popen = popen
        self.report = Report()
        self.heard = self.began = monotonic()
        self.greeted = popen is None
        """Whether it has ever reported."""
        self.changed = asyncio.Event()
        """Set with each report, and at the end; whoever waits clears it."""
        self.gone = asyncio.Event()
        self.status: int | None = None
        """How it ended, once it has."""

    def __repr__(self) -> str:
        """One line for logs and tests."""
        return f"<Worker {self.number} pid {self.pid} {self.report.stage if self.status is None else self.status}>"

    async def life(self, reported: Callable[[], None]) -> int:
        """Hear its reports until it has ended; its exit status, negative for a signal."""
        while (message := await self.channel.receive()) is not None:
            try:
                self.report = decode(message)
            except (KeyError, TypeError, ValueError) as error:
                logger.warning("worker %d (pid %d) reports what cannot be read: %r", self.number, self.pid, error)
            self.heard, self.greeted = monotonic(), True
            self.changed.set()
            reported()
        give_up = monotonic() + _LAST_SECONDS
        while (status := self._reap()) is None:
            if monotonic() > give_up:
                self.kill()
            await asyncio.sleep(_REAP_SECONDS)
        self.status = status
        self.channel.close()
        self.changed.set()
        self.gone.set()
        return status

    def _reap(self) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # Whoever started us has children reaped by the system: how it ended cannot be known.
            pid, status = self.pid, 0
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        if self._popen is not None:
            self._popen.returncode = code
        return code

    @property
    def hangs(self) -> bool:
        """Whether it has been silent for too long."""
        silence = monotonic() - self.heard
        return self.status is None and silence > (SILENCE_SECONDS if self.greeted else START_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)

    def say(self, word: str) -> bool:
        """Tell it something; whether it was taken."""
        return self.channel.send({"do": word})
