"""The parts that a process of ours plays for another one of ours, without a command line (``relaunch.py``)."""

from __future__ import annotations

from gogeta.kit import logs
from gogeta.kit.exits import run
from gogeta.workers import relaunch


def play() -> int:
    """Play the part that this process was started for; the exit status."""
    part, knowledge = relaunch.part(), relaunch.knowledge()
    try:
        if part == relaunch.WORKER:
            from gogeta.workers.worker import work  # noqa: PLC0415 - a supervisor needs none of the data plane

            return run(lambda: work(knowledge))
        from gogeta.workers.serving import resume  # noqa: PLC0415 - ditto, the other way round

        return run(lambda: resume(knowledge))
    finally:
        logs.shutdown()
