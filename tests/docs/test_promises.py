"""docs/guarantees.md and docs/threat-model.md: the tests, modules, settings and reasons they name are there."""

import re
from pathlib import Path

import pytest

from gogeta.core.refusal import STATUS, Reason
from gogeta.domain.quantities import parse_duration, parse_size
from gogeta.domain.tenant import Wake
from gogeta.kit.options import Option, declared
from gogeta.kit.sources import flag_of
from gogeta.settings import ServeSettings
from passivator.settings import PassivatorSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("guarantees.md", "threat-model.md")
SETTINGS: dict[str, Option] = {
    flag_of(option.name): option for settings in (ServeSettings, PassivatorSettings) for option in declared(settings)
}


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:::(test_\w+))?`", _page(page))
    assert named
    for file, test in named:
        found = [path for path in (ROOT / "tests").rglob(Path(file).name) if str(path).endswith(file)]
        assert found, f"{file} is not there"
        if test:
            assert any(f"def {test}(" in path.read_text(encoding="utf-8") for path in found), f"{file}::{test}"


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_is_named_is_there(page: str) -> None:
    named = {name for name in re.findall(r"`((?:\w+/)*\w+\.py)`", _page(page)) if "test_" not in name}
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / "gogeta" / "net" / name).is_file()] == [
        name for name in sorted(named) if "/" in name and (ROOT / name).is_file()
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_is_one(page: str) -> None:
    named = set(re.findall(r"`(--[a-z-]+)", _page(page)))
    # Of commands, not of settings.
    assert named - set(SETTINGS) <= {"--expires"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_chapters_that_are_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _page(page)):
        file, _, chapter = target.partition("#")
        path = ROOT / "docs" / (file or page)
        assert path.exists(), target
        if chapter:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert chapter in anchors, target


def test_limits_and_what_is_beyond_them_are_the_codes() -> None:
    section = _page("guarantees.md").partition("## 7.")[2].partition("## 8.")[0]
    limits = re.findall(r"`(--[a-z-]+)` \(([^)]+)\)", section)
    assert len(limits) > 15
    for flag, told in limits:
        default = SETTINGS[flag].default
        value = None if told == "no limit" else _quantity(told)
        assert (default or None) == value, f"{flag} is {default}"
    assert f"`wake.timeout` ({Wake().timeout:.0f} s)" in section
    answers = re.findall(r"(\d{3}) ((?:`[a-z-]+`(?:, )?)+)", section)
    reasons = [(int(status), Reason(each)) for status, some in answers for each in re.findall(r"`([a-z-]+)`", some)]
    assert len(reasons) > 10
    assert [(status, reason) for status, reason in reasons if STATUS[reason] != status] == []


def _quantity(told: str) -> float:
    number, _, unit = told.replace(",", "").partition(" ")
    if unit == "KiB":
        return parse_size(f"{number}k")
    return parse_duration(f"{number}{unit[0]}") if unit else int(number)
