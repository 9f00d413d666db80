"""Named refusals: every answer that the proxy gives by itself, with its status and a reason that is counted.

The reasons are a closed set, so metrics can have them as a label. What a visitor reads of them is in ``pages.py``; no
refusal says anything about what is inside.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus


class Reason(StrEnum):
    """Why a request was not answered by its tenant."""

    MALFORMED = "malformed-request"
    FRAMING = "ambiguous-framing"
    HOST_INVALID = "invalid-host"
    HOST_UNKNOWN = "unknown-host"
    METHOD = "method-not-supported"
    CODING = "coding-not-supported"
    VERSION = "version-not-supported"
    EXPECTATION = "expectation-not-supported"
    HEAD_TOO_LARGE = "head-too-large"
    TARGET_TOO_LONG = "target-too-long"
    HEAD_TIMEOUT = "head-timeout"
    BODY_TIMEOUT = "body-timeout"
    BODY_TOO_SLOW = "body-too-slow"
    BODY_TOO_LARGE = "body-too-large"
    CONNECTIONS = "too-many-connections"
    ADDRESS_CONNECTIONS = "too-many-connections-from-address"
    HELD = "too-many-held"
    STREAMS = "too-many-progress-streams"
    LOADING = "routes-not-loaded"
    WAKING = "waking"
    WAKE_TIMEOUT = "wake-timeout"
    ASLEEP = "asleep"
    """Answered without waking anything; with what, ``core/unwoken.py`` says."""
    TENANT_WAKES = "too-many-wakes"
    ADDRESS_WAKES = "too-many-wakes-from-address"
    REGISTRY = "registry-unavailable"
    STOPPED = "stopped"
    FAILED = "failed"
    GONE = "tenant-removed"
    UPSTREAM_FORBIDDEN = "upstream-forbidden"
    UPSTREAM_CONNECT = "upstream-connect"
    UPSTREAM_LOST = "upstream-lost"
    UPSTREAM_INVALID = "upstream-invalid"
    UPSTREAM_TIMEOUT = "upstream-timeout"
    EXCHANGE_TIMEOUT = "exchange-timeout"
    DRAINING = "draining"
    HTTPS = "https-only"
    LOOP = "loop"


STATUS: dict[Reason, HTTPStatus] = {
    Reason.MALFORMED: HTTPStatus.BAD_REQUEST,
    Reason.FRAMING: HTTPStatus.BAD_REQUEST,
    Reason.HOST_INVALID: HTTPStatus.BAD_REQUEST,
    Reason.HOST_UNKNOWN: HTTPStatus.NOT_FOUND,
    Reason.METHOD: HTTPStatus.NOT_IMPLEMENTED,
    Reason.CODING: HTTPStatus.NOT_IMPLEMENTED,
    Reason.VERSION: HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
    Reason.EXPECTATION: HTTPStatus.EXPECTATION_FAILED,
    Reason.HEAD_TOO_LARGE: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    Reason.TARGET_TOO_LONG: HTTPStatus.REQUEST_URI_TOO_LONG,
    Reason.HEAD_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    Reason.BODY_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    Reason.BODY_TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    Reason.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Reason.CONNECTIONS: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.ADDRESS_CONNECTIONS: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.HELD: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.STREAMS: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.LOADING: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.WAKING: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.WAKE_TIMEOUT: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.ASLEEP: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.TENANT_WAKES: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.ADDRESS_WAKES: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.REGISTRY: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.STOPPED: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.FAILED: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.GONE: HTTPStatus.NOT_FOUND,
    Reason.UPSTREAM_FORBIDDEN: HTTPStatus.BAD_GATEWAY,
    Reason.UPSTREAM_CONNECT: HTTPStatus.BAD_GATEWAY,
    Reason.UPSTREAM_LOST: HTTPStatus.BAD_GATEWAY,
    Reason.UPSTREAM_INVALID: HTTPStatus.BAD_GATEWAY,
    Reason.UPSTREAM_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Reason.EXCHANGE_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Reason.DRAINING: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.HTTPS: HTTPStatus.PERMANENT_REDIRECT,
    Reason.LOOP: HTTPStatus.LOOP_DETECTED,
}
"""The status of each reason."""


class RefusedError(Exception):
    """A message is refused for ``reason``; ``detail`` is for logs and tests, never for the visitor."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Keep the two apart."""
        super().__init__(f"{reason}: {detail}")
        self.bodiless = False
        """Whether it is the answer to HEAD, as far as is known."""
        self.reason = reason
        self.detail = detail

    @property
    def status(self) -> HTTPStatus:
        """The status code it is answered with."""
        return STATUS[self.reason]
