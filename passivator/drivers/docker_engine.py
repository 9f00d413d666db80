"""The Docker engine through aiodocker, with the gaps of aiodocker closed in this one place.

aiodocker 0.27 has no timeout of its own, tells an engine that is not there by a made-up status 900, and its event
stream cannot be used twice: after the engine restarted, a second subscription on the same client delivers nothing, in
silence, and ``close`` raises what ended the first. So here every call has a limit, and each
event stream has a client of its own. Must not know tenants.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import Any, Final

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer
from aiodocker.networks import DockerNetwork

from gogeta.kit.clock import wall_ms
from passivator.drivers.base import RuntimeUnavailableError

_QUICK: Final = 10.0
"""Seconds for what an engine answers from memory."""
_WORK: Final = 60.0
"""Seconds for what makes, starts or removes something."""
_KILL: Final = 15.0
"""Seconds beyond the grace in which a stop has to end."""
_SILENCE: Final = 15.0
"""Seconds without an event after which the engine is asked whether it is still there."""
_BACKLOG: Final = 1000
"""Events not taken by the follower after which they are dropped, and a gap is told."""
_UNREACHABLE: Final = 900
_FOLLOWED: Final = (
    "create", "destroy", "die", "health_status", "kill", "oom", "pause", "rename", "start", "stop", "unpause",
)  # fmt: skip

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class Refused(RuntimeUnavailableError):
    """The engine answered with an error. ``status`` is that of HTTP, the message the engine's.

    Where it is not expected, it means what its base says: the engine is in no state to do this now.
    """

    def __init__(self, status: int, message: str) -> None:
        """As the engine said it."""
        super().__init__(message)
        self.status = status


class Engine:
    """One engine. Every call ends in its time, with RuntimeUnavailableError at the latest, or raises Refused."""

    def __init__(self, url: str) -> None:
        """``unix:///path`` or ``tcp://host:port``; nothing is opened yet."""
        self.url = url
        self._client: aiodocker.Docker | None = None
        self._closed = False
        self._ahead: float | None = None
        """Seconds that the engine's clock was ahead of ours when it was last asked."""

    def __repr__(self) -> str:
        """One line: which engine."""
        return f"<Engine {self.url}>"

    def _connect(self) -> aiodocker.Docker:
        # sock_connect bounds what asyncio.timeout around a call also bounds; nothing else has a limit of its own.
        return aiodocker.Docker(url=self.url, timeout=aiohttp.ClientTimeout(total=None, sock_connect=_QUICK))

    @property
    def _docker(self) -> aiodocker.Docker:
        if self._closed:
            raise RuntimeUnavailableError("the Docker driver is closed")
        if self._client is None:
            self._client = self._connect()
        return self._client

    @contextlib.asynccontextmanager
    async def _asking(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise RuntimeUnavailableError(f"the Docker engine at {self.url} did not answer in {seconds:g} s") from error
        except aiodocker.DockerError as error:
            if error.status == _UNREACHABLE:
                raise RuntimeUnavailableError(
                    error.message, hint="is the engine running, and may this user reach it?"
                ) from error
            raise Refused(error.status, error.message) from error
        except (aiohttp.ClientError, OSError) as error:
            raise RuntimeUnavailableError(
                f"the connection to the Docker engine at {self.url} broke: {error}"
            ) from error

    def _container(self, container: str) -> DockerContainer:
        return self._docker.containers.container(container)

    def _network(self, network: str) -> DockerNetwork:
        return DockerNetwork(self._docker, network)  # type: ignore[no-untyped-call] # aiodocker's

    async def ping(self) -> None:
        """Whether it answers."""
        async with self._asking(_QUICK):
            await self._docker.version()

    async def info(self) -> Json:
        """What it says about itself. The call takes it some 20 ms."""
        async with self._asking(_QUICK):
            return dict(await self._docker.system.info())

    # ------------------------------------------------------------------------------------------------------ containers

    async def inspect(self, container: str) -> Json | None:
        """All about a container, by id or name; None when there is none."""
        try:
            async with self._asking(_QUICK):
                return await self._container(container).show()
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def labelled(self, label: str) -> list[str]:
        """The ids of all containers that have the label (``key`` or ``key=value``), running or not."""
        return [seen["Id"] for seen in await self.summaries(label)]

    async def summaries(self, label: str) -> list[Json]:
        """The same in the engine's short form: names, labels, state."""
        filters = json.dumps({"label": [label]})
        async with self._asking(_QUICK):
            found: list[Json] = await self._docker._query_json(  # noqa: SLF001 - its list makes objects without the rest
                "containers/json", params={"all": "true", "filters": filters}
            )
        return found

    async def create(self, name: str, config: Json) -> str:
        """Make a container; its id."""
        async with self._asking(_WORK):
            return (await self._docker.containers.create(config, name=name)).id

    async def start(self, container: str) -> None:
        """Start it. What runs is left running, and so is what is just being stopped: it dies all the same."""
        async with self._asking(_WORK):
            await self._container(container).start()

    async def stop(self, container: str, grace: int) -> None:
        """Stop it; SIGKILL after ``grace`` seconds."""
        async with self._asking(grace + _KILL):
            await self._container(container).stop(t=grace)

    async def ended(self, container: str, seconds: float) -> bool:
        """Wait until it does not run; False when it still does after ``seconds``."""
        # asyncio's own timeout: that it ran out is an answer here, not a fault of the engine.
        try:
            async with asyncio.timeout(seconds):
                async with self._asking(seconds + _QUICK):
                    await self._container(container).wait(condition="not-running")
        except TimeoutError:
            return False
        return True

    async def pause(self, container: str) -> None:
        """Freeze it."""
        async with self._asking(_WORK):
            await self._container(container).pause()

    async def unpause(self, container: str) -> None:
        """Thaw it."""
        async with self._asking(_WORK):
            await self._container(container).unpause()

    async def cpu_seconds(self, container: str) -> float | None:
        """Processor time of all its processes since its start; None where the engine has no figures of it."""
        try:
            async with self._asking(_QUICK):
                # Without ``one-shot`` the engine takes two looks, a second apart.
                once = {"stream": "false", "one-shot": "true"}
                stats = await self._docker._query_json(f"containers/{container}/stats", params=once)  # noqa: SLF001
        except Refused as refused:
            if refused.status in (404, 409):
                return None
            raise
        used = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
        return used / 1e9 if used else None

    async def remove(self, container: str) -> None:
        """Kill and remove it with its anonymous volumes; nothing happens when there is none."""
        await self._unless_gone(_WORK, self._container(container).delete(force=True, v=True))

    async def logs(self, container: str, lines: int) -> str:
        """The last lines it wrote; empty when there is no container, or its log cannot be read here."""
        try:
            async with self._asking(_QUICK):
                pieces = await self._container(container).log(stdout=True, stderr=True, tail=lines)
        except Refused as refused:
            if refused.status in (404, 409, 501):
                return ""
            raise
        return "".join(pieces).rstrip("\n")

    async def follow(self, container: str, lines: int) -> AsyncGenerator[str, None]:
        """The last lines it wrote and what it writes, in pieces as they come; ends when it does not run.

        As silent as the container is: an engine that is gone without a word is not noticed here.
        """
        source = self._container(container).log(stdout=True, stderr=True, follow=True, tail=lines)
        pieces = aiter(source)
        while True:
            try:
                # No limit of time: it may be silent for days. Whoever asks looks after that.
                async with self._asking(math.inf):
                    piece = await anext(pieces, None)
            except Refused as refused:
                if refused.status in (404, 409, 501):
                    return
                raise
            if piece is None:
                return
            yield piece

    async def _unless_gone(self, seconds: float, call: Any) -> None:  # noqa: ANN401 - aiodocker's coroutines are untyped
        try:
            async with self._asking(seconds):
                await call
        except Refused as refused:
            if refused.status != 404:
                raise

    # -------------------------------------------------------------------------------------------------------- networks

    async def network(self, name: str) -> Json | None:
        """All about a network, by id or name; None when there is none."""
        try:
            async with self._asking(_QUICK):
                found: Json = await self._network(name).show()
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return found

    async def networks(self, label: str) -> list[Json]:
        """All networks that have the label."""
        async with self._asking(_QUICK):
            return await self._docker.networks.list(filters={"label": label})

    async def create_network(self, config: Json) -> None:
        """Make a network."""
        async with self._asking(_WORK):
            await self._docker.networks.create(config)

    async def remove_network(self, name: str) -> None:
        """Remove it; nothing happens when there is none. Refused while something runs in it."""
        await self._unless_gone(_WORK, self._network(name).delete())

    async def connect(self, network: str, container: str) -> None:
        """Attach a container that does not run."""
        async with self._asking(_WORK):
            await self._network(network).connect({"Container": container})

    async def disconnect(self, network: str, container: str) -> None:
        """Detach it; nothing happens when it, or the network, is gone."""
        leaving = {"Container": container, "Force": True}
        await self._unless_gone(_WORK, self._network(network).disconnect(leaving))

    # ---------------------------------------------------------------------------------------------------------- events

    async def _now(self) -> str:
        """The time by the engine's own clock, as it takes it. The call takes it some 20 ms."""
        async with self._asking(_QUICK):
            now = _timestamp((await self._docker.system.info())["SystemTime"])
        self._ahead = float(now) - wall_ms() / 1000
        return now

    async def history(self, container: str, since: str) -> list[Json]:
        """What happened to a container from ``since`` (RFC 3339) until now, oldest first.

        The engine remembers the last 256 events of all containers together.
        """
        if self._ahead is None:
            await self._now()
        now = f"{wall_ms() / 1000 + (self._ahead or 0.0):.6f}"
        filters = {"type": ["container"], "container": [container]}
        found = []
        async with self._asking(_QUICK), self._stream(since=_timestamp(since), until=now, filters=filters) as stream:
            while (event := await stream.get()) is not None:
                found.append(event)
        return found

    async def events(self) -> AsyncGenerator[Json | None, None]:
        """Events of containers; None first and after a loss: anything may have changed.

        Raises RuntimeUnavailableError when the stream cannot be had, or ends.
        """
        # From before the answer that the follower acts on: nothing is lost in between.
        now = await self._now()
        filters = {"type": ["container"], "event": list(_FOLLOWED)}
        async with self._stream(since=now, filters=filters) as stream:
            yield None
            while True:
                try:
                    async with asyncio.timeout(_SILENCE):
                        event = await stream.get()
                except TimeoutError:
                    # A frozen engine, or a connection that died without a word, is silent too.
                    await self.ping()
                    continue
                if event is None:
                    raise RuntimeUnavailableError(f"the event stream of the Docker engine at {self.url} ended")
                if stream.queue.qsize() > _BACKLOG:
                    logger.warning("%d events of the Docker engine were not taken in time", stream.queue.qsize())
                    while not stream.queue.empty():
                        stream.queue.get_nowait()
                    yield None
                    continue
                yield event

    @contextlib.asynccontextmanager
    async def _stream(self, **params: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - aiodocker's are untyped
        client = self._connect()
        try:
            stream = client.events.subscribe(**params)  # type: ignore[no-untyped-call] # aiodocker's
            yield stream
        finally:
            task, client.events.task = client.events.task, None
            if task is not None:
                task.cancel()
                for ended in await asyncio.gather(task, return_exceptions=True):
                    logger.debug("an event stream of %s ended: %r", self.url, ended)
            await client.close()

    async def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        if self._client is not None:
            await self._client.close()


def _timestamp(text: str) -> str:
    """An RFC 3339 time, as the engine gives it, in seconds since 1970, as its event calls take it."""
    return f"{datetime.fromisoformat(text).timestamp():.6f}"
