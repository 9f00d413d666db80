"""Containers by their labels, for whoever discovers tenants: what the engine has, and when that may have changed.

It reads only, and knows neither what labels mean nor what a tenant is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from passivator.drivers.docker_engine import Engine
from passivator.drivers.labelled import Labelled

Json = dict[str, Any]


class EngineLabels:
    """The labels of one Docker engine's containers."""

    def __init__(self, url: str, keys: tuple[str, ...]) -> None:
        """``url`` as ``docker_host``; ``keys``: containers that have any of these labels count."""
        self._engine = Engine(url)
        self._keys = keys

    def __repr__(self) -> str:
        """One line: which engine."""
        return f"<EngineLabels of {self._engine.url}>"

    async def list(self) -> tuple[Labelled, ...]:
        """As the protocol has it."""
        # The engine takes several labels for "all of them", so each is asked for by itself.
        found = {seen["Id"]: seen for key in self._keys for seen in await self._engine.summaries(key)}
        return tuple(_labelled(seen) for seen in found.values())

    async def changes(self) -> AsyncGenerator[None, None]:
        """As the protocol has it."""
        async with aclosing(self._engine.events()) as events:
            async for event in events:
                # The labels of the container stand among the event's attributes.
                attributes = ((event or {}).get("Actor") or {}).get("Attributes") or {}
                if event is None or any(key in attributes for key in self._keys):
                    yield

    async def close(self) -> None:
        """As the protocol has it."""
        await self._engine.close()


def _labelled(seen: Json) -> Labelled:
    names = [name.lstrip("/") for name in seen.get("Names") or ()]
    # A link gives a container further names, with a slash inside.
    own = next((name for name in names if "/" not in name), seen["Id"][:12])
    return Labelled(
        id=seen["Id"],
        name=own,
        labels=seen.get("Labels") or {},
        created=seen.get("Created") or 0,
        running=seen.get("State") in ("running", "paused", "restarting"),
    )
