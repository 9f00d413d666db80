"""What a visitor reads when the answer is ours: the starting page, and small errors for people and for programs.

A person's browser gets a page, a program gets ``application/problem+json`` (RFC 9457); both carry the request id and
nothing of what is inside; a caller that speaks gRPC gets a status it understands. Pages are self-contained, escape
everything, and forbid themselves everything else by their Content-Security-Policy. They are never cached: the same URL
is the application's a moment later. Only the starting page has a script, and works as well without it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from gogeta.core.page_source import ERROR, ERROR_PLACEHOLDERS, SCRIPT, STARTING, STARTING_PLACEHOLDERS
from gogeta.core.progress import Again, Progress
from gogeta.core.refusal import STATUS, Reason
from gogeta.core.theme import Template, hashed, read_template

_TEXTS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.MALFORMED: ("That request could not be read", "The request is not valid HTTP."),
    Reason.FRAMING: ("That request could not be read", "The request does not say clearly where it ends."),
    Reason.HOST_INVALID: ("That request could not be read", "The request does not name a valid host."),
    Reason.HOST_UNKNOWN: ("Nothing here", "There is no site at this address."),
    Reason.METHOD: ("Not supported", "This method is not supported here."),
    Reason.CODING: ("Not supported", "This transfer coding is not supported here."),
    Reason.VERSION: ("Not supported", "This version of HTTP is not supported here; HTTP/1.1 is."),
    Reason.EXPECTATION: ("Not supported", "The only expectation supported here is 100-continue."),
    Reason.HEAD_TOO_LARGE: ("Too large", "The request's header fields are too large."),
    Reason.TARGET_TOO_LONG: ("Too long", "The request's address is too long."),
    Reason.HEAD_TIMEOUT: ("Too slow", "The request took too long to arrive."),
    Reason.BODY_TIMEOUT: ("Too slow", "The request's body took too long to arrive."),
    Reason.BODY_TOO_SLOW: ("Too slow", "The request's body arrived too slowly."),
    Reason.BODY_TOO_LARGE: ("Too large", "The request's body is larger than this application takes."),
    Reason.ADDRESS_CONNECTIONS: (
        "Too many connections",
        "There are too many connections from your network right now. Please try again in a moment.",
    ),
    Reason.CONNECTIONS: ("Very busy", "There are too many connections right now. Please try again in a moment."),
    Reason.STREAMS: ("Very busy", "Too many pages follow the start of this application already."),
    Reason.HELD: ("Very busy", "Too many requests are waiting already. Please try again in a moment."),
    Reason.LOADING: ("One moment", "The service has just been started. Please try again in a moment."),
    Reason.WAKING: ("Starting up", "This application was asleep and is being started."),
    Reason.WAKE_TIMEOUT: ("Still starting", "The application takes longer to start than expected. Please try again."),
    Reason.ASLEEP: (
        "Asleep",
        "This application is asleep. It is started when somebody visits it; requests like this one do not start it.",
    ),
    Reason.TENANT_WAKES: (
        "Started too often",
        "This application is asleep, and was started as often as it may be within an hour.",
    ),
    Reason.ADDRESS_WAKES: (
        "Started too often",
        "This application is asleep, and from your network as many were started as may be within an hour.",
    ),
    Reason.REGISTRY: (
        "Cannot be started right now",
        "The application is asleep and cannot be woken at the moment. Please try again soon.",
    ),
    Reason.STOPPED: ("Switched off", "This application has been switched off by its operator."),
    Reason.FAILED: ("Not available", "This application could not be started."),
    Reason.GONE: ("Nothing here", "There is no site at this address."),
    Reason.UPSTREAM_FORBIDDEN: ("Not available", "This application's address may not be used."),
    Reason.UPSTREAM_CONNECT: (
        "Not available",
        "The application does not answer right now. Please try again in a moment.",
    ),
    Reason.UPSTREAM_LOST: ("Not available", "The application ended the connection before it had answered."),
    Reason.UPSTREAM_INVALID: ("Not available", "The application's answer could not be read."),
    Reason.UPSTREAM_TIMEOUT: ("Too slow", "The application did not answer in time."),
    Reason.EXCHANGE_TIMEOUT: ("Too slow", "The request and its answer took longer than is allowed here."),
    Reason.DRAINING: ("One moment", "This service is being restarted. Please try again in a moment."),
    Reason.HTTPS: ("Moved", "This application is served over https alone."),
    Reason.LOOP: ("Not available", "The request has been here before: its way leads in a circle."),
}

_RETRY_AFTER: Final[dict[Reason, int]] = {
    Reason.CONNECTIONS: 5,
    Reason.ADDRESS_CONNECTIONS: 5,
    Reason.HELD: 5,
    Reason.STREAMS: 5,
    Reason.LOADING: 2,
    Reason.WAKING: 2,
    Reason.WAKE_TIMEOUT: 5,
    Reason.ASLEEP: 3600,
    Reason.TENANT_WAKES: 60,
    Reason.ADDRESS_WAKES: 60,
    Reason.REGISTRY: 5,
    Reason.FAILED: 10,
    Reason.UPSTREAM_CONNECT: 5,
    Reason.DRAINING: 2,
}
"""Seconds after which trying again makes sense; reasons that are not here have no such time."""

REFRESH_SECONDS: Final = 1
"""How soon a starting page without script asks again: it is then held for as long as ``hold`` says."""
SLOW_REFRESH_SECONDS: Final = 2
"""The same where nothing is held."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer of ours: status, fields (without framing) and body."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Theme:
    """How pages look."""

    starting: Template
    error: Template


