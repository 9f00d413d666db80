"""A container as far as its labels go, and the contract of those who know which there are: values alone, no engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One container, as far as its labels go."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    """When it was made, by the engine's clock, in seconds since 1970."""
    running: bool = False
    """Whether it runs, paused or not."""


class LabelSource(Protocol):
    """Where labels come from."""

    async def list(self) -> tuple[Labelled, ...]:
        """All containers that have one of the labels, in no order. RuntimeUnavailableError."""
        ...

    def changes(self) -> AsyncGenerator[None, None]:
        """Yields when something may have changed; at once when iteration begins, and after each gap.

        Raises RuntimeUnavailableError when it cannot be followed; the caller waits and iterates anew.
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...
