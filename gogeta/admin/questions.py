"""The questions that gogeta's metrics answer, each with its metrics: the chapters of docs/metrics.md."""

from __future__ import annotations

from typing import Final

QUESTIONS: Final = {
    "What is asked, and how is it answered?": ("gogeta_requests", "gogeta_refusals", "gogeta_broken_exchanges"),
    "Whose requests are they?": ("gogeta_tenant_requests", "gogeta_tenant_in_flight"),
    "How long do visitors wait?": (
        "gogeta_request_seconds",
        "gogeta_first_byte_seconds",
        "gogeta_upstream_seconds",
        "gogeta_hold_seconds",
        "gogeta_wake_seconds",
    ),
    "What is under way right now?": (
        "gogeta_in_flight",
        "gogeta_held_requests",
        "gogeta_connections",
        "gogeta_connections_arriving",
        "gogeta_progress_streams",
        "gogeta_upstream_connections",
        "gogeta_tasks",
    ),
    "What do visitors of sleeping tenants meet?": (
        "gogeta_tenants",
        "gogeta_holds",
        "gogeta_wakes",
        "gogeta_wakes_ended",
        "gogeta_unwoken_requests",
        "gogeta_waking_addresses",
        "gogeta_passivations_taken_back",
        "gogeta_progress_streams_opened",
        "gogeta_wake_reports_dropped",
    ),
    "Do connections hold, on both sides?": (
        "gogeta_connections_accepted",
        "gogeta_connections_turned_away",
        "gogeta_upgrades",
        "gogeta_upstream_connects",
        "gogeta_upstream_connect_failures",
        "gogeta_upstream_reuses",
        "gogeta_retries",
        "gogeta_suspicions",
    ),
    "Does the registry answer, and is what we know of it current?": (
        "gogeta_registry_stale_seconds",
        "gogeta_registry_errors",
        "gogeta_registry_call_seconds",
        "gogeta_registry_watch_lag_seconds",
        "gogeta_registry_watch_behind_seconds",
        "gogeta_registry_revision",
        "gogeta_registry_listings",
        "gogeta_registry_quarantined_keys",
        "gogeta_access_writes",
        "gogeta_access_write_failures",
    ),
    "Are the certificates in order?": (
        "gogeta_tls_certificates",
        "gogeta_tls_certificate_expiry_timestamp_seconds",
        "gogeta_tls_certificate_reloads",
        "gogeta_tls_certificate_reload_failures",
        "gogeta_tls_handshakes",
    ),
    "What runs, and does it keep running?": (
        "gogeta_build_info",
        "gogeta_workers",
        "gogeta_worker_restarts",
        "gogeta_worker_hangs",
        "gogeta_handovers",
    ),
    "Is anything that is told to others lost?": (
        "gogeta_access_log_written",
        "gogeta_access_log_dropped",
        "gogeta_access_log_failures",
        "gogeta_page_theme_failures",
        "gogeta_spans_sent",
        "gogeta_spans_dropped",
        "gogeta_span_batch_failures",
    ),
    "Who uses the admin API?": (
        "gogeta_api_listeners",
        "gogeta_api_events",
        "gogeta_api_listeners_cut",
        "gogeta_api_listeners_refused",
        "gogeta_api_refused",
    ),
}
"""Question to names of families."""
