"""What keeps a tenant awake beyond its idle timeout, as passivator writes it down for whoever explains it.

What proxies and declarations tell is read from the record (``explanation.py``); only passivator knows of a busy tenant,
its hours at the judgement, and a proxy that was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import ConfigDict

_LENIENT: Final = ConfigDict(extra="ignore")


class Keeps(StrEnum):
    """What keeps a tenant awake, as a closed set: metrics count by it."""

    HOURS = "hours"
    """Its declaration keeps it awake at this time of the week."""
    BUSY = "busy"
    """It says itself that it is busy."""
    CPU = "cpu"
    """It uses more processor time than its threshold."""
    LOST_PROXY = "lost-proxy"
    """A proxy that had it in use was lost without a word, and may still be serving."""


@dataclass(frozen=True, slots=True)
class AwakeReason:
    """One reason."""

    __pydantic_config__ = _LENIENT

    keeps: Keeps
    """What it is."""
    detail: str = ""
    """A sentence for people."""
    until: int | None = None
    """When it is over at the latest, epoch milliseconds; None: open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetoes:
    """What passivator last had against putting a tenant to sleep whose idle timeout was over."""

    __pydantic_config__ = _LENIENT

    reasons: tuple[AwakeReason, ...] = ()
    """All that held at that judgement."""
    at: int = 0
    """When it was judged, epoch milliseconds."""
    by: str = ""
    """The passivator."""