PLACEHOLDERS: Final = {"starting.html": STARTING_PLACEHOLDERS, "error.html": ERROR_PLACEHOLDERS}
"""The templates a theme may have, by their names, and what is filled into each."""
BUILT_IN: Final = Theme(
    read_template(STARTING, STARTING_PLACEHOLDERS, what="starting.html"),
    read_template(ERROR, ERROR_PLACEHOLDERS, what="error.html"),
)
_SCRIPT_HASH: Final = hashed(SCRIPT)


def starting_page(
    title: str,
    request_id: str,
    progress: Progress,
    *,
    theme: Theme = BUILT_IN,
    refresh: int = REFRESH_SECONDS,
    framed: bool = False,
) -> Page:
    """The page for a person whose application is being started; ``title`` is the host as it was asked for.

    It follows the start live, and goes to the address that was asked for once the application is ready. Where scripts
    do not run it asks again every ``refresh`` seconds. ``framed``: it is for a frame of another page.
    """
    values = {
        "heading": f"Starting {title}",
        "host": title,
        "text": progress.text,
        "outlook": progress.outlook,
        "stage": progress.stage.value,
        "ahead": "" if progress.ahead is None else str(progress.ahead),
        "percent": "" if progress.percent is None else str(progress.percent),
        "request_id": request_id,
        "retry_after": str(progress.retry_after),
    }
    for step in progress.steps:
        values[f"{step.name}_state"] = step.state.value
        values[f"{step.name}_time"] = step.time
    # The script knows better than a refresh, which would end what it listens to.
    head = f"<noscript>{_refresh(refresh)}</noscript><script>{SCRIPT}</script>"
    policy = theme.starting.policy(script=_SCRIPT_HASH, live=True, framed=framed)
    return _page(503, theme.starting, values, head, policy, progress.retry_after)


def error_page(  # noqa: PLR0913 - what one page says
    reason: Reason,
    request_id: str,
    *,
    theme: Theme = BUILT_IN,
    again: Again | None = None,
    retry_after: int | None = None,
    more: str = "",
    refresh: bool = False,
    framed: bool = False,
) -> Page:
    """The page for a person whose request was refused for ``reason``.

    ``again``: whether and when a start that failed is tried again. ``retry_after`` in seconds, where more is known than
    the reason says; ``more``: a sentence of ours behind the reason's. ``refresh``: what was asked for may be asked for
    once more without being told, which is so for GET.
    """
    heading, text = _TEXTS[reason]
    text = f"{text} {more}".rstrip()
    after = advice(reason, again, retry_after)
    values = {
        "heading": heading,
        "text": text,
        "outlook": again.text if again is not None else "",
        "status": str(STATUS[reason].value),
        "code": reason.value,
        "request_id": request_id,
        "retry_after": "" if after is None else str(after),
    }
    # A second later: at that very moment the try has only just begun.
    head = _refresh(after + 1) if refresh and again is not None and after is not None else ""
    return _page(STATUS[reason].value, theme.error, values, head, theme.error.policy(framed=framed), after)


