"""See it work: `make demo`, or `make demo-docker` for the same on etcd and Docker.

Starts the real programs with three small applications, plays a story through them, and then serves until Ctrl-C.
Without a terminal it ends after the story: with 0 when every step happened in its time, else with 1 and the reason.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final

# The test rig's folder is not installed with the packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from screen import Screen
from stage import Stage, docker_stage, local_stage
from states import AWAKE, FAILED, States, watching
from story import IDLE, StepFailedError, Story

from gogeta.domain.state import TenantRecord

_NAMES: Final = ("plain", "chat", "slow")
_WHAT: Final = {
    "plain": "a plain site",
    "chat": "a chat, with a WebSocket",
    "slow": "a site that takes five seconds to start",
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--docker", action="store_true", help="on etcd and Docker, both of the demo's own (takes root)")
    parser.add_argument("--no-story", dest="story", action="store_false", help="serve at once")
    parser.add_argument("--port", type=int, help="where visitors are served; 8080 if that is free")
    return parser.parse_args()


async def _main(screen: Screen, chosen: argparse.Namespace) -> int:
    """The exit status: 0 also when a person ends it once the story is over."""
    stop, told = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = asyncio.create_task(_run(screen, told, chosen))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        screen.say()
        screen.say("Ending: the applications are stopped, and all that the demo made is removed.")
    for task in (work, stopping):
        task.cancel()
    try:
        await work
    except asyncio.CancelledError:
        return 0 if told.is_set() else 130
    except StepFailedError as failed:
        screen.say()
        screen.say(f"The demo failed: {failed}", style="bold red")
        for note in getattr(failed, "__notes__", ()):
            screen.say(note)
        return 1
    return 0


async def _run(screen: Screen, told: asyncio.Event, chosen: argparse.Namespace) -> None:
    opening = docker_stage if chosen.docker else local_stage
    async with opening(screen, chosen.port) as stage, watching(stage.registry) as states:
        showing = asyncio.create_task(_show(screen, stage, states, told, chosen))
        guarding = asyncio.create_task(stage.until_one_ends())
        try:
            await asyncio.wait({showing, guarding}, return_when=asyncio.FIRST_COMPLETED)
            for task in (guarding, showing):
                if task.done():
                    task.result()
        except StepFailedError as failed:
            # Where a program died, that is the reason, whichever step noticed it first: its sockets end before it does.
            await asyncio.sleep(0.3)
            reason = stage.ended_by_itself() or failed
            reason.add_note(stage.last_words())
            raise reason from None
        finally:
            for task in (showing, guarding):
                task.cancel()
            await asyncio.gather(showing, guarding, return_exceptions=True)


async def _show(screen: Screen, stage: Stage, states: States, told: asyncio.Event, chosen: argparse.Namespace) -> None:
    screen.title("Three applications, all asleep" + (", on etcd and Docker:" if chosen.docker else ":"))
    for name in _NAMES:
        screen.say(f"  {_url(name, stage):<32} {_WHAT[name]}")
    if chosen.story:
        screen.title("The story, by itself:")
        screen.begin()
        await Story(screen, states, stage.port).play()
    told.set()
    if not screen.interactive:
        screen.say()
        screen.say(
            ("Every step happened in its time. " if chosen.story else "") + "Without a terminal the demo ends here."
        )
        return
    _invite(screen, stage)
    states.listeners.append(lambda name, now, record: _tell(screen, name, now, record))
    await asyncio.Event().wait()  # until it is cancelled


def _invite(screen: Screen, stage: Stage) -> None:
    screen.title("Now you:")
    screen.say(
        f"  Open {_url('slow', stage)} in a browser, then {_url('chat', stage)}. Leave each alone for {IDLE:.0f} s."
    )
    screen.say(f"  curl -i -H 'Host: plain.localhost' http://127.0.0.1:{stage.port}/")
    screen.say(f"  curl -i -H 'Host: nobody.localhost' http://127.0.0.1:{stage.port}/")
    screen.say(f"  .venv/bin/gogeta tenants --registry {stage.registry}")
    screen.say(f"  .venv/bin/gogeta wake slow --registry {stage.registry}")
    screen.say(f"  curl http://127.0.0.1:{stage.admin}/metrics")
    screen.title("What happens, live (Ctrl-C ends the demo):")


def _tell(screen: Screen, name: str, now: str, record: TenantRecord) -> None:
    detail = ""
    if now == AWAKE and record.observed.phases:
        steps = ", ".join(f"{phase.name} {phase.ms:.0f} ms" for phase in record.observed.phases)
        detail = f" ({steps})"
    elif now == FAILED and record.observed.reason is not None:
        detail = f" ({record.observed.reason.message})"
    elif record.desired.cause is not None and now in ("waking", "starting", "being stopped"):
        detail = f" ({record.desired.cause.value})"
    screen.step(name, f"{now}{detail}", time_shown=time.strftime("%H:%M:%S"))


def _url(name: str, stage: Stage) -> str:
    return f"http://{name}.localhost:{stage.port}/"


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(Screen(), _arguments())))
