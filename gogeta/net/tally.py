"""What the data plane counts: plain integers, added to on the way, collected when somebody scrapes.

It knows nothing of Prometheus; ``gogeta.admin.metrics`` gives these numbers their public names.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from gogeta.kit.histogram import Histogram

SIDES: Final = ("client", "upstream", "timeout", "drain", "limit")
"""What may cut an exchange whose response had begun; ``limit``: the request's body became larger than is taken."""
WAKE_RESULTS: Final = ("asked", "joined", "refused", "over-budget", "unavailable", "failed")
"""What may become of asking the registry for a wake; ``joined``: somebody else was first."""
ANSWERED: Final = "answered"
FAILED: Final = "failed"
UNFETCHED: Final = "unfetched"
WAKE_ENDS: Final = (ANSWERED, FAILED, UNFETCHED)
"""What may become of a wake that was asked for here."""


@dataclass(slots=True)
class Tally:
    """All counters of one worker."""

    connections: int = 0
    """Visitors' connections accepted so far."""
    answers: list[int] = field(default_factory=lambda: [0] * 6)
    """Final responses by the first digit of their status; ``by_tenant.py`` says which are counted elsewhere."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Answers of our own, by reason."""
    broken: Counter[str] = field(default_factory=Counter)
    """Exchanges cut after their response had begun, by side (``SIDES``)."""
    upstream_connects: int = 0
    upstream_connect_failures: int = 0
    upstream_reuses: int = 0
    retries: int = 0
    """Requests sent again because a reused connection had died under them."""
    upgrades: int = 0
    held: int = 0
    """Requests waiting for a tenant right now."""
    holds: int = 0
    """Requests that had to wait, so far."""
    hold_seconds: Histogram = field(default_factory=Histogram)
    whole_seconds: Histogram = field(default_factory=Histogram)
    """From the head read to the answer, for requests that were forwarded at once and answered in one piece."""
    request_seconds: Histogram = field(default_factory=Histogram)
    """From the head read to the last byte, for all others; upgrades are left out."""
    upstream_seconds: Histogram = field(default_factory=Histogram)
    """From the request handed to the tenant's connection to the first byte of its answer, for the same."""
    first_byte_seconds: Histogram = field(default_factory=Histogram)
    """From the head read to the first byte of the final answer, for the same."""
    wakes: Counter[str] = field(default_factory=Counter)
    """Wakes asked of the registry, by result (``WAKE_RESULTS``)."""
    wake_ends: Counter[str] = field(default_factory=Counter)
    """Wakes asked for here, by what a visitor had of them (``WAKE_ENDS``)."""
    unwoken: Counter[str] = field(default_factory=Counter)
    """Requests to sleeping tenants that were answered without a wake, by why."""
    wake_seconds: Histogram = field(default_factory=Histogram)
    """From the request that asked for a wake to the first byte of the tenant's own answer."""
    wake_reports_dropped: int = 0
    """Reports of wakes that could not be kept until the registry took them."""
    progress_streams: int = 0
    """Streams of progress that starting pages have opened so far."""
    taken_back: int = 0
    """Passivations that were taken back because the tenant was in use here."""
    access_writes: int = 0
    access_failures: int = 0
    suspects: int = 0
