"""What one generation of workers runs by: the settings as one version of this program has read them.

A supervisor starts workers of a version that is newer than itself, so it does not look into their settings: it passes
them on, and knows beside them only what it acts upon. New members are added with a default; none changes its meaning.
"""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from typing import Any, Self

from gogeta import __version__
from gogeta.settings import ServeSettings, listeners


@dataclass(frozen=True)
class Plan:
    """One version's settings."""

    version: str = ""
    workers: int = 1
    listeners: tuple[tuple[str, str, str, int], ...] = ()
    """Name, setting, host and port of each listener."""
    drain_timeout: float = 30.0
    drain_delay: float = 0.0
    handover_timeout: float = 60.0
    settings: bytes = b""
    """For workers of this version alone."""

    @classmethod
    def of(cls, settings: ServeSettings) -> Self:
        """What these settings say."""
        return cls(
            version=__version__,
            workers=settings.workers,
            listeners=tuple(
                (name, setting, endpoint.host, endpoint.port)
                for name, (setting, endpoint) in listeners(settings).items()
            ),
            drain_timeout=settings.drain_timeout,
            drain_delay=settings.drain_delay,
            handover_timeout=settings.handover_timeout,
            settings=pickle.dumps(settings),
        )

    @classmethod
    def told(cls, values: dict[str, Any]) -> Self:
        """A plan from its plain values, whichever version wrote them."""
        known = {field.name for field in dataclasses.fields(cls)}
        plan = cls(**{name: value for name, value in values.items() if name in known})
        listeners = tuple((name, setting, host, port) for name, setting, host, port in plan.listeners)
        return dataclasses.replace(plan, listeners=listeners)

    def plain(self) -> dict[str, Any]:
        """Its plain values."""
        return dataclasses.asdict(self)

    def message(self) -> dict[str, Any]:
        """As plain values that JSON can say; ``heard`` reads it."""
        return {**self.plain(), "settings": self.settings.hex()}

    @classmethod
    def heard(cls, message: dict[str, Any]) -> Self:
        """A plan from its message."""
        return cls.told({**message, "settings": bytes.fromhex(message["settings"])})

    def read(self) -> ServeSettings:
        """The settings; for the version that wrote them. Raises TypeError for anything else."""
        settings = pickle.loads(self.settings)  # noqa: S301 - one of us wrote it, see relaunch.py
        if not isinstance(settings, ServeSettings):
            raise TypeError(f"expected settings, not {type(settings).__name__}")
        return settings
