"""What visitors of sleeping tenants meet, as metrics: waits, wakes and how they end, and who wakes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric

from gogeta.core.callers import Why
from gogeta.domain.lifecycle import Meeting
from gogeta.kit.families import counter, gauge, histogram
from gogeta.net.tally import WAKE_ENDS, WAKE_RESULTS

if TYPE_CHECKING:
    from gogeta.net.forwarder import Proxy


def waking_metrics(proxy: Proxy) -> Iterator[Metric]:
    """All of them as of now."""
    tally = proxy.tally
    yield gauge("gogeta_held_requests", "Requests waiting for a tenant to wake.", {(): tally.held})
    yield counter("gogeta_holds", "Requests that had to wait for a tenant.", {(): tally.holds})
    yield histogram(
        "gogeta_hold_seconds", "How long held requests waited until they were forwarded.", {(): tally.hold_seconds}
    )
    yield counter(
        "gogeta_wakes",
        "Wakes asked of the registry, by result: asked, joined (somebody else was first), refused, over-budget, "
        "unavailable, failed.",
        {(result,): tally.wakes[result] for result in WAKE_RESULTS},
        ("result",),
    )
    yield counter(
        "gogeta_wakes_ended",
        "Wakes asked for here, by how they ended: answered (the first byte of the tenant's answer was sent), "
        "failed (it may be tried again, and be answered then), unfetched (nobody came for the answer).",
        {(result,): tally.wake_ends[result] for result in WAKE_ENDS},
        ("result",),
    )
    yield histogram(
        "gogeta_wake_seconds",
        "From the request that asked for a wake to the first byte of the tenant's answer.",
        {(): tally.wake_seconds},
    )
    yield counter(
        "gogeta_wake_reports_dropped",
        "Reports of wakes that were dropped while the registry did not take them.",
        {(): tally.wake_reports_dropped},
    )
    yield counter(
        "gogeta_unwoken_requests",
        "Requests to sleeping tenants that were answered without a wake, by why.",
        {(why.value,): tally.unwoken[why.value] for why in Why},
        ("why",),
    )
    yield gauge(
        "gogeta_waking_addresses",
        "Visitors' addresses whose wakes are counted.",
        {(): len(proxy.doorkeeper.by_address)},
    )
    yield counter(
        "gogeta_passivations_taken_back",
        "Passivations reversed because the tenant was in use.",
        {(): tally.taken_back},
    )
    yield counter(
        "gogeta_suspicions", "Tenants reported for another look because they did not answer.", {(): tally.suspects}
    )
    yield gauge("gogeta_progress_streams", "Starting pages that follow a start live now.", {(): len(proxy.progress)})
    yield counter("gogeta_progress_streams_opened", "Streams of progress opened.", {(): tally.progress_streams})
    yield counter(
        "gogeta_page_theme_failures",
        "Changes of the theme of pages that could not be taken in.",
        {(): proxy.theming.failures},
    )
    counts = dict.fromkeys(Meeting, 0)
    for entry in tuple(proxy.fleet.entries.values()):
        counts[entry.meeting] += 1
    yield gauge(
        "gogeta_tenants",
        "Tenants by what a visitor of theirs meets now.",
        {(meeting.value,): count for meeting, count in counts.items()},
        ("meeting",),
    )
