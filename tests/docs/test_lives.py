"""docs/life-of-a-tenant.md and docs/life-of-a-request.md: their tables are the code's, their modules are there."""

import re
from pathlib import Path

import pytest

from gogeta.core.admission import Forward, Hold, Page, Refuse, admit
from gogeta.core.pages import advice
from gogeta.core.refusal import STATUS, Reason
from gogeta.domain.lifecycle import Cause, Desired, Meeting, Observed, meet, next_desired
from gogeta.domain.tenant import Wake

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("life-of-a-request.md", "life-of-a-tenant.md")


def _table(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose first line begins with these cells, without the line under the head."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(first))
    rows = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def test_the_table_of_what_a_visitor_meets_is_the_codes() -> None:
    head, *rows = _table("life-of-a-tenant.md", "| desired | `stopped` |")
    told = {
        (Desired(row[0]), Observed(observed)): Meeting(cell)
        for row in rows
        for observed, cell in zip(head[1:], row[1:], strict=True)
    }
    assert told == {(desired, observed): meet(desired, observed) for desired in Desired for observed in Observed}


def test_the_table_of_what_may_change_what_it_should_be_is_the_codes() -> None:
    head, *rows = _table("life-of-a-tenant.md", "| why | while `passivated` |")
    before = [Desired(cell.removeprefix("while ").strip("`")) for cell in head[1:4]]
    told = {
        (Cause(row[0]), current): None if cell == "refused" else Desired(cell)
        for row in rows
        for current, cell in zip(before, row[1:4], strict=True)
    }
    assert told == {(cause, current): next_desired(current, cause) for cause in Cause for current in Desired}


def test_the_table_of_admission_is_the_codes() -> None:
    _, *rows = _table("life-of-a-request.md", "| a visitor meets |")
    assert [row[0] for row in rows] == [meeting.value for meeting in Meeting]
    wake = Wake()
    for row in rows:
        meeting = Meeting(row[0])
        for navigation, cell in ((True, row[1]), (False, row[2])):
            patience = wake.hold if navigation else wake.timeout
            now = admit(meeting, wake, navigation=navigation, waited=0.0)
            late = admit(meeting, wake, navigation=navigation, waited=patience)
            if cell == "to the tenant":
                assert now == late == Forward()
            elif cell.startswith("503"):
                assert now == late
                assert isinstance(now, Refuse)
                assert f"`{now.reason}`" in f"`{cell.removeprefix('503 `')}`"
            else:
                asks = meeting is Meeting.WAKE
                assert ("is asked for" in cell, "nothing to ask for" in cell) == (asks, not asks)
                assert now == Hold(patience, asks)
                assert late == Page(asks) if navigation else isinstance(late, Refuse)
                if "wake-timeout" in cell:
                    assert isinstance(late, Refuse)
                    assert late.reason == "wake-timeout"


def test_the_table_of_refusals_is_the_codes() -> None:
    _, *rows = _table("life-of-a-request.md", "| reason | status |")
    assert sorted((row[0], int(row[1])) for row in rows) == sorted(
        (reason.value, status.value) for reason, status in STATUS.items()
    )
    for reason, _, _, after in rows:
        known = advice(Reason(reason), None, None)
        assert bool(after) == (known is not None), reason
        if after[:1].isdigit():
            assert int(after.partition(";")[0]) == known, reason


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_is_named_is_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    assert len(named) > 15
    own = ROOT / ("passivator" if page == "life-of-a-tenant.md" else "gogeta")
    assert [name for name in sorted(named) if not ((own / name).is_file() or (ROOT / name).is_file())] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_module_of_the_way_is_named(page: str) -> None:
    ways = {
        "life-of-a-request.md": (
            *("net/listener.py", "net/arriving.py", "net/downstream.py", "net/parsing.py", "core/request.py"),
            *("core/routing.py", "core/forwarding.py", "net/holding.py", "core/admission.py", "net/doorkeeper.py"),
            *("net/waker.py", "gogeta/net/forwarder.py", "gogeta/net/exchange.py", "net/response_parsing.py"),
            *("net/activity.py", "net/access_log.py", "core/access_record.py"),
        ),
        "life-of-a-tenant.md": (
            *("controller.py", "worker.py", "core/plan.py", "core/idle.py", "core/retry.py", "slumber.py"),
            *("startqueue.py", "readiness.py", "recorder.py", "transitions.py", "gogeta/net/yielding.py"),
        ),
    }
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [module for module in ways[page] if f"`{module}`" not in text] == []
