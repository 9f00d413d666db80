"""docs/tuning.md is true: each setting and each field it names is declared, with the default that it gives."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any, Final

import pytest

from gogeta.core.refusal import STATUS
from gogeta.core.refusal import Reason as Refusal
from gogeta.domain.quantities import format_duration
from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant
from gogeta.kit.options import declared
from gogeta.settings import ServeSettings
from passivator.settings import PassivatorSettings

PAGE: Final = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
FLAGS: Final = {
    f"--{each.name.replace('_', '-')}": each
    for settings in (ServeSettings, PassivatorSettings)
    for each in declared(settings)
}
CELLS: Final = [
    [cell.strip() for cell in line.strip("| ").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")
]
ROWS: Final = [cells for cells in CELLS if len(cells) == 4 and cells[0] != "symptom"]
QUOTED: Final = re.compile(r"`([^`]+)`")
# What stands in code beside settings, fields and reasons.
OTHERS: Final = re.compile(
    r"gogeta [a-z]+( .+)?|(gogeta|passivator)_[a-z_]+(\{reason\})?|/readyz|TimeoutStopSec|code|ready|--config"
    r"|never|(\d+(ms|s|m|h)?)+"
)


def of_a_tenant(path: str) -> Any:  # noqa: ANN401 - a default may be anything
    """A field's default, by its dotted name in a declaration. LookupError where there is none."""
    kind: Any = Tenant
    *parts, last = path.split(".")
    for part in parts:
        hint = typing.get_type_hints(kind)[part]
        kind = next(each for each in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(each))
    return {field.name: field.default for field in dataclasses.fields(kind)}[last]


def is_declared(name: str) -> bool:
    if name.startswith("--"):
        return name in FLAGS
    try:
        of_a_tenant(name)
    except (LookupError, StopIteration):
        return False
    return True


def shown_default(name: str) -> str:
    """As the page has it."""
    if name.startswith("--"):
        return f"`{FLAGS[name].show(FLAGS[name].default)}`"
    default = of_a_tenant(name)
    if name.startswith("limits."):
        assert default is None
        return "none"
    return f"`{format_duration(default)}`"


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[1]}: {row[0]}" for row in ROWS])
def test_a_row_names_what_there_is_with_its_default(row: list[str]) -> None:
    names = QUOTED.findall(row[1])
    assert names
    assert [name for name in names if not is_declared(name)] == []
    assert row[2] == ", ".join(shown_default(name) for name in names)


def test_all_that_can_be_tuned_on_the_way_of_a_request_is_there() -> None:
    named = {name for row in ROWS for name in QUOTED.findall(row[1])}
    timeouts = {flag for flag, each in FLAGS.items() if each.section == "Timeouts"}
    assert timeouts - named == {"--tls-handshake-timeout"}
    of_life = {flag for flag, each in FLAGS.items() if each.section == "Life cycle"}
    assert of_life - named == {"--resync"}


def test_every_word_in_code_is_a_setting_a_field_a_reason_or_a_command() -> None:
    reasons = {*Refusal, *ReasonCode}
    unknown = {
        word for word in QUOTED.findall(PAGE) if not (word in reasons or is_declared(word) or OTHERS.fullmatch(word))
    }
    assert unknown == set()


def test_a_status_stands_before_its_reason() -> None:
    pairs = re.findall(r"\b([1-5]\d\d) `([a-z-]+)`", PAGE)
    assert len(pairs) > 8
    assert [(status, reason) for status, reason in pairs if STATUS[Refusal(reason)].value != int(status)] == []
