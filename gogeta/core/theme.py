"""Pages made from templates: HTML with named placeholders, judged once, filled with escaped text. Pure.

A template may say how our pages look and can never weaken them: what is filled in is always escaped, placeholders stand
only where escaped text is harmless, and the Content-Security-Policy of each page is made from the template's own
``<style>`` and ``<script>`` blocks, by their hashes. What the policy would forbid is told when the template is read,
with its line, instead of being silently dead in every browser.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

MAX_BYTES: Final = 256 * 1024
"""Largest template: a logo in it as a data: URL is meant to fit, a photograph is not."""

_PLACEHOLDER: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME: Final = re.compile(r"[a-z_]+").fullmatch
_MARKUP_BEGUN: Final = re.compile(r"<(?:[!/?][^>]*)?\Z").search
"""What makes of any text that follows a tag's name, or a part of a declaration."""
_HARMLESS: Final = re.compile(
    r"(?:value|max|title|alt|content|class|lang|datetime|aria-[a-z-]+|data-[a-z-]+)"
).fullmatch
"""Attributes in which escaped text is text and nothing else."""
_LOADING: Final = frozenset(
    {"src", "href", "srcset", "poster", "background", "data", "action", "formaction", "xlink:href"}
)
_HASHED: Final = frozenset({"style", "script"})
_REFUSED: Final = frozenset({"base", "embed", "form", "frame", "frameset", "iframe", "object", "link"})
"""Elements that the policy makes useless, or that lead a visitor away from the page he waits for."""


class ThemeError(ValueError):
    """A template cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Template:
    """One page's HTML, judged: fill it with ``filled``."""

    pieces: tuple[str, ...]
    """Text, and the names of placeholders in every second place."""
    style_hashes: tuple[str, ...]
    script_hashes: tuple[str, ...]
    images: bool
    """Whether it has pictures or fonts in data: URLs."""

    def filled(self, values: Mapping[str, str], head: str = "") -> str:
        """The page with ``values`` in its places, escaped; ``head`` (HTML of ours) stands at the end of its head."""
        parts = [
            html.escape(values[piece], quote=True) if place % 2 else piece for place, piece in enumerate(self.pieces)
        ]
        return "".join(parts).replace(_HEAD_END, head + _HEAD_END, 1) if head else "".join(parts)

    def policy(self, *, script: str = "", live: bool = False, framed: bool = False) -> str:
        """The Content-Security-Policy of a page made from it.

        ``script``: hash of a script of ours; ``live``: it may listen to its own host; ``framed``: it was asked for by a
        frame, and a page that cannot be shown there would help nobody (there is nothing on it to click).
        """
        scripts = (*self.script_hashes, *((script,) if script else ()))
        rules = ["default-src 'none'"]
        if self.style_hashes:
            rules.append("style-src " + " ".join(self.style_hashes))
        if scripts:
            rules.append("script-src " + " ".join(scripts))
        if live:
            rules.append("connect-src 'self'")
        if self.images:
            rules += ["img-src data:", "font-src data:"]
        rules += ["base-uri 'none'", "form-action 'none'"]
        if not framed:
            rules.append("frame-ancestors 'none'")
        return "; ".join(rules)


_HEAD_END: Final = "</head>"


def hashed(source: str) -> str:
    """An inline block as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def read_template(source: str, placeholders: frozenset[str], *, what: str) -> Template:
    """Judge a template's source. Raises ThemeError with every problem, each with ``what`` (its file) and line."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    problems: list[tuple[int, str]] = []
    pieces: list[str] = []
    last = 0
    for match in _PLACEHOLDER.finditer(source):
        name = match[1].strip()
        if not _NAME(name) or name not in placeholders:
            known = ", ".join(sorted(placeholders))
            problems.append((_line(source, match.start()), f"there is no {{{{{name[:40]}}}}} here; there are: {known}"))
        if _MARKUP_BEGUN(source[: match.start()]):
            problems.append(
                (_line(source, match.start()), f"{match[0][:40]} may not stand here: it would become markup")
            )
        pieces += (source[last : match.start()], name)
        last = match.end()
    pieces.append(source[last:])
    judge = _Judge(source)
    problems += judge.problems
    if source.count(_HEAD_END) != 1:
        problems.append((1, f"expected {_HEAD_END} exactly once: what keeps the page fresh is put before it"))
    if problems:
        listed = "; ".join(f"{what}, line {line}: {problem}" for line, problem in sorted(problems))
        raise ThemeError(listed)
    return Template(
        tuple(pieces),
        tuple(dict.fromkeys(hashed(block) for block in judge.blocks["style"])),
        tuple(dict.fromkeys(hashed(block) for block in judge.blocks["script"])),
        images=judge.images,
    )


def _line(source: str, place: int) -> int:
    return source.count("\n", 0, place) + 1


class _Judge(HTMLParser):
    """Looks for what a template may not have, and collects what its policy has to name."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self.problems: list[tuple[int, str]] = []
        self.blocks: dict[str, list[str]] = {"style": [], "script": []}
        self.images = "data:" in source
        self._inside = ""
        self.feed(source)
        self.close()
        if self._inside:
            self._problem(f"<{self._inside}> is never closed")

    def _problem(self, text: str) -> None:
        self.problems.append((self.getpos()[0], text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _REFUSED:
            self._problem(f"<{tag}> cannot be used on these pages")
        for name, value in attrs:
            self._attribute(tag, name, value or "")
        self._within_tag(self.get_starttag_text() or "")
        if tag in _HASHED:
            self._inside = tag
            self.blocks[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # In HTML the slash means nothing: <script/> begins a script.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[self._inside][-1] += data
            if _PLACEHOLDER.search(data):
                self._problem(f"a placeholder may not stand in <{self._inside}>: there, nothing can be escaped")

    def handle_comment(self, data: str) -> None:
        if _PLACEHOLDER.search(data):
            self._problem("a placeholder may not stand in a comment")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name == "style":
            self._problem('a style="..." attribute is forbidden by the policy of these pages: use a <style> block')
        elif name.startswith("on"):
            self._problem(f'{name}="..." is forbidden by the policy of these pages: use a <script> block')
        elif tag == "script" and name == "src":
            self._problem("a script from elsewhere is forbidden by the policy of these pages: write it into the page")
        elif name in _LOADING and tag != "a" and not value.startswith(("data:", "#")):
            self._problem(f"{name} can only be a data: URL: nothing else answers while the application is asleep")
        elif tag == "meta" and name == "http-equiv":
            self._problem("<meta http-equiv> cannot be used: the page's fields and its refresh are made by gogeta")

    def _within_tag(self, raw: str) -> None:
        """Placeholders within a tag: only in quotes, only of an attribute that is text."""
        for match in _PLACEHOLDER.finditer(raw):
            before = re.fullmatch(
                r"<[^\s>/]+(?:\s+[^\s=>\"']+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?)*"
                r"\s+([^\s=>\"']+)\s*=\s*(?:\"[^\"]*|'[^']*)",
                raw[: match.start()],
            )
            if before is None or not _HARMLESS(before[1].lower()):
                self._problem(
                    f"{match[0][:40]} may not stand here: only in text, or in quotes in an attribute that is "
                    "text (value, title, alt, class, aria-*, data-*)"
                )
