"""What stands in front of the workers: keeps them running, has a new version take over, and speaks for all of them.

A handover goes step by step, and each of them can still be taken back but the last: the settings are read by a child
(the version that is installed now, with its own reading of file and environment); what they want to listen on is
taken; workers of that version start on the same sockets, let nobody in, and say when they could; they are told to; the
old ones are told that others serve. Until then nothing of the old ones has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gogeta.admin.reports import SERVING, Past, Report, decode, encode, together
from gogeta.domain.errors import GogetaError
from gogeta.kit import notify
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.clock import monotonic
from gogeta.kit.log_levels import LogLevels, change_log_levels
from gogeta.kit.tasks import Tasks
from gogeta.workers import relaunch
from gogeta.workers.crew import SINGLE, Crew
from gogeta.workers.listeners import Listeners
from gogeta.workers.member import Worker
from gogeta.workers.plan import Plan

logger = logging.getLogger(__name__)

RESULTS: Final = ("done", "refused", "failed", "late")
"""How a handover may end: the settings of the new version were refused, its start failed, or took too long."""
MOST_LEAVING: Final = 4
"""Generations that may drain at the same time; of more, the oldest is cut."""
_WATCH_SECONDS: Final = 1.0


class HandoverFailed(Exception):
    """The new version does not take over."""

    def __init__(self, result: str, message: str) -> None:
        """``result`` is one of RESULTS."""
        super().__init__(message)
        self.result = result


class Supervisor(Collector):
    """All workers of one ``gogeta serve`` (see the module's docstring)."""

    def __init__(self, plan: Plan, listeners: Listeners, tasks: Tasks) -> None:
        """Nothing is started yet."""
        self.plan = plan
        self.listeners = listeners
        self.crew: Crew | None = None
        self.leaving: list[Crew] = []
        self.own: Callable[[], Report] | None = None
        """Where this process serves, too: its report."""
        self.complete = asyncio.Event()
        """Each worker serves."""
        self._tasks = tasks
        self._watching = False
        self._site: AdminSite | None = None
        self._past = Past()
        self._restarts = 0
        self._hangs = 0
        self._handovers: Counter[str] = Counter()

    def show_on(self, site: AdminSite) -> None:
        """Tell readiness there from now on."""
        self._site = site
        self._changed()

    def start(self) -> None:
        """Start the first crew."""
        self.crew = self._recruit(self.plan, self.listeners)
        self.crew.start()
        self._changed()

    def _recruit(self, plan: Plan, listeners: Listeners) -> Crew:
        if not self._watching:
            self._watching = True
            self._tasks.start(self._watch(), "watch")
        return Crew(plan, listeners, self._tasks, changed=self._changed, ended=self._worker_ended)

    def set_log_levels(self, levels: LogLevels) -> None:
        """These hold from now on, here and in all workers, also those that replace others; a handover ends it."""
        change_log_levels(levels)
        for crew in (self.crew, *self.leaving):
            if crew is not None:
                crew.set_log_levels(levels)

    # Handover.

    async def hand_over(self) -> bool:
        """Have the version that is installed now take over, with the settings as they are now; whether it has.

        Cancelled, or failed, it leaves everything as it was.
        """
        notify.reloading()
        logger.info("SIGHUP: starting the version that is installed now, with the settings as they are now")
        try:
            async with asyncio.timeout(self.plan.handover_timeout):
                plan, listeners, crew = await self._prepare()
        except TimeoutError:
            return self._stays(HandoverFailed("late", f"it was not ready within {self.plan.handover_timeout:.0f} s"))
        except HandoverFailed as failure:
            return self._stays(failure)
        try:
            await crew.go()
        finally:
            # From that word on they serve, also when the end interrupts us here.
            self._take_over(plan, listeners, crew)
        return True

    async def _prepare(self) -> tuple[Plan, Listeners, Crew]:
        plan = await self._ask_settings()
        try:
            listeners = self.listeners.follow(plan.listeners, plan.workers, SINGLE)
        except GogetaError as error:
            raise HandoverFailed("refused", error.message) from None
        crew = self._recruit(plan, listeners)
        try:
            await crew.prepare()
        except BaseException as error:
            await self._undo(crew, listeners)
            if isinstance(error, OSError):
                raise HandoverFailed("failed", f"a worker of the new version cannot be started: {error}") from None
            raise
        return plan, listeners, crew

    async def _undo(self, crew: Crew, listeners: Listeners) -> None:
        crew.kill()
        listeners.close(but=self.listeners)
        await crew.empty.wait()

    async def _ask_settings(self) -> Plan:
        try:
            popen, channel = relaunch.start(relaunch.SETTINGS, {}, ())
        except OSError as error:
            raise HandoverFailed("failed", f"no process can be started: {error}") from None
        child = Worker(-1, popen.pid, channel, popen)
        answer: dict[str, Any] | None = None
        try:
            answer = await channel.receive()
            status = await child.life(lambda: None)
        finally:
            child.kill()
            if child.status is None:
                await child.life(lambda: None)
        if answer is None:
            raise HandoverFailed("refused", f"it does not start with these settings (exit status {status}); see above")
        try:
            return Plan.heard(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise HandoverFailed("refused", f"its settings cannot be understood: {error!r}") from None

    def _stays(self, failure: HandoverFailed) -> bool:
        self._handovers[failure.result] += 1
        logger.error("the new version does not take over: %s; the old one serves on, as before", failure)
        notify.ready("serving; the last reload failed")
        return False

    def _take_over(self, plan: Plan, listeners: Listeners, crew: Crew) -> None:
        self._handovers["done"] += 1
        before, self.crew = self.crew, crew
        self.listeners.close(but=listeners)
        self.plan, self.listeners = plan, listeners
        if before is not None:
            self._send_away(before)
        logger.info(
            "version %s serves with %d workers; what is under way elsewhere finishes there", plan.version, plan.workers
        )
        self._changed()

    def _send_away(self, crew: Crew) -> None:
        crew.retire()
        self._see_off(crew)
        for oldest in self.leaving[:-MOST_LEAVING]:
            oldest.cut_at = monotonic()

    def _see_off(self, crew: Crew) -> None:
        async def seen_off() -> None:
            await crew.gone()
            self.leaving.remove(crew)

        self.leaving.append(crew)
        self._tasks.start(seen_off(), "leaving")

    # The end.

    async def stop(self) -> int:
        """End all workers; 0 when all ended well, else 1. Nobody comes after them: our descriptors are given up."""
        self.listeners.end(SINGLE)
        crews = [*([self.crew] if self.crew is not None else []), *self.leaving]
        for crew in crews:
            crew.stop()
        for crew in crews:
            await crew.gone()
        return int(any(status for crew in crews for status in crew.statuses))

    def kill(self) -> None:
        """End all workers at once."""
        for crew in (self.crew, *self.leaving):
            if crew is not None:
                crew.kill()

    # Becoming the new version.

    def plain(self, *, again: bool) -> tuple[dict[str, Any], list[int]]:
        """All that the program that this process becomes has to know, in plain values, and the descriptors in it.

        A version reads what another one wrote: members are added, with a default where they are read, never changed.
        ``again``: another handover was asked for meanwhile.
        """
        assert self.crew is not None  # noqa: S101 - somebody serves
        if self.own is not None:
            # What this process has served is the past of the program that it becomes.
            self._past.add(self.own())
            self.own = None
        serving = self.crew.plain()
        leaving = [(crew.cut_at - monotonic(), crew.plain()) for crew in self.leaving]
        plain = {
            "plan": self.plan.plain(),
            "listeners": self.listeners.plain(),
            "workers": serving,
            "leaving": [{"left": left, "workers": workers} for left, workers in leaving],
            "past": encode(self._past.report),
            "restarts": self._restarts,
            "hangs": self._hangs,
            "handovers": dict(self._handovers),
            "again": again,
        }
        channels = [
            worker["channel"] for workers in (serving, *(workers for _, workers in leaving)) for worker in workers
        ]
        return plain, [*(each.fileno() for each in self.listeners), *channels]

    @classmethod
    def told(cls, plain: dict[str, Any], tasks: Tasks) -> Supervisor:
        """The supervisor from its plain values; the workers and the sockets are its own from now on."""
        made = cls(Plan.told(plain["plan"]), Listeners.told(plain["listeners"]), tasks)
        made.crew = made._recruit(made.plan, made.listeners)
        made.crew.adopt(plain["workers"])
        made.crew.start()
        for values in plain["leaving"]:
            crew = made._recruit(made.plan, made.listeners)
            crew.closing.set()
            crew.cut_at = monotonic() + values["left"]
            crew.adopt(values["workers"])
            made._see_off(crew)
        made._past = Past(decode(plain["past"]))
        made._restarts = plain["restarts"]
        made._hangs = plain.get("hangs", 0)
        made._handovers.update(plain["handovers"])
        return made

    # Watching, and telling.

    async def _watch(self) -> None:
        last = monotonic()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = monotonic()
            if now - last > 3 * _WATCH_SECONDS:
                # It was us who did not run: what was reported meanwhile is still to be read.
                for worker in self._living():
                    worker.heard = now
            last = now
            for worker in self._living():
                if worker.hangs:
                    self._hangs += 1
                    logger.error("worker %d (pid %d) does not answer any more and is killed", worker.number, worker.pid)
                    worker.kill()

    def _living(self) -> list[Worker]:
        crews = [*([self.crew] if self.crew is not None else []), *self.leaving]
        return [worker for crew in crews for worker in crew.workers.values()]

    def _worker_ended(self, worker: Worker, replaced: bool) -> None:  # noqa: FBT001 - a callback
        self._past.add(worker.report)
        self._restarts += replaced
        self._changed()

    def _changed(self) -> None:
        """Ready when each worker is: a visitor may come to any of them."""
        site, crew = self._site, self.crew
        if crew is None:
            return
        serving = [worker for worker in crew.workers.values() if worker.report.stage == SERVING]
        missing = crew.plan.workers - len(serving)
        problem = f"{missing} of {crew.plan.workers} do not serve yet" if missing else None
        numbers = {worker.number for worker in serving}
        if missing and (troubles := [text for number, text in sorted(crew.troubles.items()) if number not in numbers]):
            problem = f"{problem}: {', '.join(troubles)}"
        if not missing:
            self.complete.set()
        if site is None:
            return
        site.ready("workers", problem)
        for part in {part for worker in serving for part in worker.report.problems}:
            problems = [trouble for worker in serving if (trouble := worker.report.problems.get(part))]
            site.ready(part, problems[0] if problems else None)

    def collect(self) -> Iterator[Metric]:
        """The metrics of all workers together, those that have ended included, and the supervisor's own."""
        living = [worker.report for worker in self._living()]
        own = [self.own()] if self.own is not None else []
        yield from together([*living, *own, self._past.report])
        serving = sum(worker.report.stage == SERVING for worker in self._living())
        yield GaugeMetricFamily("gogeta_workers", "Worker processes that serve, or drain.", value=serving + len(own))
        yield CounterMetricFamily(
            "gogeta_worker_restarts", "Workers replaced because they ended.", value=self._restarts
        )
        yield CounterMetricFamily(
            "gogeta_worker_hangs", "Workers killed because they did not answer any more.", value=self._hangs
        )
        handovers = CounterMetricFamily(
            "gogeta_handovers",
            "Times that a new version was to take over, by result: done, refused (its settings), failed, late.",
            labels=("result",),
        )
        for result in RESULTS:
            handovers.add_metric((result,), self._handovers[result])
        yield handovers
