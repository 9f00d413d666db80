"""Several containers of one Compose project driven as one tenant: in the order of their dependencies, and back.

Which order that is, and what the containers are together, is ``compose_project.py``'s; one container's start and stop
are ``docker_container.py``'s. Here is the waiting between them, every wait with an end: a start as a whole has the time
that the tenant has to become ready. Containers are never made or removed: they are Compose's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeVar

from gogeta.domain.quantities import format_duration
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import DockerSpec, Tenant
from gogeta.kit.tasks import Tasks
from passivator.drivers.base import Runtime, RuntimeUnavailableError, StartFailedError, Status, StopFailedError
from passivator.drivers.compose_labels import PROJECT_LABEL, Condition
from passivator.drivers.compose_project import Project, culprit, read_project, view_project
from passivator.drivers.docker_container import Containers
from passivator.drivers.docker_engine import Engine
from passivator.drivers.docker_spec import container_port, stop_seconds
from passivator.drivers.docker_view import instance_of, unexpected_end, view
from passivator.drivers.output import Lines

_PARALLEL: Final = 8
_SHOWN_LINES: Final = 10
_AHEAD: Final = 16
"""Portions of output that are read before somebody has taken them."""
_FIRST_LOOK: Final = 0.05
_LONGEST_LOOK: Final = 0.5
"""Seconds between looks at a container that others wait for; events would say no more than a look does."""

Json = dict[str, Any]

T = TypeVar("T")


class Groups:
    """The Compose projects of one engine."""

    def __init__(self, engine: Engine, containers: Containers) -> None:
        """Both are used and not owned."""
        self._engine = engine
        self._containers = containers

    def __repr__(self) -> str:
        """One line: where."""
        return f"<Groups of {self._engine!r}>"

    async def _project(self, spec: DockerSpec) -> Project:
        """The project as it is now; one without containers where there is none."""
        name, turns = spec.compose or "", asyncio.Semaphore(_PARALLEL)

        async def look(container: str) -> Json | None:
            async with turns:
                return await self._engine.inspect(container)

        found = await asyncio.gather(*(look(each) for each in await self._engine.labelled(f"{PROJECT_LABEL}={name}")))
        return read_project(name, spec.service or "", (seen for seen in found if seen is not None))

    def _view(self, tenant: Tenant, project: Project) -> Runtime:
        return view_project(project, port=container_port(tenant), is_stopping=self._containers.is_stopping)

    async def inspect(self, tenant: Tenant, spec: DockerSpec) -> Runtime:
        """As the contract has it."""
        project = await self._project(spec)
        runtime = self._view(tenant, project)
        ended = culprit(project)
        if ended is None or runtime.status not in (Status.EXITED, Status.BROKEN) or not runtime.instance:
            return runtime
        service, seen = ended
        return _with_words(runtime, service, await self._last_words(seen))

    async def _last_words(self, seen: Json) -> str:
        ended = view(seen, port=0)
        return (await self._engine.logs(seen["Id"], _SHOWN_LINES)).strip() if unexpected_end(ended) else ended.message

    # ------------------------------------------------------------------------------------------ starting

    async def start(self, tenant: Tenant, spec: DockerSpec) -> Runtime:
        """As the contract has it: each service when what it depends on is as it has to be."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + tenant.ready.timeout
        project = await self._project(spec)
        if not project.services:
            raise StartFailedError(
                ReasonCode.CONTAINER_MISSING,
                f"the Compose project {project.name} has no containers",
                hint="`docker compose up --no-start` makes them",
            )
        await _each(project.containers, lambda seen: self._settle(seen, tenant.stop_grace))
        project = await self._project(spec)
        paused = [seen for seen in project.containers if seen["State"]["Paused"]]
        if paused:
            await _each(paused, lambda seen: self._containers.thaw(seen["Id"]))
            project = await self._project(spec)
        if (runtime := self._view(tenant, project)).status is Status.RUNNING:
            return runtime
        if project.problem:
            raise StartFailedError(ReasonCode.BAD_SPEC, f"the Compose project {project.name}: {project.problem}")
        for wave in project.waves:
            await _each(wave, lambda service: self._bring_up(project, service, deadline, tenant.ready.timeout))
        runtime = await self.inspect(tenant, spec)
        if runtime.status is not Status.RUNNING and (failure := runtime.failure) is not None:
            raise StartFailedError(failure.code, failure.message)
        return runtime

    async def _settle(self, seen: Json, grace: float) -> None:
        found = await self._containers.settled(seen, grace, lambda: self._engine.inspect(seen["Id"]))
        if found is not None:
            await self._containers.left_alone(found)

    async def _bring_up(self, project: Project, service: str, deadline: float, limit: float) -> None:
        for other, condition in project.needs.get(service, {}).items():
            for seen in project.services[other]:
                await self._until(seen, other, condition, deadline, limit)
        for seen in project.services[service]:
            if not seen["State"]["Running"]:
                await self._containers.start(seen["Id"], instance_of(seen))

    async def _until(self, seen: Json, service: str, condition: Condition, deadline: float, limit: float) -> None:
        """Wait until a container is as others need it. StartFailedError when it is not in time, or never will be."""
        loop, pause = asyncio.get_running_loop(), _FIRST_LOOK
        while not await self._is_as_needed(seen["Id"], service, condition):
            if loop.time() + pause >= deadline:
                wanted = {Condition.HEALTHY: "healthy", Condition.COMPLETED: "done"}.get(condition, "up")
                raise StartFailedError(
                    ReasonCode.NOT_READY,
                    f"service {service} was not {wanted} within {format_duration(limit)} of the start",
                    hint="`ready: {timeout: ...}` is the time that all of its services have together",
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)

    async def _is_as_needed(self, container: str, service: str, condition: Condition) -> bool:
        seen = await self._engine.inspect(container)
        if seen is None:
            raise StartFailedError(ReasonCode.CONTAINER_MISSING, f"the container of service {service} is gone")
        state = seen["State"]
        if not state["Running"]:
            if condition is Condition.COMPLETED and state["ExitCode"] == 0:
                return True
            runtime = _with_words(view(seen, port=0), service, await self._last_words(seen))
            failure = runtime.failure
            raise StartFailedError(
                failure.code if failure is not None else ReasonCode.EXITED,
                failure.message if failure is not None else f"service {service} does not run",
            )
        if condition is not Condition.HEALTHY:
            return condition is Condition.STARTED
        health = (state.get("Health") or {}).get("Status", "none")
        if health == "none":
            raise StartFailedError(
                ReasonCode.BAD_SPEC,
                f"service {service} has no health check, and others wait until it is healthy",
                hint="give it a `healthcheck`, or wait for `service_started`",
            )
        if health == "unhealthy":
            raise StartFailedError(ReasonCode.UNHEALTHY, f"service {service}: its health check fails")
        return bool(health == "healthy")

    # ------------------------------------------------------------------------------------------ stopping

    async def stop(self, tenant: Tenant, spec: DockerSpec) -> Runtime:
        """As the contract has it: what depends on others before them; each container has the tenant's grace."""
        grace = stop_seconds(tenant.stop_grace)
        project = await self._project(spec)
        for wave in reversed(project.waves):
            running = [seen for service in wave for seen in project.services[service] if seen["State"]["Running"]]
            await _each(running, lambda seen: self._containers.stop(seen, grace))
        return await self.inspect(tenant, spec)

    async def pause(self, tenant: Tenant, spec: DockerSpec) -> Runtime:
        """As the contract has it: all that runs, who answers first."""
        project = await self._project(spec)
        running = [seen for seen in project.containers if seen["State"]["Running"]]
        if not running:
            raise StopFailedError(f"nothing of {tenant.name} runs, so it cannot be paused")
        for seen in reversed(running):
            if not seen["State"]["Paused"]:
                await self._containers.pause(seen)
        return await self.inspect(tenant, spec)

    # ------------------------------------------------------------------------------------------ looking

    async def cpu_seconds(self, spec: DockerSpec) -> float | None:
        """As the contract has it: all containers together."""
        project = await self._project(spec)
        running = [seen for seen in project.containers if seen["State"]["Running"]]
        used = await asyncio.gather(*(self._engine.cpu_seconds(seen["Id"]) for seen in running))
        known = [seconds for seconds in used if seconds is not None]
        return sum(known) if known else None

    async def logs(self, spec: DockerSpec, lines: int) -> str:
        """The last lines of each service, with its name before each; who answers last."""
        project = await self._project(spec)
        told: list[str] = []
        for wave in project.waves:
            for service in wave:
                for seen in project.services[service]:
                    words = await self._engine.logs(seen["Id"], lines)
                    told.extend(f"{service} | {line}" for line in words.splitlines())
        return "\n".join(told[-lines:] if lines else ())

    async def follow(self, spec: DockerSpec, lines: int) -> AsyncGenerator[Sequence[str], None]:
        """The last lines of each service and what all of them write, with its name before each; until none runs."""
        project = await self._project(spec)
        sources = [(service, seen["Id"]) for service, found in project.services.items() for seen in found]
        coming: asyncio.Queue[list[str] | RuntimeUnavailableError | None] = asyncio.Queue(_AHEAD)
        async with Tasks(f"logs of Compose project {project.name}") as tasks:
            for service, container in sources:
                tasks.start(self._read(container, lines, service, coming), service)
            left = len(sources)
            while left:
                portion = await coming.get()
                if isinstance(portion, RuntimeUnavailableError):
                    raise portion
                if portion is None:
                    left -= 1
                else:
                    yield portion

    async def _read(
        self,
        container: str,
        lines: int,
        service: str,
        coming: asyncio.Queue[list[str] | RuntimeUnavailableError | None],
    ) -> None:
        whole = Lines()
        try:
            async with aclosing(self._engine.follow(container, lines)) as pieces:
                async for piece in pieces:
                    if found := whole.take(piece):
                        await coming.put([f"{service} | {line}" for line in found])
        except RuntimeUnavailableError as error:
            await coming.put(error)
            return
        if rest := whole.end():
            await coming.put([f"{service} | {line}" for line in rest])
        await coming.put(None)


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Do it for all at the same time; when all have ended, raise the first error."""
    ended = await asyncio.gather(*(work(item) for item in items), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error


def _with_words(runtime: Runtime, service: str, words: str) -> Runtime:
    return replace(runtime, message=f"service {service}: {words}" if words else f"service {service}")
