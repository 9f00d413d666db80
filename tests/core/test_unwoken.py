"""What callers get who wake nothing."""

from __future__ import annotations

import json

import pytest

from gogeta.core.callers import Unwoken, Why
from gogeta.core.pages import Page
from gogeta.core.refusal import Reason
from gogeta.core.unwoken import asleep_answer, too_many_wakes

ANSWERED = [Why.ASLEEP_PATH, Why.ROBOTS, Why.FAVICON, Why.PREFETCH, Why.BOT]


def field(page: Page, name: str) -> str | None:
    return dict(page.fields).get(name)


def answer(unwoken: Unwoken, *, html: bool = False) -> Page:
    return asleep_answer(unwoken, html=html, request_id="id-1")


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("why", ANSWERED)
def test_nothing_of_it_may_be_stored(why: Why, *, html: bool) -> None:
    assert field(answer(Unwoken(why), html=html), "Cache-Control") == "no-store"


@pytest.mark.parametrize(("why", "seconds"), [(Why.PREFETCH, "5"), (Why.BOT, "3600")])
def test_who_is_put_off_is_told_until_when(why: Why, seconds: str) -> None:
    page, data = answer(Unwoken(why), html=True), answer(Unwoken(why))
    assert (page.status, data.status) == (503, 503)
    assert field(page, "Retry-After") == field(data, "Retry-After") == seconds
    assert json.loads(data.body)["code"] == "asleep"
    assert b"<h1>Asleep</h1>" in page.body


def test_a_favicon_is_none() -> None:
    page = answer(Unwoken(Why.FAVICON), html=True)
    assert (page.status, page.body) == (204, b"")


@pytest.mark.parametrize(
    ("robots", "text"),
    [
        ("disallow", b"User-agent: *\nDisallow: /\n"),
        ("allow", b"User-agent: *\nDisallow:\n"),
        ("Sitemap: x\u00e9\n", "Sitemap: x\u00e9\n".encode()),
    ],
)
def test_robots_txt_is_plain_text(robots: str, text: bytes) -> None:
    page = answer(Unwoken(Why.ROBOTS, robots=robots), html=True)
    assert (page.status, page.body) == (200, text)
    assert field(page, "Content-Type") == "text/plain; charset=utf-8"
    assert field(page, "Retry-After") is None


@pytest.mark.parametrize(("status", "body"), [(200, b"asleep\n"), (503, b"asleep\n"), (204, b""), (205, b"")])
def test_a_declared_path_has_the_declared_status(status: int, body: bytes) -> None:
    page = answer(Unwoken(Why.ASLEEP_PATH, status))
    assert (page.status, page.body) == (status, body)


@pytest.mark.parametrize("reason", [Reason.TENANT_WAKES, Reason.ADDRESS_WAKES])
@pytest.mark.parametrize(
    ("wait", "seconds", "says"),
    [(1, "1", "in 1 second."), (60_001, "61", "in 61 seconds."), (3_599_000, "3599", "in about 60 minutes.")],
)
def test_who_has_woken_too_often_is_told_when_it_may_be_again(
    reason: Reason, wait: int, seconds: str, says: str
) -> None:
    page = too_many_wakes(reason, wait, html=True, request_id="id-1")
    data = too_many_wakes(reason, wait, html=False, request_id="id-1")
    assert (page.status, data.status) == (429, 429)
    assert field(page, "Retry-After") == field(data, "Retry-After") == seconds
    told = json.loads(data.body)
    assert told["code"] == reason.value
    assert told["detail"].endswith(says)
    assert says in page.body.decode()
    assert field(data, "Content-Type") == "application/problem+json"
