"""What a visitor reads when the answer is ours: the starting page, and small errors for people and for programs.

A person's browser gets a page, a program gets ``application/problem+json`` (RFC 9457); both carry the request id and
nothing of what is inside. Pages are self-contained, escape everything, run no script, and forbid themselves everything
else by their Content-Security-Policy. They are never cached: the same URL is the application's a moment later.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from dataclasses import dataclass
from typing import Final

from gogeta.core.refusal import STATUS, Reason

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6878;--paper:#f6f7f9;--card:#fff;--line:#e3e7ed;--go:#2f6fed}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#98a4b3;--paper:#11151b;--card:#1a2029;--line:#2a323e;--go:#6b9bff}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;padding:1.5rem}
main{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:2.2rem 2.4rem;
max-width:30rem;width:100%}
h1{font-size:1.3rem;line-height:1.3;margin:0 0 .6rem;font-weight:650}
p{margin:.4rem 0;color:var(--soft)}
.bar{height:4px;border-radius:2px;background:var(--line);overflow:hidden;margin:1.5rem 0 1.1rem}
.bar i{display:block;height:100%;width:35%;border-radius:2px;background:var(--go);
animation:go 1.4s ease-in-out infinite}
@keyframes go{from{transform:translateX(-110%)}to{transform:translateX(310%)}}
@media(prefers-reduced-motion:reduce){.bar i{animation:none;width:100%;opacity:.5}}
.id{font:12px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace;margin-top:1.4rem;overflow-wrap:anywhere}
""".strip()

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

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
    Reason.FAILED: ("Not available", "This application could not be started. It will be tried again."),
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
"""How soon the starting page asks again: it is then held for as long as ``hold`` says."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer of ours: status, fields (without framing) and body."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes


def starting_page(title: str, request_id: str) -> Page:
    """The page for a person whose application is being started; ``title`` is the host as it was asked for."""
    title = html.escape(title, quote=True)
    return _page(
        503,
        title=f"Starting {title}",
        heading=f"Starting {title}",
        text="This application was asleep. It is being started, and appears here by itself in a moment.",
        extra='<div class="bar" role="progressbar" aria-label="Starting"><i></i></div>',
        request_id=request_id,
        head=f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">',
        retry_after=_RETRY_AFTER[Reason.WAKING],
    )


def error_page(reason: Reason, request_id: str, *, retry_after: int | None = None, more: str = "") -> Page:
    """The page for a person whose request was refused for ``reason``.

    ``retry_after``: seconds, where they are not always the same; ``more``: a sentence of ours behind the reason's.
    """
    heading, text = _TEXTS[reason]
    text = f"{text} {more}".rstrip()
    return _page(
        STATUS[reason].value,
        title=heading,
        heading=heading,
        text=text,
        extra="",
        request_id=request_id,
        head="",
        retry_after=_RETRY_AFTER.get(reason) if retry_after is None else retry_after,
    )


def moved(location: str) -> Page:
    """A permanent redirect that keeps the method (RFC 9110 section 15.4.9), for people and programs alike.

    It is not to be stored, as no page of ours is: a tenant that takes plain text again is not locked out by caches.
    """
    heading, text = _TEXTS[Reason.HTTPS]
    fields = (("Location", location), *_fields("text/plain; charset=utf-8", None))
    return Page(STATUS[Reason.HTTPS].value, fields, f"{heading}. {text}\n".encode())


def problem(reason: Reason, request_id: str, *, retry_after: int | None = None, more: str = "") -> Page:
    """The same for a program, as problem+json; ``code`` is the stable name to act upon."""
    heading, text = _TEXTS[reason]
    text = f"{text} {more}".rstrip()
    status = STATUS[reason].value
    data: dict[str, object] = {
        "type": "about:blank",
        "title": heading,
        "status": status,
        "detail": text,
        "code": reason.value,
    }
    if request_id:
        data["request_id"] = request_id
    retry_after = _RETRY_AFTER.get(reason) if retry_after is None else retry_after
    body = json.dumps(data).encode() + b"\n"
    return Page(status, _fields("application/problem+json", retry_after), body)


def _page(  # noqa: PLR0913 - the parts of one template
    status: int, *, title: str, heading: str, text: str, extra: str, request_id: str, head: str, retry_after: int | None
) -> Page:
    shown = f'<p class="id">Request {html.escape(request_id, quote=True)}</p>' if request_id else ""
    body = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{head}'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{heading}</h1><p>{text}</p>{extra}{shown}</main></body></html>\n"
    )
    fields = (
        *_fields("text/html; charset=utf-8", retry_after),
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
    )
    return Page(status, fields, body.encode())


def _fields(content_type: str, retry_after: int | None) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Type", content_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *((("Retry-After", str(retry_after)),) if retry_after is not None else ()),
    )
