"""One container's starts and stops, with what the engine does not do by itself.

The engine answers a start at once although a stop is under way and the container still dies; it does not say that a
stop is under way; and somebody may remove a container at any moment. What belongs to which tenant, and in which order,
is for others to know.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from passivator.drivers.base import RuntimeUnavailableError, StopFailedError
from passivator.drivers.docker_engine import Engine, Refused
from passivator.drivers.docker_view import asks_to_stop, instance_of, refused_start, stop_asked

_USUAL_GRACE: Final = 10.0
"""The engine's own, which `docker stop` by hand has."""
HANDS_OFF: Final = 3.0
"""Seconds for which what somebody stopped is left alone: Compose stops a container, removes it, and makes it anew."""
_LATE: Final = 5.0
"""Seconds that the engine's word of a stop may come after its answer."""
_DYING: Final = 3.0
"""Seconds beyond a grace in which what was killed is seen to be dead."""

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class Containers:
    """The containers of one engine."""

    def __init__(self, engine: Engine, fence: Callable[[], None]) -> None:
        """``engine`` is used and not owned; ``fence`` is called right before each call that changes anything."""
        self._engine = engine
        self._fence = fence
        self._stops: dict[str, float] = {}
        """Containers that were asked to stop, by us or by anybody, until when at the latest (loop time)."""
        self._by_others: dict[str, float] = {}
        """Containers that others asked to stop, until when they are left alone (loop time)."""
        self._by_us: dict[str, float] = {}
        """Containers that we stopped, until when what is told of that may still come (loop time)."""

    def __repr__(self) -> str:
        """One line: how many are being stopped."""
        return f"<Containers of {self._engine!r}: {len(self._stops)} stops>"

    # ------------------------------------------------------------------------------------------ starting

    async def start(self, container: str, before: str) -> Json:
        """Start one that does not run, and see that this was a new start; ``before`` is the instance of its last one.

        Raises StartFailedError, RuntimeUnavailableError.
        """
        try:
            self._fence()
            await self._engine.start(container)
        except Refused as refused:
            if "removal" in refused.message:
                # Somebody removes it this very moment: no fault of the tenant's, and the next call makes it anew.
                raise RuntimeUnavailableError(f"its container is being removed: {refused}") from refused
            raise refused_start(refused.status, refused.message) from refused
        seen = await self._engine.inspect(container)
        if seen is None or instance_of(seen) == before:
            raise RuntimeUnavailableError(f"the Docker engine said it started {container[:12]}, and it did not")
        return seen

    async def settled(self, seen: Json, grace: float, look: Callable[[], Awaitable[Json | None]]) -> Json | None:
        """Wait for the end of what somebody does to it: of its removal, of a stop. How it is then, by ``look``.

        ``grace``: how long a stop of ours may take. What outlives a signal is waited for once, and runs on.
        """
        found: Json | None = seen
        if is_going(seen):
            await self._outlive_removal(seen)
            found = await look()
        if found is not None and await self._will_die(found):
            await self._outlive_stop(found, grace)
            found = await look()
        return found

    async def left_alone(self, seen: Json) -> None:
        """Wait until it is certain that whoever stopped it does no more with it: for those that are not ours to make.

        Else what is just being made anew would be started, and could not be removed.
        """
        left = self._by_others.pop(seen["Id"], -math.inf) - asyncio.get_running_loop().time()
        if left > 0 and not seen["State"]["Running"]:
            await asyncio.sleep(min(left, HANDS_OFF))

    async def _outlive_stop(self, seen: Json, grace: float) -> None:
        """Wait for the end of a stop that is under way: a start meanwhile is answered at once, and has no effect."""
        grace = max(grace, seen["Config"].get("StopTimeout") or 0, _USUAL_GRACE)
        if seen["State"]["Paused"]:
            await self.thaw(seen["Id"])
        if not await self._engine.ended(seen["Id"], grace + _DYING):
            logger.warning("container %s was signalled to stop and runs on", seen["Name"].lstrip("/"))
        self._stops.pop(seen["Id"], None)

    async def _outlive_removal(self, seen: Json) -> None:
        """Wait until a container that somebody removes is gone."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _DYING
        while (now := await self._engine.inspect(seen["Id"])) is not None and is_going(now):
            if loop.time() >= give_up:
                raise RuntimeUnavailableError(f"the Docker engine does not get rid of container {seen['Id'][:12]}")
            await asyncio.sleep(0.05)

    async def thaw(self, container: str) -> None:
        """Continue a paused one; nothing happens when it is not."""
        try:
            self._fence()
            await self._engine.unpause(container)
        except Refused as refused:
            # 500 or 409 with these words, by version: somebody was faster.
            if "not paused" not in refused.message and refused.status != 404:
                raise RuntimeUnavailableError(f"the Docker engine did not continue it: {refused}") from refused

    # ------------------------------------------------------------------------------------------ stopping

    async def stop(self, seen: Json, grace: int) -> Json | None:
        """Stop one that runs, with SIGKILL after ``grace`` seconds; how it is then. StopFailedError when it runs on."""
        if seen["State"]["Paused"]:
            # A frozen process takes no SIGTERM.
            await self.thaw(seen["Id"])
        self._fence()
        # A call that is given up here goes on in the engine: remembered until it must have had its effect.
        self._note_stop(seen["Id"], grace)
        try:
            await self._engine.stop(seen["Id"], grace)
        except Refused as refused:
            if refused.status != 404:
                raise StopFailedError(f"the Docker engine did not stop it: {refused}") from refused
        self._stops.pop(seen["Id"], None)
        self._by_us = _with(self._by_us, seen["Id"], _LATE)
        now = await self._engine.inspect(seen["Id"])
        if now is not None and now["State"]["Running"]:
            raise StopFailedError(f"container {now['Name'].lstrip('/')} runs although the engine stopped it")
        return now

    async def pause(self, seen: Json) -> None:
        """Freeze one that runs. StopFailedError."""
        try:
            self._fence()
            await self._engine.pause(seen["Id"])
        except Refused as refused:
            raise StopFailedError(f"it cannot be paused: {refused}") from refused

    def is_stopping(self, seen: Json) -> bool:
        """Whether it is being stopped, as far as we know: the engine's own state does not say.

        Somebody else's stop shows only as the signal it began with, and a program may outlive that: after the longest
        usual grace it counts as running again.
        """
        until = self._stops.get(seen["Id"], -math.inf)
        return bool(seen["State"]["Running"]) and until > asyncio.get_running_loop().time()

    async def _will_die(self, seen: Json) -> bool:
        """Whether it is being stopped, known or not: asked before a start is taken for unnecessary."""
        if not seen["State"]["Running"] or self.is_stopping(seen):
            return bool(seen["State"]["Running"])
        return stop_asked(await self._engine.history(seen["Id"], seen["State"]["StartedAt"]))

    def _note_stop(self, container: str, seconds: float) -> None:
        self._stops = _with(self._stops, container, seconds + _DYING)

    def heard(self, event: Json) -> None:
        """The engine tells something of a container: somebody may be stopping it, or have done so."""
        container, now = (event.get("Actor") or {}).get("ID", ""), asyncio.get_running_loop().time()
        if asks_to_stop(event):
            if container not in self._stops and self._by_us.get(container, -math.inf) < now:
                self._note_stop(container, _USUAL_GRACE)
                self._by_others = _with(self._by_others, container, math.inf)
        elif event.get("Action") in ("die", "start"):
            self._stops.pop(container, None)
            if self._by_others.pop(container, None) is not None and event.get("Action") == "die":
                self._by_others = _with(self._by_others, container, HANDS_OFF)


def _with(known: dict[str, float], container: str, seconds: float) -> dict[str, float]:
    """One more that counts for so long from now on; without those that do not any more."""
    now = asyncio.get_running_loop().time()
    return {**{other: until for other, until in known.items() if until > now}, container: now + seconds}


def is_going(seen: Json) -> bool:
    """Whether the engine is removing it, or failed to remove all of it and will try again."""
    return seen["State"].get("Status") == "removing" or bool(seen["State"].get("Dead"))
