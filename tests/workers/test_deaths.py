"""Workers that die, hang, or cannot start: replaced, named, and counted; no visitor is refused."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial

import pytest

from tests.workers.load import Load
from tests.workers.served import Served, until, visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def test_nobody_is_refused_while_workers_are_killed(served: Served) -> None:
    await served.start(workers=2)
    load = Load(served.port, pause=0.01)
    async with load.running(fresh=8, kept=8):
        for times in range(1, 4):
            await load.more(200)
            os.kill(min(served.workers()), signal.SIGKILL)
            await until("noticed", partial(served.has_restarted, times))
            await until("replaced", served.ready)
    # Whoever was with the dead one sees it break; whoever waited in its queue does not.
    assert {kind for kind in load.failures if kind.startswith("connect")} == set()
    assert sum(load.failures.values()) <= 3 * 16


async def test_all_workers_dead_at_once_leave_a_queue(served: Served) -> None:
    await served.start(workers=2)
    for pid in served.workers():
        os.kill(pid, signal.SIGKILL)
    async with visitor(served.port) as one, visitor(served.port) as other:
        one.send()
        other.send()
        assert (await one.answer())[0] == 200
        assert (await other.answer())[0] == 200


async def test_counters_never_go_backwards(served: Served) -> None:
    await served.start(workers=2)
    name = 'gogeta_requests_total{code="2xx"}'
    load = Load(served.port)
    async with load.running(fresh=4, kept=0):
        await load.more(200)
    await until("all counted", lambda: served.metric(name) == load.done)
    for pid in served.workers():
        os.kill(pid, signal.SIGKILL)
    await until("both dead", lambda: served.metric("gogeta_worker_restarts_total") == 2)
    assert served.metric(name) == load.done
    await served.becomes_ready()
    done = load.done
    async with load.running(fresh=4, kept=0):
        await load.more(50)
    await until("counted on", lambda: served.metric(name) == load.done > done)
    assert served.metric("gogeta_request_seconds_count") == load.done
    assert served.metric("gogeta_connections") <= 4, "gauges are those of the living"


async def test_a_worker_that_hangs_is_replaced(served: Served) -> None:
    await served.start(workers=2)
    stuck = min(served.workers())
    os.kill(stuck, signal.SIGSTOP)
    await until("found out", lambda: served.metric("gogeta_worker_hangs_total") == 1)
    await until("gone", partial(served.has_restarted, 1))
    await until("replaced", served.ready)
    assert stuck not in served.workers()
    assert len(served.workers()) == 2


async def test_a_supervisor_that_was_frozen_takes_nobody_for_hanging(served: Served) -> None:
    await served.start(workers=2)
    before = served.workers()
    served.process.pause()
    try:
        load = Load(served.port)
        async with load.running(fresh=2, kept=2):
            # As long as the silence that it would take for a hanging worker.
            await load.more(1)
            os.system("sleep 12")  # noqa: S605 - the loop may stand still: nobody else is on it
    finally:
        served.process.resume()
    await until("back", served.ready)
    await until("looked at", lambda: served.metric("gogeta_workers") == 2)
    assert served.workers() == before
    assert served.metric("gogeta_worker_hangs_total") == 0


async def test_workers_that_die_at_every_start_are_named_and_do_not_spin(served: Served) -> None:
    await served.start(workers=2)
    away = served.registry.parent.with_name("away")
    served.registry.parent.rename(away)
    for pid in served.workers():
        os.kill(pid, signal.SIGKILL)
    await until("named", lambda: "3 times in a row" in served.readiness()[1])
    assert served.readiness()[0] == 503
    assert "2 of 2 do not serve yet: worker 0 ended with status 2" in served.readiness()[1]
    # Three tries of each, and pauses that double.
    assert served.metric("gogeta_worker_restarts_total") <= 10
    shutil.move(away, served.registry.parent)
    async with visitor(served.port) as waiting:
        waiting.send()
        assert (await waiting.answer())[0] == 200, "who came meanwhile has waited"
    await served.becomes_ready()
