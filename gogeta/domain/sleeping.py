"""How a tenant falls asleep, as its operator declares it: how deep and when, what keeps it awake, and for how long.

Parts of a ``Tenant`` (``tenant.py``). All times are counted from its last use, so ``idle_timeout`` stands in one row
with what is here: paused after ``sleep.pause_after``, stopped after ``idle_timeout``, destroyed after
``sleep.destroy_after``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

from gogeta.domain.hours import Hours, check_zone, parse_hours
from gogeta.domain.quantities import format_duration, parse_duration, parse_duration_or_never

_STRICT: Final = ConfigDict(extra="forbid", strict=False)
_MAX_HOURS: Final = 64
_MAX_PERCENT: Final = 100_000.0


def parse_percent(value: object) -> float:
    """Percent of one processor from ``20%``, ``150%`` or a number of percent. Raises ValueError."""
    text = value.strip().removesuffix("%").strip() if isinstance(value, str) else value
    try:
        percent = float(text) if isinstance(text, (str, int, float)) and not isinstance(text, bool) else -1.0
    except ValueError:
        percent = -1.0
    if not 0 < percent <= _MAX_PERCENT:
        raise ValueError(f"expected a part of one processor such as 20% or 150%, not {value!r}")
    return percent


_Never = Annotated[
    float | None,
    BeforeValidator(parse_duration_or_never),
    PlainSerializer(lambda value: "never" if value is None else value),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """How deep a tenant sleeps, and after how long without use. ``never`` (None): not at all."""

    __pydantic_config__ = _STRICT

    pause_after: _Never = None
    """Seconds without use until it is paused: frozen in memory, awake again in milliseconds."""
    destroy_after: _Never = None
    """Seconds without use until it is removed altogether, declaration and all, as ``gogeta rm`` does."""
    quiet_tunnel: _Never = None
    """Seconds without a byte after which an open WebSocket, or another tunnel, is no use any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A tenant's own veto against being put to sleep: asked only when it would be."""

    __pydantic_config__ = _STRICT

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """Asked with GET: 200 is busy, anything else below 500 is not."""
    cpu: Annotated[float, BeforeValidator(parse_percent)] | None = None
    """Percent of one processor from which on it is busy."""
    at_most: Annotated[float, BeforeValidator(parse_duration), Field(gt=0)] = 6 * 3600.0
    """Seconds since its last use after which it is put to sleep all the same."""

    def __post_init__(self) -> None:
        """Raises ValueError where nothing could ever be busy."""
        if self.path is None and self.cpu is None:
            raise ValueError("expected a path, a cpu threshold, or both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Awake:
    """Hours in which a tenant is not put to sleep."""

    __pydantic_config__ = _STRICT

    hours: Annotated[
        tuple[Annotated[Hours, BeforeValidator(parse_hours), PlainSerializer(str)], ...],
        Field(min_length=1, max_length=_MAX_HOURS),
    ]
    """``mon-fri 08:00-18:00``; several are joined."""
    zone: Annotated[str, BeforeValidator(check_zone)] = "UTC"
    """The time zone that they are meant in, such as ``Europe/Paris``."""
    wake: bool = False
    """Whether it is also started for them, and kept running as long as they last."""


def check_depths(sleep: Sleep, idle_timeout: float | None) -> None:
    """The rule that spans ``sleep`` and ``idle_timeout``: deeper is never earlier. Raises ValueError."""
    pause, destroy = sleep.pause_after, sleep.destroy_after
    if pause is not None and idle_timeout is not None and pause >= idle_timeout:
        raise ValueError(
            f"sleep.pause_after ({format_duration(pause)}) has to be less than idle_timeout "
            f"({format_duration(idle_timeout)}), after which it is stopped"
        )
    if destroy is not None and (idle_timeout is None or destroy < idle_timeout):
        raise ValueError(
            f"sleep.destroy_after ({format_duration(destroy)}) may not be less than idle_timeout "
            f"({format_duration(idle_timeout)}): only what is stopped is destroyed"
        )


def first_sleep(sleep: Sleep, idle_timeout: float | None) -> float | None:
    """Seconds without use until it first falls asleep, in whatever way; None never."""
    return sleep.pause_after if sleep.pause_after is not None else idle_timeout
