"""The Docker driver: a tenant is a container with a network of its own.

What is made, and with which limits, is in ``docker_spec.py``; how the engine's words are read in ``docker_view.py``;
the engine itself is behind ``docker_engine.py``. Here is what the engine does not do by itself: one effective start,
also while a stop is under way, and everything said read anew. Must not know the registry, desired states or policies.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import DEFAULT_PORT, DockerSpec, Tenant, TenantName
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import (
    NOTHING,
    Machine,
    Runtime,
    RuntimeEvent,
    RuntimeUnavailableError,
    StartFailedError,
    Status,
    StopFailedError,
    unfenced,
)
from passivator.drivers.compose_labels import PROJECT_LABEL
from passivator.drivers.docker_container import Containers
from passivator.drivers.docker_engine import Engine, Refused
from passivator.drivers.docker_group import Groups
from passivator.drivers.docker_networks import Networks
from passivator.drivers.docker_spec import (
    SPEC_LABEL,
    TENANT_LABEL,
    container_config,
    container_port,
    object_name,
    stop_seconds,
)
from passivator.drivers.docker_view import instance_of, refused_create, tenant_of, unexpected_end, view
from passivator.drivers.output import Lines

_PARALLEL: Final = 8
"""Most inspections at a time while everything is listed."""
_MAX_LINES: Final = 10_000
_SHOWN_LINES: Final = 10
_SHARE_OF_MEMORY: Final = 0.8
"""Part of the engine's memory that tenants may have: the host needs some too."""

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class DockerDriver:
    """See the module. Containers outlive it: what it started is found again by its labels."""

    kind = "docker"

    def __init__(self, url: str, *, reach: str = "auto", engine: Engine | None = None) -> None:
        """``url`` as ``docker_host``, ``reach`` as ``docker_reach`` (see the settings).

        ``engine``: another way to the engine than ``url``.
        """
        self.fence = unfenced
        self._engine = engine if engine is not None else Engine(url)
        self._networks = Networks(self._engine, reach)
        self._adopted: dict[TenantName, tuple[DockerSpec, str]] = {}
        """Adopted by declaration: how, and the id it had when it was last looked at. Only events need it."""
        self._containers = Containers(self._engine, self._ask_fence)
        self._groups = Groups(self._engine, self._containers)

    def __repr__(self) -> str:
        """One line: which engine."""
        return f"<DockerDriver {self._engine.url}>"

    def _ask_fence(self) -> None:
        # The fence is another in each term of leading.
        self.fence()

    async def open(self) -> None:
        """Reach the engine. Raises RuntimeUnavailableError."""
        try:
            await self._engine.ping()
        except Refused as refused:
            raise RuntimeUnavailableError(f"the Docker engine refused us: {refused}") from refused

    async def machine(self) -> Machine:
        """As the contract has it, in the engine's own words."""
        try:
            info = await self._engine.info()
        except Refused as refused:
            raise RuntimeUnavailableError(f"the Docker engine refused us: {refused}") from refused
        # Two engines of one host may share an id, and copies of a machine do; an engine has a folder to itself.
        known = f"{info.get('ID', '')}|{info.get('DockerRootDir', '')}"
        total = info.get("MemTotal") or 0
        return Machine(
            identity=hashlib.sha256(known.encode()).hexdigest()[:12],
            memory=int(total * _SHARE_OF_MEMORY) if total else None,
        )

    async def resign(self) -> None:
        """As the contract has it: containers are in nobody's way."""

    # ------------------------------------------------------------------------------------------------------ looking

    async def list(self) -> Mapping[TenantName, Runtime]:
        """All containers that have our label. Their messages are left out: reading logs takes long."""
        found: dict[TenantName, Json] = {}
        turns = asyncio.Semaphore(_PARALLEL)

        async def look(container: str) -> None:
            async with turns:
                seen = await self._engine.inspect(container)
            name = None if seen is None else tenant_of(seen["Config"]["Labels"])
            # Two may have the label when an operator gave it to one: ours counts.
            if seen is not None and name is not None and (name not in found or _is_ours(seen, name)):
                found[name] = seen

        await asyncio.gather(*(look(container) for container in await self._engine.labelled(TENANT_LABEL)))
        return {
            name: view(seen, port=_declared_port(seen), stopping=self._containers.is_stopping(seen))
            for name, seen in found.items()
        }

    async def inspect(self, tenant: Tenant) -> Runtime:
        """As the contract has it."""
        if (spec := _grouped(tenant)) is not None:
            self._adopted[tenant.name] = (spec, "")
            return await self._groups.inspect(tenant, spec)
        seen = await self._known(tenant)
        return (
            NOTHING if seen is None else await self._runtime(tenant, seen, stopping=self._containers.is_stopping(seen))
        )

    async def _runtime(self, tenant: Tenant, seen: Json, *, stopping: bool = False) -> Runtime:
        port = container_port(tenant)
        runtime = view(seen, port=port, stopping=stopping)
        if unexpected_end(runtime):
            return view(seen, port=port, message=(await self._engine.logs(seen["Id"], _SHOWN_LINES)).strip())
        return runtime

    async def _known(self, tenant: Tenant) -> Json | None:
        """Its container; None where none can be said to be."""
        try:
            return await self._find(tenant)
        except StartFailedError:
            return None  # a start says why

    async def _find(self, tenant: Tenant) -> Json | None:
        """Its container. StartFailedError where one is in the way, or several fit the label that it is adopted by."""
        spec = _spec(tenant)
        if spec.image is not None:
            seen = await self._engine.inspect(object_name(tenant.name))
            if seen is not None and not _is_ours(seen, tenant.name):
                raise StartFailedError(
                    ReasonCode.BAD_SPEC,
                    f"there is a container {object_name(tenant.name)} that was not made for this tenant",
                    hint="rename or remove it",
                )
            return seen
        if spec.container is not None:
            seen = await self._engine.inspect(spec.container)
        else:
            labelled = await self._engine.labelled(spec.label or "")
            if len(labelled) > 1:
                raise StartFailedError(
                    ReasonCode.BAD_SPEC, f"{len(labelled)} containers have the label {spec.label}; one is expected"
                )
            seen = await self._engine.inspect(labelled[0]) if labelled else None
        self._adopted[tenant.name] = (spec, "" if seen is None else seen["Id"])
        return seen

    # ----------------------------------------------------------------------------------------------- starting, stopping

    async def start(self, tenant: Tenant) -> Runtime:
        """As the contract has it."""
        spec = _spec(tenant)
        if spec.compose is not None:
            self._adopted[tenant.name] = (spec, "")
            return await self._groups.start(tenant, spec)
        seen = await self._find(tenant)
        if seen is not None:
            seen = await self._containers.settled(seen, tenant.stop_grace, lambda: self._find(tenant))
        if seen is not None and spec.image is None:
            await self._containers.left_alone(seen)
            seen = await self._find(tenant)
        if seen is not None and seen["State"]["Paused"]:
            await self._containers.thaw(seen["Id"])
            return await self.inspect(tenant)
        if seen is not None and seen["State"]["Running"]:
            return await self._runtime(tenant, seen)
        container, before = await self._prepare(tenant, spec, seen)
        runtime = await self._runtime(tenant, await self._containers.start(container, before))
        if runtime.status is Status.EXITED and (failure := runtime.failure) is not None:
            raise StartFailedError(failure.code, failure.message)
        return runtime

    async def _prepare(self, tenant: Tenant, spec: DockerSpec, seen: Json | None) -> tuple[str, str]:
        """A container that only has to be started, and the instance of its last start."""
        if spec.image is None:
            if seen is None:
                how = f"called {spec.container}" if spec.container else f"with the label {spec.label}"
                raise StartFailedError(ReasonCode.CONTAINER_MISSING, f"there is no container {how}")
            return seen["Id"], instance_of(seen)
        try:
            network = await self._networks.ensure(tenant, spec)
            config = container_config(tenant, spec, publish=not network.reachable)
            if seen is not None and seen["Config"]["Labels"].get(SPEC_LABEL) == config["Labels"][SPEC_LABEL]:
                await self._networks.attach(network, seen)
                return seen["Id"], instance_of(seen)
            if seen is not None:
                logger.info("%s was declared anew: its container is made again", tenant.name)
                self.fence()
                await self._engine.remove(seen["Id"])
            self.fence()
            return await self._engine.create(object_name(tenant.name), config), ""
        except Refused as refused:
            # Without a container its network would be nobody's.
            await self._networks.remove(tenant.name)
            raise refused_create(refused.status, refused.message) from refused

    async def stop(self, tenant: Tenant) -> Runtime:
        """As the contract has it; grace times are rounded up to whole seconds."""
        if (spec := _grouped(tenant)) is not None:
            return await self._groups.stop(tenant, spec)
        seen = await self._known(tenant)
        if seen is not None and seen["State"]["Running"]:
            seen = await self._containers.stop(seen, stop_seconds(tenant.stop_grace))
        return NOTHING if seen is None else await self._runtime(tenant, seen)

    async def pause(self, tenant: Tenant) -> Runtime:
        """As the contract has it, by the kernel's freezer."""
        if (spec := _grouped(tenant)) is not None:
            return await self._groups.pause(tenant, spec)
        seen = await self._known(tenant)
        if seen is None:
            raise StopFailedError(f"{tenant.name} has no container, so it cannot be paused")
        if not seen["State"]["Paused"]:
            await self._containers.pause(seen)
        return await self.inspect(tenant)

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        """As the contract has it, by its cgroup, which the engine reads."""
        if (spec := _grouped(tenant)) is not None:
            return await self._groups.cpu_seconds(spec)
        seen = await self._known(tenant)
        return None if seen is None or not seen["State"]["Running"] else await self._engine.cpu_seconds(seen["Id"])

    async def remove(self, name: TenantName) -> None:
        """As the contract has it; its grace is the one its container was made with."""
        self._adopted.pop(name, None)
        seen = await self._engine.inspect(object_name(name))
        if seen is not None and _is_ours(seen, name):
            if seen["State"]["Running"]:
                await self._containers.stop(seen, seen["Config"].get("StopTimeout") or 0)
            self.fence()
            await self._engine.remove(seen["Id"])
        await self._networks.remove(name)

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        """As the contract has it; at most 10 000 lines."""
        lines = min(max(lines, 0), _MAX_LINES)
        if (spec := _grouped(tenant)) is not None:
            return await self._groups.logs(spec, lines)
        seen = await self._known(tenant)
        return "" if seen is None else await self._engine.logs(seen["Id"], lines)

    async def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        """As the contract has it."""
        lines = min(max(lines, 0), _MAX_LINES)
        if (spec := _grouped(tenant)) is not None:
            async with aclosing(self._groups.follow(spec, lines)) as portions:
                async for portion in portions:
                    yield portion
            return
        seen = await self._known(tenant)
        if seen is None:
            return
        whole = Lines()
        async with aclosing(self._engine.follow(seen["Id"], lines)) as pieces:
            async for piece in pieces:
                if found := whole.take(piece):
                    yield found
        if rest := whole.end():
            yield rest

    # ----------------------------------------------------------------------------------------------------------- events

    async def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        """As the contract has it. Of adopted containers, those that were looked at since this driver was made."""
        try:
            async with aclosing(self._engine.events()) as events:
                async for event in events:
                    if event is None:
                        yield RuntimeEvent()
                        continue
                    for name in self._concerned(event):
                        yield RuntimeEvent(name)
        except Refused as refused:
            raise RuntimeUnavailableError(f"the Docker engine refused its events: {refused}") from refused

    def _concerned(self, event: Json) -> set[TenantName]:
        """The tenants that an event may be about."""
        actor = event.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        self._containers.heard(event)
        named = tenant_of(attributes)
        return ({named} if named is not None else set()) | {
            name
            for name, (spec, container) in self._adopted.items()
            if actor.get("ID") == container
            or attributes.get("name") == spec.container
            or (spec.label is not None and _has(attributes, spec.label))
            or (spec.compose is not None and attributes.get(PROJECT_LABEL) == spec.compose)
        }

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        """The engine's API, where it is TCP."""
        parts = urlsplit(self._engine.url)
        return (Endpoint(parts.hostname, parts.port),) if parts.hostname and parts.port else ()

    async def close(self) -> None:
        """As the contract has it: containers run on."""
        await self._engine.close()


def _spec(tenant: Tenant) -> DockerSpec:
    if tenant.docker is None:
        raise StartFailedError(ReasonCode.BAD_SPEC, "the Docker driver runs only tenants that declare `docker`")
    return tenant.docker


def _grouped(tenant: Tenant) -> DockerSpec | None:
    """Its declaration, where it is several containers."""
    return tenant.docker if tenant.docker is not None and tenant.docker.compose is not None else None


def _is_ours(seen: Json, name: TenantName) -> bool:
    labels = seen["Config"]["Labels"] or {}
    return seen["Name"] == f"/{object_name(name)}" and labels.get(TENANT_LABEL) == name and SPEC_LABEL in labels


def _has(attributes: Json, label: str) -> bool:
    key, has_value, value = label.partition("=")
    return key in attributes and (not has_value or attributes[key] == value)


def _declared_port(seen: Json) -> int:
    """The port that the container was made with: one that we made exposes its own first of all."""
    for port in seen["Config"].get("ExposedPorts") or {}:
        number, _, protocol = port.partition("/")
        if protocol == "tcp" and number.isdigit():
            return int(number)
    return DEFAULT_PORT
