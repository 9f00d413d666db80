"""The first signal asks, the second one ends."""

import asyncio
import os
import signal
import sys

import pytest

from gogeta.kit.signals import stop_signals
from tests.rig.programs import ProcessRack

PROGRAM = """
import asyncio
from gogeta.kit.signals import stop_signals

async def main():
    with stop_signals() as stop:
        print("waiting", flush=True)
        await stop.wait()
        print("ending slowly", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.any_loop
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_event_and_leaves_no_handler_behind(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_ends_at_once(processes: ProcessRack) -> None:
    program = processes.start(sys.executable, "-c", PROGRAM, may_fail=True)
    program.wait_for_line("waiting")
    program.terminate()
    program.wait_for_line("ending slowly")
    program.terminate()
    assert program.wait(timeout=5) == -signal.SIGTERM


def test_who_is_asked_again_at_the_very_end_still_ends_well(processes: ProcessRack) -> None:
    ends_slowly = processes.python(
        "-c",
        "import asyncio, time\n"
        "from gogeta.kit.signals import asked_once\n"
        "async def run():\n"
        "    with asked_once() as stop:\n"
        "        print('ready', flush=True)\n"
        "        await stop.wait()\n"
        "asyncio.run(run())\n"
        "print('ending', flush=True)\n"
        "time.sleep(0.5)\n",
    )
    ends_slowly.wait_for_line("ready")
    ends_slowly.terminate()
    ends_slowly.wait_for_line("ending")
    ends_slowly.terminate()
    assert ends_slowly.wait() == 0


def test_what_another_thread_catches_while_signals_are_blocked_is_not_lost(processes: ProcessRack) -> None:
    becoming = processes.python(
        "-c",
        "import asyncio, os, signal, threading, time\n"
        "from gogeta.kit.signals import Blocked, stop_signals\n"
        "async def run():\n"
        "    with stop_signals() as stop:\n"
        "        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        "        blocked = Blocked()\n"
        "        assert not blocked.caught()\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        while not blocked.caught():\n"
        "            time.sleep(0.01)\n"
        "        assert not stop.is_set()\n"
        "        blocked.end()\n"
        "        await asyncio.wait_for(stop.wait(), 10)\n"
        "asyncio.run(run())\n",
    )
    assert becoming.wait() == 0
