"""What happens with a request: the whole table of meeting x mode x navigation x time waited."""

from __future__ import annotations

from itertools import product

import pytest

from gogeta.core.admission import Decision, Forward, Hold, Page, Refuse, admit
from gogeta.core.refusal import Reason
from gogeta.domain.lifecycle import Meeting
from gogeta.domain.tenant import Wake

MODES = ("auto", "page", "hold")
WAITED = (0.0, 0.4, 0.9995, 1.0, 5.0, 9.9995, 10.0, 1e9)


def expected(meeting: Meeting, mode: str, waited: float, *, navigation: bool) -> Decision:
    """The rules once more, told case by case."""
    if meeting is Meeting.FORWARD:
        return Forward()
    if meeting in (Meeting.STOPPED, Meeting.FAILED):
        return Refuse(Reason.STOPPED if meeting is Meeting.STOPPED else Reason.FAILED)
    wake = meeting is Meeting.WAKE
    if navigation and mode == "page":
        return Page(wake)
    if navigation and mode == "auto":
        return Hold(1.0 - waited, wake) if waited < 0.999 else Page(wake)
    return Hold(10.0 - waited, wake) if waited < 9.999 else Refuse(Reason.WAKE_TIMEOUT)


@pytest.mark.parametrize(
    ("meeting", "mode", "navigation", "waited"), list(product(Meeting, MODES, (False, True), WAITED))
)
def test_every_case(meeting: Meeting, mode: str, navigation: bool, waited: float) -> None:  # noqa: FBT001 - a column
    policy = Wake(mode=mode, hold=1.0, timeout=10.0)
    assert admit(meeting, policy, navigation=navigation, waited=waited) == expected(
        meeting, mode, waited, navigation=navigation
    )


def test_a_hold_of_nothing_pages_at_once() -> None:
    assert admit(Meeting.WAKE, Wake(hold=0.0), navigation=True, waited=0.0) == Page(wake=True)


def test_nobody_is_woken_who_is_on_the_way_up() -> None:
    assert admit(Meeting.WAIT, Wake(), navigation=False, waited=0.0) == Hold(120.0, wake=False)
