"""Every request case, fed in every way, judged by what reaches the tenant and what the visitor reads."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gogeta.core.refusal import STATUS
from tests.conformance import passing, requests
from tests.conformance.case import OURS, Case, brief
from tests.conformance.pending import PENDING
from tests.conformance.strictly import Malformed, Message
from tests.conformance.world import Outcome, Splitting, World, bytewise, cut, whole

CASES = [*requests.CASES, *passing.CASES]


def judge(case: Case, outcome: Outcome) -> None:
    """Nothing more and nothing less than the case says."""
    assert len(outcome.read) == len(case.read), [brief(message) for message in outcome.read]
    for message, expected in zip(outcome.read, case.messages, strict=True):
        if isinstance(expected, Message):
            read = message if case.whole_heads else _without_ours(message)
            assert (read.start, read.fields) == (expected.start, expected.fields)
            assert (read.body, read.trailers) == (expected.body, expected.trailers)
        else:
            assert brief(message) == expected
    answered = [200] * len(case.read)
    assert all(answer.complete for answer in outcome.answers)
    assert outcome.statuses[: len(answered)] == answered
    more = outcome.answers[len(answered) :]
    assert len(more) == bool(case.refused)
    for refusal in more:
        if not case.refuses_head:
            assert json.loads(refusal.body)["code"] in case.refused
        assert refusal.status in [STATUS[reason] for reason in case.refused]
        assert refusal.values(b"connection") == ([] if case.stays else [b"close"])
    assert outcome.over == (case.closes or (bool(case.refused) and not case.stays))
    if case.waits:
        assert [brief(message) for message in outcome.partial] == ([case.partly] if case.partly else [])


def _without_ours(message: Message) -> Message:
    fields = [(name, value) for name, value in message.fields if name.lower() not in OURS]
    return Message(message.start, fields, message.body, message.trailers)


def ways(case: Case) -> Iterator[Splitting]:
    """Whole, byte by byte, and in two pieces: a short case at every place, a long one at many."""
    length = len(case.data)
    yield whole
    yield bytewise
    yield from (cut(place) for place in range(1, length, 1 + length // 120))


def test_there_are_enough_and_each_is_named_once() -> None:
    names = [case.section for case in CASES]
    assert sorted(names) == sorted(set(names))
    assert len(names) >= 300
    assert all(name.startswith("RFC ") for name in names)


@pytest.mark.parametrize("case", [case for case in CASES if case.section not in PENDING], ids=lambda case: case.section)
def test_case(case: Case) -> None:
    with World() as world:
        for split in ways(case):
            judge(case, world.play(case.data, split, peer=case.peer, methods=case.methods))
            world.forget()


def test_what_is_pending_is_still_wrong() -> None:
    """Whoever mends one takes it off the list."""
    kept = [case.section for case in CASES if case.section in PENDING and _is_kept(case)]
    assert kept == []
    assert set(PENDING) <= {case.section for case in CASES}


def _is_kept(case: Case) -> bool:
    try:
        with World() as world:
            for split in ways(case):
                judge(case, world.play(case.data, split, peer=case.peer, methods=case.methods))
    except (AssertionError, Malformed):
        return False
    return True
