"""What is done to the programs while they are at work: passivator is killed, etcd is started anew, again and again."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

from bench.lifecycle.stage import LifecycleStage
from bench.lifecycle.timeline import Timeline


class Faults:
    """Run the tasks of the faults that are wanted; ``counts`` tells how many there were."""

    def __init__(self, stage: LifecycleStage, timeline: Timeline) -> None:
        """``timeline`` is told of applications that are killed together with passivator."""
        self._stage = stage
        self._timeline = timeline
        self.counts: Counter[str] = Counter()

    async def kill_passivator(self, every: float) -> None:
        """SIGKILL, and a new one at once, for ever."""
        while True:
            await asyncio.sleep(every)
            if self._stage.driver == "process":
                self._timeline.orphan_all()
            await asyncio.to_thread(self._stage.passivator.kill)
            await asyncio.to_thread(self._stage.start_passivator)
            self._timeline.passivator_is_back()
            self.counts["passivator killed"] += 1

    async def restart_etcd(self, every: float) -> None:
        """SIGTERM and SIGKILL in turns, and a new one at once, for ever."""
        for number in itertools.count():
            await asyncio.sleep(every)
            await asyncio.to_thread(self._stage.etcd.kill if number % 2 else self._stage.etcd.stop)
            await asyncio.to_thread(self._stage.etcd.start)
            self.counts["etcd restarted"] += 1
