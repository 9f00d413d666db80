"""The questions that passivator's metrics answer, each with its metrics: the chapters of docs/metrics.md."""

from __future__ import annotations

from typing import Final

QUESTIONS: Final = {
    "What is awake, what sleeps, and what does that save?": (
        "passivator_tenants",
        "passivator_asleep_seconds",
        "passivator_memory_released_bytes",
        "passivator_memory_released_byte_seconds",
    ),
    "What is woken, and how long does that take?": (
        "passivator_wakes",
        "passivator_wake_seconds",
        "passivator_start_seconds",
        "passivator_resumes",
        "passivator_scheduled_wakes",
    ),
    "Which starts fail, and why?": (
        "passivator_starts",
        "passivator_crashes",
        "passivator_given_up",
        "passivator_refused_starts",
        "passivator_suspects",
    ),
    "What is put to sleep, and why?": (
        "passivator_passivations",
        "passivator_pauses",
        "passivator_stops",
        "passivator_drains",
        "passivator_take_backs",
        "passivator_destroyed",
        "passivator_removals",
    ),
    "What is kept awake?": (
        "passivator_kept_awake",
        "passivator_vetoes_overruled",
        "passivator_lost_proxies",
    ),
    "Who waits for a start, and for what?": (
        "passivator_starts_in_progress",
        "passivator_starts_queued",
        "passivator_starts_oldest_wait_seconds",
        "passivator_memory_declared_bytes",
        "passivator_memory_limit_bytes",
        "passivator_memory_missing_bytes",
    ),
    "What is declared by labels?": ("passivator_discovered", "passivator_refused_labels"),
    "Who leads?": ("passivator_leader", "passivator_terms"),
    "Does the registry answer, and is what we know of it current?": (
        "passivator_registry_stale_seconds",
        "passivator_registry_errors",
        "passivator_registry_call_seconds",
        "passivator_registry_watch_lag_seconds",
        "passivator_registry_watch_behind_seconds",
    ),
    "Does the runtime answer?": (
        "passivator_runtime_unavailable_seconds",
        "passivator_runtime_errors",
        "passivator_runtime_call_seconds",
        "passivator_resyncs",
    ),
    "What runs, and is it well?": ("passivator_build_info", "passivator_faults"),
    "Is anything that is told to others lost?": (
        "passivator_timeline_writes",
        "passivator_timeline_dropped",
        "passivator_webhooks",
        "passivator_spans_sent",
        "passivator_spans_dropped",
        "passivator_span_batch_failures",
    ),
    "Who uses the admin API?": (
        "passivator_api_listeners",
        "passivator_api_events",
        "passivator_api_listeners_cut",
        "passivator_api_listeners_refused",
        "passivator_api_refused",
    ),
}
"""Question to names of families."""