def advice(reason: Reason, again: Again | None, retry_after: int | None) -> int | None:
    """Seconds after which asking again makes sense; None when it does not."""
    if again is not None:
        return again.seconds
    return _RETRY_AFTER.get(reason) if retry_after is None else retry_after


def failed_event(again: Again | None, reason: Reason) -> str:
    """What the starting page's script is told when there is nothing to wait for any more, as JSON on one line."""
    heading, text = _TEXTS[reason]
    data = {
        "stage": "failed" if reason is Reason.FAILED else "stopped",
        "heading": heading,
        "text": text,
        "outlook": "" if again is None else again.text,
        "retry_after": 60 if again is None else again.seconds,
    }
    return json.dumps(data, separators=(",", ":"))


def moved(location: str) -> Page:
    """A permanent redirect that keeps the method (RFC 9110 section 15.4.9), for people and programs alike.

    It is not to be stored, as no page of ours is: a tenant that takes plain text again is not locked out by caches.
    """
    heading, text = _TEXTS[Reason.HTTPS]
    fields = (("Location", location), *_fields("text/plain; charset=utf-8", None))
    return Page(STATUS[Reason.HTTPS].value, fields, f"{heading}. {text}\n".encode())


def problem(
    reason: Reason,
    request_id: str,
    *,
    again: Again | None = None,
    retry_after: int | None = None,
    more: str = "",
) -> Page:
    """The same for a program, as problem+json; ``code`` is the stable name to act upon."""
    heading, text = _TEXTS[reason]
    text = f"{text} {more}".rstrip()
    status = STATUS[reason].value
    after = advice(reason, again, retry_after)
    data: dict[str, object] = {
        "type": "about:blank",
        "title": heading,
        "status": status,
        "detail": text,
        "code": reason.value,
    }
    if after is not None:
        data["retry_after"] = after
    if again is not None:
        data["retried"] = again.planned
    if request_id:
        data["request_id"] = request_id
    body = json.dumps(data).encode() + b"\n"
    return Page(status, _fields("application/problem+json", after), body)


_GRPC: Final = re.compile(rb"application/grpc(?:-web(?:-text)?)?(?:\+[a-z0-9.-]+)?", re.IGNORECASE).match
_UNAVAILABLE: Final = 14
_GRPC_STATUS: Final = {400: 13, 404: 12, 413: 8, 429: 14, 501: 12, 502: 14, 503: 14, 504: 14}
"""Status of HTTP to status of gRPC, as gRPC's own table has it; all others are 2, unknown."""


def grpc_type(content_type: bytes) -> str | None:
    """The content type to answer a gRPC-style request with; None when it is none."""
    match = _GRPC(content_type.strip())
    return match[0].decode("ascii").lower() if match is not None else None


def grpc_refusal(
    content_type: str, reason: Reason, request_id: str, *, again: Again | None = None, retry_after: int | None = None
) -> Page:
    """The same for a caller that speaks gRPC: an answer of trailers alone, which such callers find in its head.

    A status of HTTP would reach most of them only as a number; ``grpc-retry-pushback-ms`` is their Retry-After.
    """
    heading, text = _TEXTS[reason]
    after = advice(reason, again, retry_after)
    code = _GRPC_STATUS.get(STATUS[reason].value, 2)
    fields = [*_fields(content_type, after), ("grpc-status", str(code))]
    fields.append(("grpc-message", quote(f"{heading}. {text} ({reason.value})", safe=" !#$&'()*+,-./:;=?@[]_~")))
    if after is not None and code == _UNAVAILABLE:
        fields.append(("grpc-retry-pushback-ms", str(after * 1000)))
    if request_id:
        fields.append(("X-Request-Id", request_id))
    return Page(200, tuple(fields), b"")


def _refresh(seconds: int) -> str:
    return f'<meta http-equiv="refresh" content="{seconds}">'


def _page(
    status: int, template: Template, values: dict[str, str], head: str, policy: str, retry_after: int | None
) -> Page:
    fields = (
        *_fields("text/html; charset=utf-8", retry_after),
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "no-referrer"),
    )
    return Page(status, fields, template.filled(values, head).encode())


def _fields(content_type: str, retry_after: int | None) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Type", content_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *((("Retry-After", str(retry_after)),) if retry_after is not None else ()),
    )
