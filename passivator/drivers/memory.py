"""The driver contract on an engine in memory (``memory_engine.py``): for tests of everything above the drivers.

Runs any declaration that is not only routed, needs asyncio alone, and works on virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import DEFAULT_PORT, Tenant, TenantName, tenant_to_data
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import (
    NOTHING,
    PREFIX,
    Health,
    Machine,
    Runtime,
    RuntimeEvent,
    RuntimeUnavailableError,
    StartFailedError,
    Status,
    StopFailedError,
    unfenced,
)
from passivator.drivers.hints import Hints
from passivator.drivers.memory_engine import Box, EngineGone, EngineRefused, MemoryEngine

LIMIT: Final = 10.0
"""Seconds in which a call has to be answered, beyond what it may take by itself."""
_TENANT_LABEL: Final = f"{PREFIX}.tenant"


class MemoryDriver:
    """See the module. Several drivers may share one engine, as after a restart of passivator."""

    kind = "memory"

    def __init__(self, engine: MemoryEngine | None = None) -> None:
        """On a new engine of its own, or on one that other drivers have used."""
        self.fence = unfenced
        self.engine = MemoryEngine() if engine is None else engine
        self._hints = Hints()
        self._adopted: dict[str, TenantName] = {}
        self.engine.listeners.add(self._changed)

    def __repr__(self) -> str:
        """One line: its engine."""
        return f"<MemoryDriver on {self.engine!r}>"

    @contextlib.asynccontextmanager
    async def _asking(self, seconds: float = LIMIT) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise RuntimeUnavailableError(f"the engine did not answer in {seconds:g} s") from error
        except EngineGone as error:
            raise RuntimeUnavailableError(str(error)) from error

    async def open(self) -> None:
        """As the contract has it."""
        async with self._asking():
            await self.engine.answer()

    async def machine(self) -> Machine:
        """As the contract has it."""
        return Machine(identity=f"{id(self.engine):x}")

    async def resign(self) -> None:
        """As the contract has it: nothing is in anybody's way."""

    async def list(self) -> Mapping[TenantName, Runtime]:
        """As the contract has it."""
        async with self._asking():
            await self.engine.answer()
        return {name: _view(box, DEFAULT_PORT) for box in self.engine.boxes.values() if (name := self._name(box))}

    async def inspect(self, tenant: Tenant) -> Runtime:
        """As the contract has it."""
        async with self._asking():
            await self.engine.answer()
        box = self._known(tenant)
        return NOTHING if box is None else _view(box, tenant.port or DEFAULT_PORT)

    async def start(self, tenant: Tenant) -> Runtime:
        """As the contract has it; a start may take as long as its program's ``start_seconds``."""
        if tenant.routed_only:
            raise StartFailedError(ReasonCode.BAD_SPEC, f"{tenant.name} is only routed")
        program = self.engine.program(_box_name(tenant))
        try:
            async with self._asking(LIMIT + tenant.stop_grace + program.start_seconds):
                await self.engine.answer()
                box = self._box(tenant)
                if box is not None and box.killed_at is not None:
                    # The engine would answer at once, and it would die all the same.
                    await self.engine.ended(box.name)
                if box is not None and box.paused:
                    self.fence()
                    await self.engine.unpause(box.name)
                elif box is None or not box.running:
                    box = await self._prepare(tenant, box)
                    self.fence()
                    await self.engine.start(box.name)
        except EngineRefused as refused:
            raise StartFailedError(refused.code, str(refused)) from refused
        runtime = await self.inspect(tenant)
        if runtime.status is Status.EXITED and (failure := runtime.failure) is not None:
            raise StartFailedError(failure.code, failure.message)
        return runtime

    async def _prepare(self, tenant: Tenant, box: Box | None) -> Box:
        if _is_adopted(tenant):
            if box is None:
                raise StartFailedError(ReasonCode.CONTAINER_MISSING, f"there is no container for {tenant.name}")
            return box
        made_from = json.dumps([tenant_to_data(tenant).get(way) for way in ("docker", "process", "port")])
        if box is not None and box.made_from != made_from:
            self.fence()
            await self.engine.remove(box.name)
            box = None
        if box is None:
            self.fence()
            box = await self.engine.create(_box_name(tenant), made_from=made_from, labels={_TENANT_LABEL: tenant.name})
        return box

    async def stop(self, tenant: Tenant) -> Runtime:
        """As the contract has it."""
        box = self._known(tenant)
        async with self._asking(LIMIT + tenant.stop_grace):
            await self.engine.answer()
            if box is not None:
                if box.paused:
                    self.fence()
                    await self.engine.unpause(box.name)
                self.fence()
                await self.engine.stop(box.name, tenant.stop_grace)
        return await self.inspect(tenant)

    async def pause(self, tenant: Tenant) -> Runtime:
        """As the contract has it."""
        try:
            async with self._asking():
                box = self._known(tenant)
                self.fence()
                await self.engine.pause(_box_name(tenant) if box is None else box.name)
        except EngineRefused as refused:
            raise StopFailedError(str(refused)) from refused
        return await self.inspect(tenant)

    async def remove(self, name: TenantName) -> None:
        """As the contract has it, without a grace."""
        async with self._asking():
            self.fence()
            await self.engine.remove(f"{PREFIX}-{name}")

    async def cpu_seconds(self, tenant: Tenant) -> float | None:
        """As the contract has it, by its program's ``cpu``."""
        async with self._asking():
            await self.engine.answer()
        box = self._known(tenant)
        return None if box is None or not box.running else self.engine.cpu_seconds(box.name)

    async def logs(self, tenant: Tenant, lines: int = 100) -> str:
        """As the contract has it."""
        async with self._asking():
            await self.engine.answer()
        box = self._known(tenant)
        return "" if box is None or lines <= 0 else "\n".join(box.output[-lines:])

    async def follow(self, tenant: Tenant, lines: int = 100) -> AsyncGenerator[Sequence[str], None]:
        """As the contract has it; it looks twenty times a second."""
        async with self._asking():
            await self.engine.answer()
        box, place = self._known(tenant), 0
        if box is not None:
            place = max(len(box.output) - max(lines, 0), 0)
        while box is not None:
            if len(box.output) > place:
                found, place = list(box.output[place:]), len(box.output)
                yield found
            elif not box.running:
                return
            else:
                await asyncio.sleep(0.05)

    async def events(self) -> AsyncGenerator[RuntimeEvent, None]:
        """As the contract has it; ``cut_events`` and the engine's ``telling`` are its faults."""
        async with self._asking():
            await self.engine.answer()
        async with aclosing(self._hints.follow()) as hints:
            async for hint in hints:
                yield hint

    def cut_events(self) -> None:
        """The event streams break; new ones may be had at once."""
        self._hints.cut("the engine's event stream ended")

    @property
    def runtime_endpoints(self) -> tuple[Endpoint, ...]:
        """None."""
        return ()

    async def close(self) -> None:
        """As the contract has it: what runs in the engine runs on."""
        self.engine.listeners.discard(self._changed)

    def _changed(self, box: Box) -> None:
        name = self._name(box)
        if name is not None:
            self._hints.tell(name)

    def _name(self, box: Box) -> TenantName | None:
        labelled = box.labels.get(_TENANT_LABEL)
        return self._adopted.get(box.name) if labelled is None else TenantName(labelled)

    def _known(self, tenant: Tenant) -> Box | None:
        try:
            return self._box(tenant)
        except StartFailedError:
            return None  # a start says why

    def _box(self, tenant: Tenant) -> Box | None:
        if tenant.docker is not None and tenant.docker.label is not None:
            key, has_value, value = tenant.docker.label.partition("=")
            boxes = self.engine.boxes.values()
            found = [box for box in boxes if key in box.labels and (not has_value or box.labels[key] == value)]
            if len(found) > 1:
                raise StartFailedError(ReasonCode.BAD_SPEC, f"{len(found)} containers have the label")
            box = found[0] if found else None
        else:
            box = self.engine.boxes.get(_box_name(tenant))
        if box is not None and _is_adopted(tenant):
            self._adopted[box.name] = tenant.name
        return box


def _is_adopted(tenant: Tenant) -> bool:
    return tenant.docker is not None and tenant.docker.image is None


def _box_name(tenant: Tenant) -> str:
    if tenant.docker is not None and tenant.docker.container is not None:
        return tenant.docker.container
    return f"{PREFIX}-{tenant.name}"


def _view(box: Box, port: int) -> Runtime:
    if not box.running:
        return Runtime(
            status=Status.EXITED,
            instance=box.instance,
            exit_code=box.exit_code,
            out_of_memory=box.out_of_memory,
            message="\n".join(box.output[-10:]),
        )
    status = Status.STOPPING if box.killed_at is not None else Status.PAUSED if box.paused else Status.RUNNING
    health = Health.NONE if box.healthy is None else Health.HEALTHY if box.healthy else Health.UNHEALTHY
    return Runtime(status=status, instance=box.instance, endpoints=(Endpoint(box.address, port),), health=health)
