"""What passivator could not take from the labels of containers, and why: values of a registry key, for people.

Written by who discovers, read by whoever shows tenants. No decision rests on it, and it knows no labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import ConfigDict

_LENIENT: Final = ConfigDict(extra="ignore")

MOST_REFUSALS: Final = 100
"""Most refusals in one value; ``Discovery.more`` counts the others."""
LONGEST_MESSAGE: Final = 400
"""Most characters of one message: what is wrong may stand in it, and labels may be long."""


class Refused(StrEnum):
    """Why labels did not become a tenant."""

    INVALID = "invalid"
    """A label is wrong, or unknown, or missing."""
    CONFLICT = "conflict"
    """The name or a host is somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One container, or one Compose project, whose labels are not in force."""

    __pydantic_config__ = _LENIENT

    source: str
    """``container NAME`` or ``Compose project NAME``."""
    why: Refused
    """What kind of trouble it is."""
    message: str
    """What is wrong, and with which label."""
    names: tuple[str, ...] = ()
    """The tenants concerned: the one that it would be, and the one that it is in conflict with."""

    def __str__(self) -> str:
        """For people: one sentence."""
        return f"the labels of {self.source} are not in force: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What one group of passivators could not take from labels, as of its last look."""

    __pydantic_config__ = _LENIENT

    at: int = 0
    """When it looked, epoch milliseconds."""
    by: str = ""
    """The passivator."""
    refusals: tuple[Refusal, ...] = ()
    """At most ``MOST_REFUSALS``."""
    more: int = 0
    """Refusals that there is no room for."""


def shortened(refusals: tuple[Refusal, ...]) -> tuple[tuple[Refusal, ...], int]:
    """Those that fit into one value, and how many do not."""
    return refusals[:MOST_REFUSALS], max(len(refusals) - MOST_REFUSALS, 0)
