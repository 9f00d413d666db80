"""What a visitor reads when the answer is ours."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from gogeta.core.pages import Page, error_page, problem, starting_page
from gogeta.core.refusal import STATUS, Reason

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
        if "style" not in self.open:
            self.text += data


def html_pages() -> list[Page]:
    return [starting_page("a.test", "id-1"), *(error_page(reason, "id-1") for reason in Reason)]


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


def test_pages_are_well_formed_without_script_and_load_nothing() -> None:
    for page in html_pages():
        outline = Outline(page)
        assert outline.seen[:2] == ["html", "head"]
        assert "id-1" in outline.text
        assert not {"script", "img", "link", "iframe", "form"} & set(outline.seen)
        assert not [name for name, _ in outline.attributes if name.startswith("on") or name in ("src", "href", "style")]


def test_the_policy_allows_the_one_style_and_nothing_else() -> None:
    for page in html_pages():
        policy = field(page, "Content-Security-Policy") or ""
        style = re.search(r"<style>(.*)</style>", page.body.decode(), re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy


def test_nothing_of_ours_is_ever_cached_or_sniffed() -> None:
    for page in (*html_pages(), *(problem(reason, "") for reason in Reason)):
        assert field(page, "Cache-Control") == "no-store"
        assert field(page, "X-Content-Type-Options") == "nosniff"


def test_a_hostile_host_is_text_and_nothing_more() -> None:
    page = starting_page(HOSTILE, HOSTILE)
    outline = Outline(page)
    assert "script" not in outline.seen
    assert outline.text.count(HOSTILE) == 3
    assert all("\n" not in value and "\r" not in value for _, value in page.fields)


def test_trying_again_is_advised_where_it_makes_sense() -> None:
    for reason in (Reason.WAKING, Reason.WAKE_TIMEOUT, Reason.HELD, Reason.REGISTRY, Reason.DRAINING, Reason.FAILED):
        assert int(field(problem(reason, ""), "Retry-After") or 0) > 0
    for reason in (Reason.STOPPED, Reason.HOST_UNKNOWN, Reason.MALFORMED):
        assert field(problem(reason, ""), "Retry-After") is None


def test_the_starting_page_asks_again_by_itself_without_script() -> None:
    page = starting_page("a.test", "id-1")
    assert page.status == 503
    assert field(page, "Retry-After")
    assert ("http-equiv", "refresh") in Outline(page).attributes
