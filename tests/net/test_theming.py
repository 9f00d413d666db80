"""The theme's folder: what is told at the start, and what a change while it runs does."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gogeta.core.pages import BUILT_IN
from gogeta.core.theme import MAX_BYTES
from gogeta.domain.errors import InvalidInputError
from gogeta.net.theming import Theming
from gogeta.settings import ServeSettings

GOOD = "<html><head></head><body>{{heading}}</body></html>"
BETTER = "<html><head></head><body>better: {{heading}}</body></html>"


def of(folder: Path) -> Theming:
    return Theming.of(ServeSettings(pages=str(folder)))


def test_without_a_folder_pages_look_as_they_come() -> None:
    assert Theming.of(ServeSettings()).theme is BUILT_IN


def test_a_page_that_the_folder_does_not_have_looks_as_it_comes(tmp_path: Path) -> None:
    assert of(tmp_path).theme == BUILT_IN
    (tmp_path / "error.html").write_text(GOOD)
    (tmp_path / "README.md").write_text("what this is")
    theming = of(tmp_path)
    assert theming.theme.starting is BUILT_IN.starting
    assert theming.theme.error is not BUILT_IN.error
    assert str(theming) == f"error.html from {tmp_path}"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("starting.html", b"<head></head>\n{{code}}", "starting.html, line 2: there is no {{code}} here"),
        ("error.html", b"<head></head>\n\n\xff", "error.html, line 3: it is not UTF-8"),
        ("error.html", b"<head></head>" + b" " * MAX_BYTES, "error.html: it is larger than 256 KiB"),
        ("eror.html", b"", "eror.html: there is no page of this name; there are starting.html and error.html"),
    ],
)
def test_a_mistake_ends_the_start_and_names_the_file(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError) as refused:
        of(tmp_path)
    assert f"pages: {tmp_path}" in str(refused.value.problems[0])
    assert complaint in str(refused.value.problems[0])


def test_a_folder_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        of(tmp_path / "nothing")
    assert "nothing: No such file or directory" in str(refused.value.problems[0])


def test_what_changes_is_taken_in_once_it_stands_still(tmp_path: Path) -> None:
    (tmp_path / "error.html").write_text(GOOD)
    theming = of(tmp_path)
    first = theming.theme
    theming.refresh()
    assert theming.theme is first
    (tmp_path / "error.html").write_text(BETTER)
    theming.refresh()
    assert theming.theme is first
    theming.refresh()
    assert "better: x" in theming.theme.error.filled({"heading": "x"})
    (tmp_path / "error.html").unlink()
    theming.refresh()
    theming.refresh()
    assert theming.theme == BUILT_IN
    assert theming.failures == 0


def test_a_mistake_while_it_runs_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page = tmp_path / "error.html"
    page.write_text(GOOD)
    theming = of(tmp_path)
    first = theming.theme
    page.write_text(GOOD + "{{nobody}}")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            theming.refresh()
    assert theming.theme is first
    assert theming.failures == 1
    assert [record.message for record in caplog.records if "nobody" in record.message]
    assert len(caplog.records) == 1
    page.write_text(BETTER)
    theming.refresh()
    theming.refresh()
    assert theming.theme is not first
    # The same mistake again is another one.
    page.write_text(GOOD + "{{nobody}} ")
    theming.refresh()
    theming.refresh()
    assert theming.failures == 2


def test_a_folder_that_goes_away_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "theme"
    folder.mkdir()
    (folder / "error.html").write_text(GOOD)
    theming = of(folder)
    first = theming.theme
    away = folder.rename(tmp_path / "away")
    for _ in range(3):
        theming.refresh()
    assert theming.theme is first
    assert theming.failures == 1
    (away / "error.html").write_text(BETTER)
    away.rename(folder)
    theming.refresh()
    theming.refresh()
    assert theming.theme is not first
