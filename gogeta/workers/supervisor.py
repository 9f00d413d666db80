"""The process in front of the workers: starts them, replaces those that die, and speaks for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gogeta.admin.reports import Report, receive, together
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.admin_site import AddressTakenError, AdminSite
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import monotonic
from gogeta.kit.signals import stop_signals
from gogeta.kit.tasks import Tasks
from gogeta.net.access_log import check_access_log

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from gogeta.settings import ServeSettings

logger = logging.getLogger(__name__)

_STEADY: Final = 30.0
"""Seconds that a worker has to live until its death counts as the first again."""
_GRACE: Final = 5.0
"""Seconds on top of the drain until a worker that does not end is killed."""


def run_workers(settings: ServeSettings) -> int:
    """Run ``settings.workers`` proxies until SIGTERM or SIGINT; 0 when all of them ended well.

    Raises AddressTakenError, or AccessLogError; both name the setting.
    """
    check_access_log(settings)
    return asyncio.run(Supervisor(settings).run())


class Supervisor(Collector):
    """All workers of one ``gogeta serve`` (see the module's docstring)."""

    def __init__(self, settings: ServeSettings) -> None:
        """Nothing is started yet."""
        self._settings = settings
        self._reports: dict[int, Report] = {}
        """Worker number to what it told last; missing while it does not run."""
        self._restarts = 0
        self._statuses: list[int] = []
        self._site: AdminSite

    async def run(self) -> int:
        """Run until a stop is asked for."""
        metrics = CollectorRegistry()
        self._site = AdminSite(self._settings.admin, metrics, "gogeta")
        try:
            with stop_signals() as stop, _reserved(self._settings.listen) as listen:
                await self._site.start()
                self._site.ready("workers", "no worker serves yet")
                metrics.register(self)
                settings = replace(self._settings, listen=listen, admin=self._site.endpoint)
                logger.info("serving on %s with %d workers, admin on %s", listen, settings.workers, settings.admin)
                async with Tasks("workers") as tasks:
                    keepers = [
                        tasks.start(self._keep(number, settings, stop), str(number))
                        for number in range(settings.workers)
                    ]
                    await stop.wait()
                    self._site.ready("draining", "this process is shutting down")
                    await asyncio.gather(*keepers)
        finally:
            await self._site.stop()
        return max((abs(status) for status in self._statuses), default=0)

    async def _keep(self, number: int, settings: ServeSettings, stop: asyncio.Event) -> None:
        """Keep one worker running until the stop, then end it."""
        backoff = Backoff(first=0.2, limit=10.0)
        while not stop.is_set():
            began = monotonic()
            status = await self._work(number, settings, stop)
            self._reports.pop(number, None)
            self._show_readiness()
            if stop.is_set():
                self._statuses.append(status)
                return
            if monotonic() - began > _STEADY:
                backoff.reset()
            self._restarts += 1
            pause = backoff.next()
            logger.error("worker %d ended with status %d; another one starts in %.1f s", number, status, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _work(self, number: int, settings: ServeSettings, stop: asyncio.Event) -> int:
        """One worker's life; its exit status."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # A session of its own: Ctrl-C reaches the supervisor alone, which then asks each worker once.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gogeta.workers.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            theirs.close()
            async with Tasks(f"worker {number}") as tasks:
                assert process.stdin is not None  # noqa: S101 - it was asked for
                process.stdin.write(pickle.dumps(settings))
                process.stdin.close()
                tasks.start(self._listen(number, ours), "reports")
                ended = tasks.start(process.wait(), "life")
                stopping = tasks.start(stop.wait(), "stop")
                try:
                    await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
                    if not ended.done():
                        process.send_signal(signal.SIGTERM)
                        await asyncio.wait((ended,), timeout=settings.drain_timeout + _GRACE)
                finally:
                    if process.returncode is None:
                        process.kill()
                        logger.warning("worker %d did not end in time and was killed", number)
                        await process.wait()
                return process.returncode or 0

    async def _listen(self, number: int, end: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=end)
        try:
            while True:
                self._reports[number] = await receive(reader)
                self._show_readiness()
        except (asyncio.IncompleteReadError, ConnectionError):
            # It has ended, or is ending: its keeper sees to that.
            return
        finally:
            writer.close()

    def _show_readiness(self) -> None:
        """Ready when each worker is: a visitor may come to any of them."""
        missing = self._settings.workers - sum(bool(report.problems) for report in self._reports.values())
        self._site.ready("workers", f"{missing} of {self._settings.workers} do not serve yet" if missing else None)
        parts = {part for report in self._reports.values() for part in report.problems}
        for part in parts - {"draining"}:
            problems = [problem for report in self._reports.values() if (problem := report.problems.get(part))]
            self._site.ready(part, problems[0] if problems else None)

    def collect(self) -> Iterator[Metric]:
        """The metrics of all workers together, and the supervisor's own."""
        yield from together(self._reports.values())
        yield GaugeMetricFamily("gogeta_workers", "Worker processes that serve.", value=len(self._reports))
        yield CounterMetricFamily(
            "gogeta_worker_restarts", "Workers replaced because they ended.", value=self._restarts
        )


@contextlib.contextmanager
def _reserved(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Hold an address for the workers without listening on it; yields it with the port that 0 became."""
    host = endpoint.host or "0.0.0.0"  # noqa: S104 - an empty host is every address, as the user asked
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            # Without SO_REUSEPORT: another program's listener is noticed, not joined.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, endpoint.port))
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, endpoint.port))
    except OSError as error:
        raise AddressTakenError("listen", endpoint, error) from error
    with held:
        yield replace(endpoint, port=held.getsockname()[1])
