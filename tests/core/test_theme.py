"""Templates: what may stand in one, that nothing filled in is ever more than text, and what their policy says."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.theme import ThemeError, read_template

NAMES = frozenset({"host", "text"})


def read(body: str, head: str = "") -> str:
    """The complaint about a template, or nothing."""
    try:
        read_template(f"<html><head>{head}</head>\n<body>{body}</body></html>", NAMES, what="t.html")
    except ThemeError as error:
        return str(error)
    return ""


class Reader(HTMLParser):
    """What a browser would make of a page, near enough."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


TEMPLATE = read_template(
    "<html><head></head><body><p title=\"{{ host }}\" class='a {{text}}'>{{host}} and {{text}}</p></body></html>",
    NAMES,
    what="t.html",
)


@given(host=st.text(), text=st.text())
def test_whatever_is_filled_in_is_text(host: str, text: str) -> None:
    page = Reader(TEMPLATE.filled({"host": host, "text": text}))
    assert page.tags == ["html", "head", "body", "p"]
    assert [name for name, _ in page.attributes] == ["title", "class"]


@pytest.mark.parametrize(
    "hostile", ["<script>x</script>", '" onclick="x', "' onclick='x", "</head><x>", "{{text}}", "&lt;"]
)
def test_what_is_hostile_is_shown_as_it_is(hostile: str) -> None:
    page = Reader(TEMPLATE.filled({"host": hostile, "text": "b"}, "<meta charset=utf-8>"))
    assert page.text == f"{hostile} and b"
    assert ("title", hostile) in page.attributes
    assert page.tags == ["html", "head", "meta", "body", "p"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("{{nobody}}", "line 2: there is no {{nobody}} here; there are: host, text"),
        ("\n{{ HOST }}", "line 3: there is no {{HOST}} here"),
        ("<script>let x = '{{host}}'</script>", "line 2: a placeholder may not stand in <script>"),
        ("<style>a{color:{{host}}}</style>", "a placeholder may not stand in <style>"),
        ("<!-- {{host}} -->", "a placeholder may not stand in a comment"),
        ("<p title={{host}}>", "{{host}} may not stand here"),
        ("<p {{host}}>", "{{host}} may not stand here"),
        ('<p {{host}}="x">', "{{host}} may not stand here"),
        ("<{{host}}>", "{{host}} may not stand here"),
        ('<a href="{{host}}">', "{{host}} may not stand here"),
        ('<p title="a" onx=\'b\' data="{{host}}">', "may not stand here"),
        ('<p style="color:red">', "use a <style> block"),
        ("<p onclick=x()>", "use a <script> block"),
        ("<script src=/x.js></script>", "a script from elsewhere"),
        ("<img src=/logo.png>", "can only be a data: URL"),
        ("<link rel=stylesheet href=x>", "<link> cannot be used"),
        ("<iframe srcdoc=x></iframe>", "<iframe> cannot be used"),
        ("<form></form>", "<form> cannot be used"),
        ('<base href="//evil">', "<base> cannot be used"),
        ('<meta http-equiv="refresh" content="0">', "<meta http-equiv> cannot be used"),
        ("<style>a", "<style> is never closed"),
        ("<script/>", "<script> is never closed"),
        ("</head>", "exactly once"),
    ],
)
def test_what_a_template_may_not_have_is_told_with_its_line(body: str, complaint: str) -> None:
    told = read(body)
    assert complaint in told
    assert told.startswith("t.html, line ")


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert read("<p onclick=x>\n<p style=x>\n{{nobody}}").count("t.html, line ") == 3


@pytest.mark.parametrize(
    "body",
    [
        '<p data-gogeta="text" aria-label="{{host}}" title=\'{{host}}, {{text}}\'>{{text}}</p>',
        "<img alt='' src='data:image/png;base64,AAAA'>",
        '<a href="https://status.example.com/">Status</a><a href="#top">up</a>',
        "<style>p{color:red}</style><script>1 < 2 && '</p>'</script>",
        "<noscript>{{text}}</noscript><p {braces}>}} {single}</p>",
    ],
)
def test_what_is_harmless_is_taken(body: str) -> None:
    assert read(body) == ""


def test_the_policy_names_its_own_blocks_and_nothing_else() -> None:
    template = read_template(
        "<html><head><style>a\r\nb</style></head><body><script>x &amp; y</script></body></html>", NAMES, what="t.html"
    )

    def name(block: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"

    # A browser sees line feeds alone, and no references in a script.
    assert template.policy() == (
        f"default-src 'none'; style-src {name(chr(97) + chr(10) + chr(98))}; script-src {name('x &amp; y')}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    live = template.policy(script="'sha256-X'", live=True, framed=True)
    assert f"script-src {name('x &amp; y')} 'sha256-X'; connect-src 'self'" in live
    assert "frame-ancestors" not in live
    assert "img-src data:" in read_template("<head></head><img src='data:,'>", NAMES, what="t").policy()


def test_what_we_add_stands_in_the_head() -> None:
    assert "<head><i></head>" in TEMPLATE.filled({"host": "a", "text": "b"}, "<i>")
