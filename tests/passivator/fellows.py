"""Several passivators on one stage: each a controller of its own that can be killed, frozen and thawed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from prometheus_client import CollectorRegistry

from gogeta.registry.store import Changes, Committed, Delete, Entry, Guard, Listing, Put, Refused
from passivator.controller import Controller
from passivator.meters import Meters
from passivator.process_mark import ThisProcess
from tests.passivator.stage import Faults, MortalStore, SimulatedDriver, Stage


class FreezingStore(MortalStore):
    """A store whose client may be frozen: what it had asked for is answered when it goes on, and not before."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.space, Faults())
        self.going = asyncio.Event()
        self.going.set()
        self.freeze_before = ""
        """Freeze at the first commit to a key that ends with this, before it is sent."""
        self.freeze_at_reads_of = ""
        """Freeze when the answer to a read of such a key has come, before it is looked at."""

    async def get(self, key: str) -> Entry | None:
        await self.going.wait()
        found = await super().get(key)
        if self.freeze_at_reads_of and key.endswith(self.freeze_at_reads_of):
            self.freeze_at_reads_of = ""
            self.going.clear()
        await self.going.wait()
        return found

    async def list(self, prefix: str) -> Listing:
        await self.going.wait()
        return await super().list(prefix)

    async def commit(self, operations: Sequence[Put | Delete], guards: Sequence[Guard] = ()) -> Committed | Refused:
        if self.freeze_before and any(operation.key.endswith(self.freeze_before) for operation in operations):
            self.freeze_before = ""
            self.going.clear()
        await self.going.wait()
        result = await super().commit(operations, guards)
        await self.going.wait()
        return result

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        async with aclosing(super().watch(prefix, after)) as changes:
            async for change in changes:
                await self.going.wait()
                yield change

    async def grant(self, ttl: float) -> int:
        await self.going.wait()
        return await super().grant(ttl)

    async def keep_alive(self, lease: int) -> bool:
        await self.going.wait()
        return await super().keep_alive(lease)


class Fellow:
    """One of several passivators."""

    def __init__(self, stage: Stage, name: str, *, identity: str = "stage", kind: str = "memory") -> None:
        self.stage, self.name = stage, name
        self.store = FreezingStore(stage)
        self.driver = NamedDriver(stage, self.store.faults, kind, identity, name)
        self.metrics = CollectorRegistry()
        self.controller = Controller(
            stage.settings,
            self.store,
            self.driver,
            # Of another machine: a successor cannot tell whether it lives.
            member=ThisProcess(name, f"machine-{name}", lambda _: False),
            listeners=(),
            meters=Meters(self.metrics, driver=kind),
            ready=lambda *_: None,
            labels=stage.labels,
        )
        self.task = asyncio.get_running_loop().create_task(self.controller.run())

    @property
    def leads(self) -> bool:
        """By its own word."""
        return self.metrics.get_sample_value("passivator_leader") == 1

    async def until_leads(self, within: float = 30.0) -> None:
        """Wait until it leads."""
        async with asyncio.timeout(within):
            while not self.leads:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.05)

    def freeze(self) -> None:
        """SIGSTOP: its calls are neither made nor answered, but those of the runtime that are on their way."""
        self.store.going.clear()

    def thaw(self) -> None:
        """SIGCONT."""
        self.store.going.set()

    async def kill(self) -> None:
        """SIGKILL."""
        self.store.unavailable = True
        self.store.faults.frozen.set()
        self.thaw()
        await self.end()

    async def end(self) -> None:
        """A clean end."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def calls(self, what: str, tenant: str) -> int:
        """How often this one asked the runtime for something."""
        return self.driver.made.count((what, tenant))


class NamedDriver(SimulatedDriver):
    """A driver of one of them, which remembers what it alone asked for."""

    def __init__(self, stage: Stage, faults: Faults, kind: str, identity: str, name: str) -> None:
        super().__init__(stage.runtime, faults, kind)
        self.identity, self.name = identity, name
        self.made: list[tuple[str, str]] = []

    async def _call(self, name: str, tenant: str = "") -> None:
        self.made.append((name, tenant))
        await super()._call(name, tenant)
