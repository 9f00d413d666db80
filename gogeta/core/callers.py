"""Who may wake a sleeping tenant, and what those get who may not. Pure, and asked only while the tenant is asleep.

A request that is not named here wakes it, as far as budgets let it. Only GET and HEAD are: anything else is work that
somebody wants done. Paths are compared whole and as written, without their query, never by their beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gogeta.core.request import RequestHead
from gogeta.domain.asleep import ANSWER, DISALLOW, WAKE, AsleepPath
from gogeta.domain.bots import known_bots
from gogeta.domain.tenant import Wake

FAVICON: Final = b"/favicon.ico"
ROBOTS: Final = b"/robots.txt"
_IN_ADVANCE: Final = frozenset({b"prefetch", b"prerender", b"preview"})
_PURPOSES: Final = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
"""Fields by which browsers say that nobody has asked for it yet; the first is the standard's, the others are older."""
_WORDS: Final = re.compile(rb"[a-z-]+").findall


class Why(StrEnum):
    """Why a request was answered without waking anything: the label it is counted under."""

    ASLEEP_PATH = "asleep-path"
    ROBOTS = "robots"
    FAVICON = "favicon"
    PREFETCH = "prefetch"
    BOT = "bot"
    TENANT_BUDGET = "tenant-budget"
    """It was woken often enough in the last hour."""
    ADDRESS_BUDGET = "address-budget"
    """The visitor's address has woken often enough in the last hour."""


@dataclass(frozen=True, slots=True)
class Unwoken:
    """What is answered instead of a wake."""

    why: Why
    status: int = 503
    """Of an asleep path."""
    robots: str = ""
    """For ``/robots.txt``: the text to send, or ``disallow`` or ``allow``."""


@dataclass(frozen=True, slots=True)
class CallerRules:
    """What holds for tenants that say nothing else."""

    bots: str = ANSWER
    prefetch: str = ANSWER
    favicon: str = ANSWER
    robots: str = DISALLOW
    asleep_paths: tuple[AsleepPath, ...] = ()
    is_bot: Callable[[bytes], bool] = field(default_factory=known_bots)


def without_waking(
    method: bytes, target: bytes, head: RequestHead, tenants: Wake, rules: CallerRules
) -> Unwoken | None:
    """What a request to a sleeping tenant is answered with; None when it may wake it.

    What the tenant says stands before what the settings say.
    """
    if method not in (b"GET", b"HEAD") or head.upgrade:
        return None
    path = target.partition(b"?")[0]
    text = path.decode("ascii", "replace")
    for asleep in (*tenants.asleep_paths, *rules.asleep_paths):
        if asleep.path == text:
            if asleep.status:
                return Unwoken(Why.ASLEEP_PATH, asleep.status)
            break
    if path == ROBOTS and (robots := tenants.robots or rules.robots) != WAKE:
        return Unwoken(Why.ROBOTS, robots=robots)
    if path == FAVICON and (tenants.favicon or rules.favicon) == ANSWER:
        return Unwoken(Why.FAVICON)
    if (tenants.prefetch or rules.prefetch) == ANSWER and fetched_in_advance(head):
        return Unwoken(Why.PREFETCH)
    if (tenants.bots or rules.bots) == ANSWER and not led_by_a_person(head) and rules.is_bot(head.field(b"user-agent")):
        return Unwoken(Why.BOT)
    return None


def fetched_in_advance(head: RequestHead) -> bool:
    """Whether a browser fetches it before anybody has asked for it."""
    return any(not _IN_ADVANCE.isdisjoint(_WORDS(value.lower())) for name in _PURPOSES if (value := head.field(name)))


def led_by_a_person(head: RequestHead) -> bool:
    """Whether a browser says that a person has just gone to this page.

    Then it counts for nothing what the browser calls itself: some people let theirs pass for a search engine's.
    """
    return head.field(b"sec-fetch-user") == b"?1" and head.field(b"sec-fetch-mode") == b"navigate"
