"""What a visitor reads when the answer is ours."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from gogeta.core.pages import (
    Page,
    error_page,
    failed_event,
    grpc_refusal,
    grpc_type,
    problem,
    starting_page,
)
from gogeta.core.progress import Again, progress
from gogeta.core.refusal import STATUS, Reason
from gogeta.domain.lifecycle import Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Phase, TenantRecord
from gogeta.domain.tenant import read_tenant

HOSTILE = "\"><script>alert(1)</script>&'.test"
VOID = {"meta"}


class Outline(HTMLParser):
    """Checks that every element is closed in order, and collects what there is."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page.body.decode())
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data


PROGRESS = progress(
    TenantRecord(
        tenant=read_tenant({"name": "a", "hosts": ["a.test"], "docker": {"image": "x"}}, what="test"),
        desired=DesiredState(state=Desired.STARTED),
        observed=ObservedState(
            state=Observed.STARTING,
            phases=(Phase("queued", 1000), Phase("started", 500)),
            past_starts=(8000, 9000, 7000),
        ),
    ),
    3.5,
)


def html_pages() -> list[Page]:
    return [starting_page("a.test", "id-1", PROGRESS), *(error_page(reason, "id-1") for reason in Reason)]


def field(page: Page, name: str) -> str | None:
    return dict(page.fields).get(name)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_page_and_a_problem(reason: Reason) -> None:
    page, data = error_page(reason, "id-1"), problem(reason, "id-1")
    assert page.status == data.status == STATUS[reason] >= 300
    assert field(data, "Content-Type") == "application/problem+json"
    told = json.loads(data.body)
    assert told["status"] == STATUS[reason]
    assert told["code"] == reason.value
    assert told["request_id"] == "id-1"
    assert told["title"] in Outline(page).text


def test_pages_are_well_formed_and_load_nothing() -> None:
    for place, page in enumerate(html_pages()):
        outline = Outline(page)
        assert outline.seen[:2] == ["html", "head"]
        assert "id-1" in outline.text
        assert ("script" in outline.seen) is (place == 0)
        assert not {"img", "link", "iframe", "form"} & set(outline.seen)
        assert not [name for name, _ in outline.attributes if name.startswith("on") or name in ("src", "href", "style")]


def policy(page: Page) -> dict[str, str]:
    """Directive to its value."""
    rules = (field(page, "Content-Security-Policy") or "").split("; ")
    return {name: value for name, _, value in (rule.partition(" ") for rule in rules)}


def digest(page: Page, element: str) -> str:
    """The hash of the one inline block of a kind, as a policy names it."""
    blocks = re.findall(f"<{element}>(.*?)</{element}>", page.body.decode(), re.DOTALL)
    assert len(blocks) == 1
    return f"'sha256-{base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()}'"


def test_the_policy_allows_the_one_style_and_on_the_starting_page_the_one_script_and_its_stream() -> None:
    fixed = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
    starting, *errors = html_pages()
    live = {"script-src": digest(starting, "script"), "connect-src": "'self'"}
    assert policy(starting) == {**fixed, "style-src": digest(starting, "style"), **live}
    for page in errors:
        assert policy(page) == {**fixed, "style-src": digest(page, "style")}


def test_a_page_for_a_frame_may_be_shown_in_one() -> None:
    for page in (starting_page("a", "i", PROGRESS, framed=True), error_page(Reason.FAILED, "i", framed=True)):
        assert "frame-ancestors" not in policy(page)


def test_nothing_of_ours_is_ever_cached_or_sniffed() -> None:
    for page in (*html_pages(), *(problem(reason, "") for reason in Reason)):
        assert field(page, "Cache-Control") == "no-store"
        assert field(page, "X-Content-Type-Options") == "nosniff"


def test_a_hostile_host_is_text_and_nothing_more() -> None:
    page = starting_page(HOSTILE, HOSTILE, PROGRESS)
    outline = Outline(page)
    assert outline.seen.count("script") == 1
    assert outline.text.count(HOSTILE) == 3
    assert all("\n" not in value and "\r" not in value for _, value in page.fields)


