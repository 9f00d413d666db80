"""``python -m tests.conformance.document``: writes the tables of docs/conformance.md anew from the cases."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from gogeta.core.refusal import STATUS
from tests.conformance import passing, requests, responses
from tests.conformance.pending import PENDING, PENDING_ANSWERS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
_SECTION = re.compile(r"(RFC [0-9]+ [0-9.]+) (.*)").fullmatch
_ROW = "| {} | {} | {} |"


def _table(head: str, cases: list[tuple[str, str]], answer: str = "answer") -> list[str]:
    """Cases as (name with its section, answer), one row for each section and answer."""
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, told in cases:
        match = _SECTION(name)
        assert match is not None, name
        rows[match[1], told].append(match[2].replace("|", "\\|"))
    lines = [f"| section | {head} | {answer} |", "|---|---|---|"]

    def place(key: tuple[str, str]) -> tuple[list[int], str]:
        return [int(number) for number in re.findall("[0-9]+", key[0])], key[1]

    return [*lines, *(_ROW.format(key[0], "; ".join(rows[key]), key[1]) for key in sorted(rows, key=place))]


def tables() -> dict[str, list[str]]:
    """All tables by their names."""
    refused, passed = [], []
    for case in (*requests.CASES, *passing.CASES):
        if case.section in PENDING:
            continue
        if case.refused:
            answers = " or ".join(dict.fromkeys(str(int(STATUS[reason])) for reason in case.refused))
            refused.append((case.section, answers))
        elif not case.waits:
            passed.append((case.section, "passes"))
    broken, told = [], []
    for answer in responses.CASES:
        if answer.section in PENDING_ANSWERS:
            continue
        if answer.refused or answer.broken:
            broken.append((answer.section, "502" if answer.refused else "502, or broken off"))
        else:
            told.append((answer.section, "passes" if answer.kept else "passes, connection not used again"))
    pending = [(name, why) for table in (PENDING, PENDING_ANSWERS) for name, why in table.items()]
    return {
        "refused": _table("refused of a visitor", refused),
        "passed": _table("passes", passed),
        "broken": _table("refused of a tenant", broken),
        "told": _table("what a tenant sends", told),
        "pending": _table("not kept yet", pending, "why"),
    }


def written(text: str) -> str:
    """The document with its tables written anew."""
    for name, lines in tables().items():
        begin, end = f"<!-- table {name} -->", "<!-- end -->"
        block = "\n".join([begin, "", *lines, "", end])
        text, count = re.subn(f"{begin}.*?{end}", block.replace("\\", r"\\"), text, count=1, flags=re.DOTALL)
        assert count == 1, name
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
