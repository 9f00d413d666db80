from dataclasses import replace

import pytest

from bench.lifecycle.verdict import Verdict, Visit, judge

OWN = Visit("get", "acme", 0, "acme-get-1", sent=100.0, ended=100.2, status=200, whose="acme", instance="a1")
REFUSED = Visit("get", "acme", 0, "acme-get-1", sent=100.0, ended=100.2, status=503, retry_after="5", code="failed")
CUT = replace(OWN, kind="slow-bulk", trouble="ConnectionError: the body was cut", under_way=True)
PAGE = replace(REFUSED, kind="page", page=True)


def verdict(visit: Visit, *, slept: bool = False, orphaned: bool = False) -> Verdict:
    return judge(visit, deadline=60.0, slept=slept, orphaned=orphaned)


def test_only_the_tenants_own_whole_answer_is_its_own() -> None:
    assert verdict(OWN) is Verdict.OWN
    assert verdict(replace(OWN, kind="socket", status=101)) is Verdict.OWN
    assert verdict(replace(OWN, whose="other")) is Verdict.LOST
    assert verdict(replace(OWN, wrong="100 bytes instead of 101")) is Verdict.LOST
    assert verdict(replace(OWN, trouble="ConnectionResetError")) is Verdict.LOST
    assert verdict(replace(OWN, status=500)) is Verdict.LOST
    assert verdict(replace(OWN, whose="", status=200)) is Verdict.LOST


def test_a_program_may_be_told_to_come_again_only_past_its_deadline() -> None:
    assert verdict(REFUSED) is Verdict.LOST
    assert verdict(replace(REFUSED, ended=160.0)) is Verdict.LATE
    assert verdict(replace(REFUSED, ended=160.0, retry_after="")) is Verdict.LOST
    assert verdict(replace(REFUSED, ended=160.0, status=502)) is Verdict.LOST


def test_the_page_is_for_people_alone() -> None:
    assert verdict(PAGE) is Verdict.PAGE
    assert verdict(replace(PAGE, kind="get")) is Verdict.LOST
    assert verdict(replace(PAGE, retry_after="")) is Verdict.LOST
    assert verdict(replace(PAGE, page=False)) is Verdict.LOST


@pytest.mark.parametrize("kind", ["bulk", "slow-bulk", "socket", "long-socket"])
def test_an_operators_sleep_may_cut_what_lasts(kind: str) -> None:
    cut = replace(CUT, kind=kind)
    assert verdict(cut) is Verdict.LOST, "an idle timeout may not"
    assert verdict(cut, slept=True) is Verdict.SLEPT
    assert verdict(replace(cut, under_way=False), slept=True) is Verdict.LOST, "nothing had begun"
    assert verdict(replace(cut, wrong="other bytes"), slept=True) is Verdict.LOST
    assert verdict(replace(cut, kind="post"), slept=True) is Verdict.LOST


def test_what_ended_with_its_application_is_counted_apart_unless_it_was_answered_wrongly() -> None:
    assert verdict(CUT, orphaned=True) is Verdict.ENDED
    assert verdict(OWN, orphaned=True) is Verdict.OWN
    assert verdict(replace(OWN, whose="other"), orphaned=True) is Verdict.LOST
    assert verdict(replace(OWN, wrong="other bytes"), orphaned=True) is Verdict.LOST