def test_trying_again_is_advised_where_it_makes_sense() -> None:
    for reason in (Reason.WAKING, Reason.WAKE_TIMEOUT, Reason.HELD, Reason.REGISTRY, Reason.DRAINING, Reason.FAILED):
        assert int(field(problem(reason, ""), "Retry-After") or 0) > 0
    for reason in (Reason.STOPPED, Reason.HOST_UNKNOWN, Reason.MALFORMED):
        assert field(problem(reason, ""), "Retry-After") is None


def test_the_starting_page_asks_again_by_itself_without_script() -> None:
    page = starting_page("a.test", "id-1", PROGRESS, refresh=2)
    assert page.status == 503
    # With scripts, a refresh would end the very stream it is told by.
    assert page.body.count(b"http-equiv") == page.body.count(b'<noscript><meta http-equiv="refresh" content="2">') == 1


def test_the_starting_page_says_how_far_it_is_and_for_how_long_to_stay_away() -> None:
    page = starting_page("a.test", "id-1", PROGRESS)
    text = Outline(page).text
    assert "It runs and is getting ready to answer." in text
    assert "Usually about 8 seconds: about 6 seconds left." in text
    assert "1.0 s" in text
    assert "0.5 s" in text
    assert "2.0 s" in text
    assert field(page, "Retry-After") == "6"


def test_a_failure_says_whether_and_when_it_is_tried_again() -> None:
    planned, never = Again(30, planned=True), Again(60, planned=False)
    page = error_page(Reason.FAILED, "id-1", again=planned, refresh=True)
    assert "It is tried again by itself in about 30 seconds" in Outline(page).text
    assert b'<meta http-equiv="refresh" content="31">' in page.body
    assert field(page, "Retry-After") == "30"
    assert "It is not tried again by itself" in Outline(error_page(Reason.FAILED, "id-1", again=never)).text
    # What was sent with the request would be lost by asking again.
    assert b"http-equiv" not in error_page(Reason.FAILED, "id-1", again=planned, refresh=False).body
    told = json.loads(problem(Reason.FAILED, "", again=planned).body)
    assert (told["retry_after"], told["retried"]) == (30, True)
    assert json.loads(problem(Reason.FAILED, "", again=never).body)["retried"] is False
    event = json.loads(failed_event(planned, Reason.FAILED))
    assert event["retry_after"] == 30
    assert event["outlook"] == planned.text


def test_what_is_known_of_a_start_is_what_a_program_is_told() -> None:
    page = problem(Reason.WAKE_TIMEOUT, "", retry_after=17)
    assert field(page, "Retry-After") == "17"
    assert json.loads(page.body)["retry_after"] == 17


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (b"application/grpc", "application/grpc"),
        (b"application/grpc+proto", "application/grpc+proto"),
        (b" Application/gRPC-Web-Text+proto; charset=x", "application/grpc-web-text+proto"),
        (b"application/grpc-web", "application/grpc-web"),
        (b"application/json", None),
        (b"", None),
        (b"text/html", None),
    ],
)
def test_what_speaks_grpc_is_told_by_its_content_type(given: bytes, answered: str | None) -> None:
    assert grpc_type(given) == answered


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_status_of_grpc(reason: Reason) -> None:
    page = grpc_refusal("application/grpc", reason, "id-1")
    assert (page.status, page.body) == (200, b"")
    status = {400: "13", 404: "12", 413: "8", 429: "14", 501: "12", 502: "14", 503: "14", 504: "14"}
    assert field(page, "grpc-status") == status.get(STATUS[reason], "2")
    message = field(page, "grpc-message") or ""
    assert reason.value in message
    assert re.fullmatch(r"[ -~]+", message)


def test_a_caller_that_speaks_grpc_is_told_in_its_way_when_to_come_again() -> None:
    page = grpc_refusal("application/grpc", Reason.WAKE_TIMEOUT, "id-1", retry_after=7)
    assert field(page, "grpc-retry-pushback-ms") == "7000"
    assert field(page, "Retry-After") == "7"
    assert field(grpc_refusal("application/grpc", Reason.STOPPED, ""), "grpc-retry-pushback-ms") is None
