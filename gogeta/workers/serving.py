"""`gogeta serve`, whichever part this process has in it.

With one worker there is one process, which serves by itself; the first time that a new version takes over, it stays
for as long as its own visitors need it, and then becomes the supervisor of its successor. With more workers it is a
supervisor from the start. Either way the process that was started first stays the same one to whoever started it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gogeta import __version__
from gogeta.kit import logs
from gogeta.kit.activation import ActivationError, passed_sockets
from gogeta.kit.channel import Channel
from gogeta.kit.listening import adopt
from gogeta.kit.log_levels import level_signals
from gogeta.kit.signals import hangups, stop_signals
from gogeta.kit.tasks import Tasks
from gogeta.net.access_log import check_access_log
from gogeta.settings import ADMIN, HTTP, LISTENERS, UNNAMED, ServeSettings
from gogeta.workers import relaunch
from gogeta.workers.crew import SINGLE
from gogeta.workers.listeners import Listeners
from gogeta.workers.plan import Plan
from gogeta.workers.supervising import Supervising
from gogeta.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)


def run(settings: ServeSettings) -> int:
    """Serve until SIGTERM or SIGINT; 0 when everything in flight had finished, 1 when some was cut.

    Raises AddressTakenError, which names the setting, and ActivationError.
    """
    if settings.tls_cert or settings.tls_key or settings.tls_dir or settings.tls_listen is not None:
        from gogeta.net.certificates import Certificates  # noqa: PLC0415 - as below

        # What cannot be served is said before anybody is started, or asked to make room.
        Certificates.of(settings)
    if settings.pages:
        from gogeta.net.theming import Theming  # noqa: PLC0415 - as below

        Theming.of(settings)
    check_access_log(settings)
    if settings.tracing:
        from gogeta.kit.tracing import require_opentelemetry  # noqa: PLC0415 - as above

        require_opentelemetry()
    plan = Plan.of(settings)
    if relaunch.part() == relaunch.SETTINGS:
        Channel(adopt(relaunch.knowledge()["channel"])).send(plan.message())
        return 0
    passed = passed_sockets(LISTENERS, UNNAMED)
    if unwanted := set(passed) - {name for name, *_ in plan.listeners}:
        raise ActivationError(
            f"the service manager passed a socket named {', '.join(sorted(unwanted))!r}, and there is no such listener",
            hint="name its address with --tls-listen HOST:PORT, with a certificate",
        )
    given = Listeners.given(passed)
    listeners = given.follow(plan.listeners, plan.workers, SINGLE)
    if plan.workers == 1:
        from gogeta.workers.one import run_one  # noqa: PLC0415 - a supervisor has none of the data plane in memory

        return run_one(settings, plan, listeners)
    logger.info(
        "serving on %s with %d workers, admin on %s", listeners[HTTP].endpoint, plan.workers, listeners[ADMIN].endpoint
    )
    return asyncio.run(_several(settings, plan, listeners))


def resume(knowledge: dict[str, Any]) -> int:
    """Go on as the supervisor of workers that run already; as ``run``."""
    settings = Plan.told(knowledge["plan"]).read()
    logs.setup(settings.log_level, settings.log_format, "gogeta")
    return asyncio.run(_resumed(settings, knowledge))


async def _several(settings: ServeSettings, plan: Plan, listeners: Listeners) -> int:
    async with Tasks("gogeta") as tasks:
        supervisor = Supervisor(plan, listeners, tasks)
        with stop_signals(supervisor.kill) as stop, hangups(stop) as hangup, level_signals(supervisor.set_log_levels):
            supervisor.start()
            return await Supervising(supervisor, settings, tasks, stop, hangup).run()


async def _resumed(settings: ServeSettings, knowledge: dict[str, Any]) -> int:
    async with Tasks("gogeta") as tasks:
        supervisor = Supervisor.told(knowledge, tasks)
        with stop_signals(supervisor.kill) as stop, hangups(stop) as hangup, level_signals(supervisor.set_log_levels):
            if knowledge["again"]:
                hangup.set()
            logger.info("version %s supervises %d workers", __version__, supervisor.plan.workers)
            return await Supervising(supervisor, settings, tasks, stop, hangup).run()
