"""``POST /api/v1/tenants/NAME/ACTION``: wake, sleep, stop, start, restart.

Each changes what the tenant should be, as the commands of that name do, and passivator carries it out. ``?wait=`` waits
a bounded time for that. A restart is a stop, and a start once it has stopped: what of it is under way ends with this
process at the latest, by the start.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from aiohttp import web

from gogeta.api.problems import NO_STORE, ApiError, Code
from gogeta.api.representations import summary_data
from gogeta.api.requests import MAX_WAIT, no_body, tenant_name, wait_of
from gogeta.api.tenants import Tenants
from gogeta.domain.errors import GogetaError
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.outcomes import Failed, Gone, Outcome, Overtaken, Pending, Reached, judge
from gogeta.registry.registry import DesiredChange, Registry

logger = logging.getLogger(__name__)

CAUSES: Final = {"wake": Cause.WAKE, "sleep": Cause.SLEEP, "stop": Cause.STOP, "start": Cause.START}
MAX_RESTARTS: Final = 64
"""Most restarts under way at once."""
MAX_WAITING: Final = 256
"""Most requests that wait for a tenant at once."""


class Actions:
    """The handlers (see the module's docstring)."""

    def __init__(self, registry: Registry, mirror: TenantMirror, tenants: Tenants, tasks: Tasks) -> None:
        """All are used and not owned; ``tasks`` runs restarts."""
        self._registry = registry
        self._mirror = mirror
        self._tenants = tenants
        self._tasks = tasks
        self._restarting: set[str] = set()
        self._waiting = 0

    def handler(self, action: str) -> Any:  # noqa: ANN401 - a handler, whose type aiohttp has
        """The handler of one action, by its name in ``CAUSES``."""
        cause = CAUSES[action]

        async def handle(request: web.Request) -> web.Response:
            name, seconds = await self._asked(request)
            record, _ = await self._registry.look_up(name)
            asked = await self._ask(record, cause)
            return await self._answer(action, name, asked, seconds)

        return handle

    async def restart(self, request: web.Request) -> web.Response:
        """Stop it, and start it again."""
        name, seconds = await self._asked(request)
        record, _ = await self._registry.look_up(name)
        if name in self._restarting:
            raise ApiError(409, Code.OVERTAKEN, f"tenant {name!r} is being restarted already", hint="wait for that")
        if len(self._restarting) >= MAX_RESTARTS:
            raise ApiError(
                503, Code.TOO_MANY, f"{MAX_RESTARTS} restarts are under way already", headers={"Retry-After": "5"}
            )
        stopping = await self._ask(record, Cause.STOP)
        self._restarting.add(name)
        work = self._tasks.start(self._start_again(name, stopping), f"restart {name}")
        work.add_done_callback(lambda _: self._restarting.discard(name))
        if not seconds:
            return self._told("restart", name, stopping, Pending(record), 202)
        began = asyncio.get_running_loop().time()
        done, _ = await asyncio.wait((work,), timeout=seconds)
        if not done:
            return self._told("restart", name, stopping, Pending(record), 202)
        left = max(0.0, seconds - (asyncio.get_running_loop().time() - began))
        return await self._answer("restart", name, work.result(), left)

    async def _start_again(self, name: str, stopping: DesiredChange) -> DesiredChange:
        """The second half of a restart. Raises ApiError when somebody wants something else of it meanwhile."""
        try:
            outcome = await self._wait(name, stopping, MAX_WAIT, bounded=False)
        except asyncio.CancelledError:
            # We end: what was stopped only to be started again must not stay stopped.
            await self._registry.change_desired(name, Cause.START)
            raise
        if isinstance(outcome, Overtaken | Gone):
            raise _refusal(name, outcome)
        if not isinstance(outcome, Reached):
            logger.warning("tenant %s did not stop for its restart; it is to be started again all the same", name)
        try:
            # A wish of its own: what is there may be an older wish to start it.
            return await self._registry.change_desired(name, Cause.START, renew=True)
        except GogetaError as error:
            logger.warning("tenant %s was stopped to be restarted, and cannot be started: %s", name, error)
            raise

    async def _asked(self, request: web.Request) -> tuple[str, float]:
        seconds = wait_of(request)
        await no_body(request)
        return tenant_name(request), seconds

    async def _ask(self, record: TenantRecord, cause: Cause) -> DesiredChange:
        name, observed = record.name, record.observed.state
        if record.tenant.routed_only:
            raise ApiError(
                409,
                Code.ROUTED_ONLY,
                f"tenant {name!r} is routed only: somebody else runs its upstreams",
                hint="there is nothing here to start or to stop",
            )
        # Asked for again after a failure, it is worth another try now; paused, it is not yet as asleep as is meant.
        failed = observed is Observed.FAILED and cause in (Cause.WAKE, Cause.START)
        paused = observed is Observed.PAUSED and cause is Cause.SLEEP
        return await self._registry.change_desired(name, cause, renew=failed or paused)

    async def _answer(self, action: str, name: str, asked: DesiredChange, seconds: float) -> web.Response:
        await self._tenants.caught_up(asked.revision)
        outcome = await self._wait(name, asked, seconds)
        if isinstance(outcome, Failed | Overtaken | Gone) and seconds:
            raise _refusal(name, outcome)
        return self._told(action, name, asked, outcome, 200 if isinstance(outcome, Reached) else 202)

    async def _wait(self, name: str, asked: DesiredChange, seconds: float, *, bounded: bool = True) -> Outcome | None:
        """What became of it, ``seconds`` later at the latest; None when our copy has not heard of it."""
        key = TenantName(name)
        if not seconds:
            return self._judged(key, asked)
        if bounded and self._waiting >= MAX_WAITING:
            raise ApiError(
                503,
                Code.TOO_MANY,
                f"it was asked for, but {MAX_WAITING} requests wait already",
                hint="ask without wait, and look at the tenant or at the events",
                headers={"Retry-After": "5"},
            )
        changed = asyncio.Event()
        end = self._mirror.subscribe(lambda other, _, __: changed.set() if other == key else None)
        self._waiting += 1
        outcome = self._judged(key, asked)
        try:
            async with asyncio.timeout(seconds):
                while outcome is None or isinstance(outcome, Pending):
                    changed.clear()
                    await changed.wait()
                    outcome = self._judged(key, asked)
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
            end()
        return outcome

    def _judged(self, name: TenantName, asked: DesiredChange) -> Outcome | None:
        record = self._mirror.records.get(name)
        if record is None and self._mirror.source.revision < asked.revision:
            # Our copy has not heard of it yet.
            return None
        return judge(record, asked)

    def _told(self, action: str, name: str, asked: DesiredChange, outcome: Outcome | None, status: int) -> web.Response:
        record = self._mirror.records.get(TenantName(name))
        wanted = Desired.STARTED if action == "restart" else asked.desired.state
        return web.json_response(
            {
                "name": name,
                "action": action,
                "desired": wanted.value,
                "changed": asked.changed,
                "reached": isinstance(outcome, Reached),
                "tenant": None if record is None else summary_data(record),
            },
            status=status,
            headers=NO_STORE,
        )


def _refusal(name: str, outcome: Failed | Overtaken | Gone) -> ApiError:
    match outcome:
        case Failed(reason):
            why = f"{reason.code.value}: {reason.message}" if reason is not None else "the reason is not known"
            return ApiError(
                409,
                Code.FAILED,
                f"tenant {name!r} failed: {why}",
                hint="its timeline and its logs say more; the same action tries again",
            )
        case Overtaken(record):
            return ApiError(
                409,
                Code.OVERTAKEN,
                f"tenant {name!r} is to be {record.desired.state.value} by now: {record.desired.by} said so",
                hint="look at it, and decide again",
            )
        case Gone():
            return ApiError(404, Code.NO_SUCH_TENANT, f"tenant {name!r} was removed meanwhile")
