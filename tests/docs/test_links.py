"""No page is lost, and no link leads nowhere."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors, links

INDEX = DOCS / "README.md"


def dead(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for link in links(text):
        path, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (fragment and (target.suffix != ".md" or fragment not in anchors(target.read_text("utf-8")))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead(page, page.read_text(encoding="utf-8")) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = DOCS / "new.md"
    text = """
# One thing: `a` & [b](b.md)

[gone](gone.md) [good](api.md) [no such heading](api.md#nowhere) [heading](api.md#two-people-never-overwrite-each-other)
[own](#one-thing-a--b) [not own](#one-thing) ![picture](images/gone.png) [away](https://example.com/x) `[code](gone.md)`
[out](../../gone.md)

```sh
# not a heading
[in a box](gone.md)
```

## Twice
## Twice
"""
    assert dead(page, text.replace("(b.md)", "(api.md)").replace("#one-thing-a--b", "api.md")) == [
        "gone.md",
        "api.md#nowhere",
        "#one-thing",
        "images/gone.png",
        "../../gone.md",
    ]
    assert anchors(text) == {"one-thing-a--b", "twice", "twice-1"}


def test_the_index_has_every_page_and_the_readme_has_the_index() -> None:
    listed = [DOCS / link for link in links(INDEX.read_text(encoding="utf-8")) if "/" not in link and "#" not in link]
    assert len(listed) == len(set(listed)), "a page has one place"
    assert set(listed) == set(DOCS.glob("*.md")) - {INDEX}
    assert "docs/README.md" in links((ROOT / "README.md").read_text(encoding="utf-8"))


def test_each_page_of_the_index_has_a_line_of_its_own() -> None:
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ["):
            assert re.fullmatch(r"\| \[[^\]]+\]\([^)]+\) \| [^|]+ \|", line), line
