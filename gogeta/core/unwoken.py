"""What a caller reads who was answered without waking the tenant. Pure.

Nothing of it may be stored: the same address is the application's as soon as that is awake. A search engine takes 503
with ``Retry-After`` for a pause and comes back; a browser throws a 503 away that it has fetched in advance.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from gogeta.core.callers import Unwoken, Why
from gogeta.core.pages import BUILT_IN, Page, Theme, error_page, problem
from gogeta.core.refusal import Reason
from gogeta.domain.asleep import ALLOW, DISALLOW

RETRY_BOT_SECONDS: Final = 3600
RETRY_PREFETCH_SECONDS: Final = 5
_NO_STORE: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"), *_NO_STORE)
_ROBOTS: Final = {DISALLOW: "User-agent: *\nDisallow: /\n", ALLOW: "User-agent: *\nDisallow:\n"}
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT})


def asleep_answer(unwoken: Unwoken, *, html: bool, request_id: str, theme: Theme = BUILT_IN) -> Page:
    """The answer to a request that wakes nothing; ``html``: a page for people is accepted."""
    if unwoken.why is Why.FAVICON:
        return Page(HTTPStatus.NO_CONTENT, _NO_STORE, b"")
    if unwoken.why is Why.ROBOTS:
        text = _ROBOTS.get(unwoken.robots, unwoken.robots)
        return Page(HTTPStatus.OK, _TEXT, text.encode())
    if unwoken.why is Why.ASLEEP_PATH:
        if unwoken.status in _BODILESS:
            return Page(unwoken.status, _NO_STORE, b"")
        return Page(unwoken.status, _TEXT, b"asleep\n")
    seconds = RETRY_PREFETCH_SECONDS if unwoken.why is Why.PREFETCH else RETRY_BOT_SECONDS
    if html:
        return error_page(Reason.ASLEEP, request_id, theme=theme, retry_after=seconds)
    return problem(Reason.ASLEEP, request_id, retry_after=seconds)


def too_many_wakes(reason: Reason, wait_ms: int, *, html: bool, request_id: str, theme: Theme = BUILT_IN) -> Page:
    """The answer to a request beyond a wake budget, which may be made again after ``wait_ms``."""
    seconds = -(-wait_ms // 1000)
    more = f"It can be started again in {_about(seconds)}."
    if html:
        return error_page(reason, request_id, theme=theme, retry_after=seconds, more=more)
    return problem(reason, request_id, retry_after=seconds, more=more)


def _about(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    return f"about {-(-seconds // 60)} minutes"
