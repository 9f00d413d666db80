"""A short round of the fuzz: the same inputs every time, and some of Hypothesis's, which makes them small by itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogeta.core.request import RequestHead
from tests.conformance import mutation
from tests.conformance.fuzz import Fuzz, once, smaller
from tests.conformance.mutation import Step, Trial
from tests.conformance.trial import Finding
from tests.conformance.world import OK

ROUND = 600
GET = b"GET / HTTP/1.1\r\nHost: acme.test\r\n\r\n"


def test_a_short_round_of_fixed_inputs() -> None:
    with Fuzz() as fuzz:
        for seed in range(ROUND):
            fuzz.check(mutation.trial(random.Random(seed)), one_by_one=seed % 4 == 0)
        assert fuzz.forwarded > ROUND


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_short_round_of_hypothesis(chance: random.Random, one_by_one: bool) -> None:  # noqa: FBT001 - a drawn value
    assert once(mutation.trial(chance), one_by_one=one_by_one) is None


def one(*data: bytes) -> Trial:
    """One visitor who says this."""
    return Trial([Step(0, piece, settles=True) for piece in data], [OK], ["198.51.100.7"], ends=False)


def test_it_finds_a_request_that_nobody_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    serialise = RequestHead.serialise
    monkeypatch.setattr(RequestHead, "serialise", lambda head, *more: serialise(head, *more) + GET)
    assert "bytes behind a request" in str(once(one(GET), one_by_one=False))


def test_it_finds_a_field_of_another_request(monkeypatch: pytest.MonkeyPatch) -> None:
    serialise = RequestHead.serialise
    kept: list[bytes] = []

    def remembering(head: RequestHead, *more: bytes) -> bytes:
        kept.append(serialise(head, *more))
        return kept[0]

    monkeypatch.setattr(RequestHead, "serialise", remembering)
    given = one(GET, GET.replace(b"\r\n\r\n", b"\r\nX: a\r\n\r\n"), GET)
    assert once(given, one_by_one=False)
    assert len(smaller(given, one_by_one=False).steps) < 3


def test_it_finds_what_only_a_proxy_that_remembers_does(monkeypatch: pytest.MonkeyPatch) -> None:
    serialise = RequestHead.serialise
    seen: set[bytes] = set()

    def remembering(head: RequestHead, method: bytes, target: bytes, *more: bytes) -> bytes:
        spoiled = target in seen
        seen.add(target)
        said = serialise(head, method, target, *more)
        return said.replace(b"X: a", b"X: b") if spoiled else said

    monkeypatch.setattr(RequestHead, "serialise", remembering)
    given = one(GET.replace(b"\r\n\r\n", b"\r\nX: a\r\n\r\n"))
    with Fuzz() as fuzz, pytest.raises(Finding):
        fuzz.check(given, one_by_one=False)
