"""docs/conformance.md says what the cases prove."""

from __future__ import annotations

from tests.conformance.document import DOCUMENT, written


def test_the_tables_are_those_of_the_cases() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == written(text), "run: python -m tests.conformance.document"
