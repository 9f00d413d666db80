"""The pages of the documentation as a reader of the repository sees them: their links, headings and boxes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = (ROOT / "README.md", ROOT / "bench" / "README.md", *sorted(DOCS.glob("*.md")))

_FENCE: Final = re.compile(r"^( *)(`{3,})([^`\n]*)\n(.*?)^\1\2`*[ ]*$", re.DOTALL | re.MULTILINE)
_CODE: Final = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK: Final = re.compile(r"\]\(<?([^()\s>]+)>?(?: \"[^\"]*\")?\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.*?)(?: +#+)? *$", re.MULTILINE)


@dataclass(frozen=True)
class Box:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def boxes(page: Path, language: str | None = None) -> Iterator[Box]:
    """The fenced blocks of a page, all or those of one language, without the indentation of the list they stand in."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        if language in (None, found[3].strip()):
            inside = "".join(line.removeprefix(found[1]) for line in found[4].splitlines(keepends=True))
            yield Box(page, text.count("\n", 0, found.start()) + 1, found[3].strip(), inside)


def _prose(text: str) -> str:
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Where the links and images of a page lead, as they are written; those shown as code lead nowhere."""
    return [found[1] for found in _LINK.finditer(_CODE.sub("", _prose(text)))]


def anchors(text: str) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    made: dict[str, int] = {}
    found = set()
    for heading in _HEADING.finditer(_prose(text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{name}-{made[name]}" if name in made else name)
        made[name] = made.get(name, 0) + 1
    return found
