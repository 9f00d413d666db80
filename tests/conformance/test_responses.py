"""Every response case, fed in every way, judged by what the visitor reads and by the request that comes next."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gogeta.core.refusal import Reason
from tests.conformance import responses, strictly
from tests.conformance.pending import PENDING_ANSWERS
from tests.conformance.responses import Answer
from tests.conformance.strictly import Message
from tests.conformance.world import DATE, OK, Reply, Splitting, World, bytewise, cut, whole

OURS = (b"Date", DATE[6:-2])
FAULTS = (Reason.UPSTREAM_INVALID, Reason.UPSTREAM_LOST)


def shown(message: Message) -> tuple[object, ...]:
    """What counts of an answer: the size of its chunks does not."""
    fields = [pair for pair in message.fields if pair != OURS]
    return (message.start, sorted(fields), message.body, message.trailers, message.complete, message.chunked)


def order(message: Message) -> list[tuple[bytes, bytes]]:
    """The fields that were the tenant's, in their order."""
    return [
        pair
        for pair in message.fields
        if pair[0].lower() not in (b"date", b"connection", b"transfer-encoding", b"content-length", b"trailer")
    ]


def judge(case: Answer, world: World, split: Splitting) -> None:
    """What the visitor reads, and what the next one does."""
    method = case.request.split(b" ", 1)[0]
    world.hang_up()
    world.tenant_splits = split
    replies = iter([Reply(case.data, case.ends)])
    world.answering = lambda _: next(replies, OK)
    outcome = world.play(case.request, methods=[method])
    read = [*outcome.heralds, *outcome.answers]
    if case.reads:
        expected = strictly.responses(case.reads, methods=[method], over=True)
        assert [shown(message) for message in read] == [shown(message) for message in expected]
        assert [order(message) for message in read] == [order(message) for message in expected]
        assert not outcome.broken
        assert outcome.over == case.over
    elif case.broken and outcome.raw and (not outcome.answers or outcome.answers[-1].status != 502):
        assert not outcome.answers or not outcome.answers[-1].complete
        assert outcome.over
        assert outcome.broken
    else:
        assert outcome.statuses == [502]
        assert method == b"HEAD" or json.loads(outcome.answers[0].body)["code"] in FAULTS
        assert not outcome.broken
    world.tenant_splits = whole
    after = world.play(responses.GET)
    assert [(answer.status, answer.body) for answer in after.answers] == [(200, b"ok")]
    assert after.connects == (not case.kept)
    world.forget()


def ways(case: Answer) -> Iterator[Splitting]:
    """Whole, byte by byte, and in two pieces: a short case at every place, a long one at many."""
    length = len(case.data)
    yield whole
    yield bytewise
    yield from (cut(place) for place in range(1, length, 1 + length // 120))


def test_each_is_named_once() -> None:
    names = [case.section for case in responses.CASES]
    assert sorted(names) == sorted(set(names))
    assert len(names) >= 150
    assert all(name.startswith("RFC ") for name in names)


@pytest.mark.parametrize(
    "case", [case for case in responses.CASES if case.section not in PENDING_ANSWERS], ids=lambda case: case.section
)
def test_case(case: Answer) -> None:
    with World() as world:
        for split in ways(case):
            judge(case, world, split)


def test_what_is_pending_is_still_wrong() -> None:
    """Whoever mends one takes it off the list."""
    kept = [case.section for case in responses.CASES if case.section in PENDING_ANSWERS and _is_kept(case)]
    assert kept == []
    assert set(PENDING_ANSWERS) <= {case.section for case in responses.CASES}


def _is_kept(case: Answer) -> bool:
    try:
        with World() as world:
            for split in ways(case):
                judge(case, world, split)
    except (AssertionError, strictly.Malformed):
        return False
    return True
