"""The shared corpus, judged by what reaches the tenant: refused, or forwarded as exactly what h11 reads in it."""

from __future__ import annotations

import pytest

from tests.conformance import corpus, oracle
from tests.conformance.case import brief
from tests.conformance.corpus import Labelled
from tests.conformance.pending import PENDING_CORPUS
from tests.conformance.world import Splitting, World, bytewise, whole

CASES = corpus.load()
LOSSY = ("MAL-NON-ASCII-URL", "MAL-URL-OVERLONG-UTF8")
"""The corpus has a question mark where these had bytes beyond ASCII: what it holds is a good request."""


def test_the_corpus_is_there() -> None:
    if not CASES:
        # No "missing part": nothing can install it, and a clean clone is whole without it.
        pytest.skip(f"no {corpus.WHERE} beside the checkout: its cases are not run, ours are")
    assert len(CASES) >= 276


def judge(case: Labelled, split: Splitting) -> None:
    """Never anything but what a strict reader reads; and what the label says, where it says it for sure."""
    with World(hosts=["*"]) as world:
        outcome = world.play(case.data, split)
    read = [brief(message) for message in outcome.read]
    assert read == [heard.brief for heard in oracle.requests(case.data)][: len(read)]
    final = [status for status in outcome.statuses if status != 200]
    assert outcome.statuses == [200] * len(read) + final
    assert len(final) <= 1
    if case.must_refuse and not case.name.endswith(LOSSY):
        assert read == []
    if case.must_pass:
        assert len(read) == 1
    if not read and not outcome.partial:
        assert final or not oracle.requests(case.data)


@pytest.mark.parametrize("split", [whole, bytewise], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in PENDING_CORPUS], ids=lambda case: case.name
)
def test_case(case: Labelled, split: Splitting) -> None:
    judge(case, split)


def test_what_is_pending_is_still_wrong() -> None:
    for case in CASES:
        if case.name in PENDING_CORPUS:
            with pytest.raises(AssertionError):
                judge(case, whole)
