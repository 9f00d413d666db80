"""docs/add-a-driver.md is true: its driver passes the suite of all drivers, and the names it gives are there."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Final, cast

import pytest

from passivator.drivers.base import Driver
from tests.drivers import test_contract
from tests.drivers.worlds import World

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "add-a-driver.md").read_text()
CODE: Final = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LEFT_OUT: Final = re.findall(r"^- `(test_\w+)`$", PAGE, re.MULTILINE)
SUITE: Final = {name: test for name, test in vars(test_contract).items() if name.startswith("test_")}

# Collected here with the fixtures below: the suite on the driver of the page.
globals().update({name: test for name, test in SUITE.items() if name not in LEFT_OUT})


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """The page's code as a module."""
    module = ModuleType("docs_add_a_driver")
    sys.modules[module.__name__] = module
    for block in CODE:
        exec(compile(block, "docs/add-a-driver.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    return module


@pytest.fixture
async def world(page: ModuleType, tmp_path: Path) -> AsyncIterator[World]:
    """The world of the page."""
    made = cast("World", page.SimpleWorld(tmp_path))
    yield made
    await made.close()


@pytest.fixture
def driver(world: World) -> Driver:
    """The driver of the page."""
    return world.driver()


def test_the_suite_is_run_but_for_what_the_page_names() -> None:
    assert len(LEFT_OUT) == 2
    assert set(LEFT_OUT) <= SUITE.keys()
    assert set(SUITE) - set(LEFT_OUT) <= globals().keys()
    assert len(SUITE) > 25


def test_every_call_of_the_contract_is_in_the_table() -> None:
    calls = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert calls == {name for name in vars(Driver) if not name.startswith("_")} - {"runtime_endpoints"}


def test_every_file_is_there() -> None:
    files = set(re.findall(r"`((?:passivator|gogeta|tests)/[\w/]+\.py)`", PAGE)) - {"passivator/drivers/NAME.py"}
    assert len(files) > 8
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("KINDS", "tests/drivers/worlds.py"),
        ("World", "tests/drivers/worlds.py"),
        ("DRIVERS", "passivator/settings.py"),
        ("open_driver", "passivator/drivers/choosing.py"),
        ("PREFIX", "passivator/drivers/base.py"),
        ("runs", "passivator/ownership.py"),
        ("ENDS_WITH_US", "passivator/ownership.py"),
        ("missing_controller", "gogeta/cli/waiting.py"),
        ("_RUN_BY", "gogeta/domain/explanation.py"),
    ],
)
def test_a_place_where_a_driver_is_entered_is_there(name: str, file: str) -> None:
    assert f"`{name}`" in PAGE
    assert file in PAGE
    assert re.search(rf"^(?:class |def )?{name}\b", (ROOT / file).read_text(), re.MULTILINE)
