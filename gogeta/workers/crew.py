"""One generation of workers: started together, replaced when they die, sent away together.

A crew knows its own workers and the descriptors they accept from. Whether its generation is the present one, and what
the numbers of all generations are together, is the supervisor's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from gogeta.admin.reports import GO, LEVELS, PREPARED, RETIRE, SERVING, STARTING, decode, encode
from gogeta.kit.backoff import Backoff
from gogeta.kit.channel import Channel
from gogeta.kit.clock import monotonic
from gogeta.kit.listening import adopt
from gogeta.kit.log_levels import LogLevels
from gogeta.kit.tasks import Tasks, first_of
from gogeta.settings import ADMIN
from gogeta.workers import relaunch
from gogeta.workers.listeners import Listeners
from gogeta.workers.member import Worker
from gogeta.workers.plan import Plan

logger = logging.getLogger(__name__)

SINGLE: Final = (ADMIN,)
"""Listeners that the supervisor serves itself."""
STEADY_SECONDS: Final = 30.0
"""So long a worker has to live until its death counts as the first again."""
GRACE_SECONDS: Final = 5.0
"""On top of the drain, until a worker that does not end is killed."""

GO_SECONDS: Final = 5.0
"""From the word to the first visitor, at most; who is later is late, and kept."""


class WorkerEnded(OSError):
    """A worker that should have come to serve has ended."""


class Crew:
    """All workers of one generation (see the module's docstring)."""

    def __init__(
        self,
        plan: Plan,
        listeners: Listeners,
        tasks: Tasks,
        *,
        changed: Callable[[], None],
        ended: Callable[[Worker, bool], None],
    ) -> None:
        """``changed``: a worker reported or ended; ``ended``: it has ended, and whether it had to be replaced."""
        self.plan = plan
        self._listeners = listeners
        self._tasks = tasks
        self._changed = changed
        self._ended = ended
        self.workers: dict[int, Worker] = {}
        """Those that live, by number."""
        self.troubles: dict[int, str] = {}
        """Why a number has no worker now."""
        self.statuses: list[int] = []
        """How those ended that were sent away."""
        self.closing = asyncio.Event()
        """No worker is replaced any more."""
        self.empty = asyncio.Event()
        """None lives."""
        self.empty.set()
        self._levels: LogLevels | None = None
        """What was said about levels of logs while it runs."""
        self.cut_at = float("inf")
        """Loop time at which those that have not ended are killed."""

    # Starting.

    def start(self) -> None:
        """Start all workers, and keep them running."""
        for number in range(self.plan.workers):
            self._keep(number)

    async def prepare(self) -> None:
        """Start all workers as successors: all is there, and no visitor is let in.

        Raises OSError when one cannot be started, and WorkerEnded when one ends.
        """
        workers = [self._spawn(number, successor=True) for number in range(self.plan.workers)]
        for worker in workers:
            if not await self._reaches(worker, PREPARED):
                raise WorkerEnded(f"worker {worker.number} ended with status {worker.status} before it was ready")

    async def go(self) -> None:
        """Let the prepared ones serve, and keep them running from now on; returns when they do, or soon."""
        workers = list(self.workers.values())
        for number in range(self.plan.workers):
            self._keep(number)
        for worker in workers:
            worker.say(GO)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GO_SECONDS):
                for worker in workers:
                    await self._reaches(worker, SERVING)

    async def _reaches(self, worker: Worker, stage: str) -> bool:
        while worker.report.stage != stage and worker.status is None:
            worker.changed.clear()
            await worker.changed.wait()
        return worker.status is None

    def adopt(self, known: Iterable[Mapping[str, Any]]) -> None:
        """Take over the workers of the program that this process was before (``plain``)."""
        for values in known:
            worker = Worker(values["number"], values["pid"], Channel(adopt(values["channel"])))
            worker.report = decode(values["report"])
            self._begin(worker)

    def plain(self) -> list[dict[str, Any]]:
        """Plain values of all that live, for the program that this process becomes."""
        return [
            {
                "number": worker.number,
                "pid": worker.pid,
                "channel": worker.channel.fileno(),
                "report": encode(worker.report),
            }
            for worker in self.workers.values()
        ]

    def _spawn(self, number: int, *, successor: bool) -> Worker:
        shares = self._listeners.share(number, self.plan.workers, SINGLE)
        told = {name: [each.fileno() for each in sockets] for name, sockets in shares.items()}
        popen, channel = relaunch.start(
            relaunch.WORKER,
            {
                "settings": self.plan.settings,
                "sockets": told,
                "endpoints": self._listeners.endpoints(),
                "successor": successor,
            },
            [number for numbers in told.values() for number in numbers],
        )
        worker = Worker(number, popen.pid, channel, popen)
        self._begin(worker)
        return worker

    def set_log_levels(self, levels: LogLevels) -> None:
        """Tell all workers, and those that replace them."""
        self._levels = levels
        for worker in self.workers.values():
            worker.channel.send({"do": LEVELS, "levels": levels.plain()})

    def _begin(self, worker: Worker) -> None:
        if self._levels is not None:
            worker.channel.send({"do": LEVELS, "levels": self._levels.plain()})
        self.workers[worker.number] = worker
        self.empty.clear()
        self._tasks.start(self._live(worker), f"worker {worker.number}")

    async def _live(self, worker: Worker) -> None:
        status = await worker.life(self._changed)
        del self.workers[worker.number]
        if self.closing.is_set() and worker.report.stage not in (STARTING, PREPARED):
            # One that had let nobody in has cut nobody off.
            self.statuses.append(status)
        self._ended(worker, not self.closing.is_set())
        if not self.workers:
            self.empty.set()

    # Going on.

    def _keep(self, number: int) -> None:
        self._tasks.start(self._kept(number), f"keep {number}")

    async def _kept(self, number: int) -> None:
        """Keep one number running until the crew is sent away."""
        backoff = Backoff(first=0.2, limit=10.0)
        while not self.closing.is_set():
            status: object
            try:
                worker = self.workers.get(number) or self._spawn(number, successor=False)
            except OSError as error:
                # No memory, no processes, no descriptors: it may pass.
                status, lived = error, 0.0
            else:
                await worker.gone.wait()
                status, lived = f"status {worker.status}", monotonic() - worker.began
            if self.closing.is_set():
                return
            if lived > STEADY_SECONDS:
                backoff.reset()
            pause = backoff.next()
            self.troubles[number] = f"worker {number} ended with {status}"
            if backoff.failures > 1:
                self.troubles[number] += f", {backoff.failures} times in a row"
            logger.error("%s; another one starts in %.1f s", self.troubles[number], pause)
            self._changed()
            await first_of(self.closing, timeout=pause)

    # Ending.

    def retire(self) -> None:
        """Others serve now: what is under way finishes, then they end."""
        self._close()
        for worker in tuple(self.workers.values()):
            if worker.report.stage != SERVING:
                # It has let nobody in.
                worker.kill()
            elif not worker.say(RETIRE):
                worker.signal(signal.SIGTERM)

    def stop(self) -> None:
        """End: as ``retire``, but nobody comes after them."""
        self._close()
        for worker in tuple(self.workers.values()):
            worker.signal(signal.SIGTERM)

    def _close(self) -> None:
        self.closing.set()
        self.cut_at = min(self.cut_at, monotonic() + self.plan.drain_timeout + GRACE_SECONDS)

    def kill(self) -> None:
        """End all at once."""
        self.closing.set()
        for worker in tuple(self.workers.values()):
            worker.kill()

    async def gone(self) -> None:
        """Return when all have ended, in time or by force."""
        while not self.empty.is_set():
            left = self.cut_at - monotonic()
            if left <= 0:
                logger.warning("%d workers did not end in time and are killed", len(self.workers))
                self.kill()
                await self.empty.wait()
                return
            await first_of(self.empty, timeout=min(left, 1.0))
