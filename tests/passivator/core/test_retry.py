"""Later after each failure, at once after a good life, and not at all after too many."""

from hypothesis import given
from hypothesis import strategies as st

from passivator.core.retry import NEVER, STEADY, Retry, RetryPolicy

POLICY = RetryPolicy(first=1.0, limit=300.0)
FEW = RetryPolicy(first=1.0, limit=300.0, tries=3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_waits_double_up_to_the_limit_and_never_go_past_it(jitters: list[float]) -> None:
    retry = Retry()
    for count, jitter in enumerate(jitters):
        retry = retry.failed(POLICY, 100.0, jitter)
        longest = min(POLICY.limit, POLICY.first * 2**count)
        assert longest / 2 <= retry.not_before - 100.0 <= longest
        assert retry.failures == count + 1


def test_a_crash_after_a_good_life_is_tried_again_at_once() -> None:
    failed = Retry().failed(POLICY, 0.0, 1.0).failed(POLICY, 1.0, 1.0)
    assert failed.crashed(POLICY, 500.0, 1.0, STEADY) == Retry(0, 500.0)
    assert failed.crashed(POLICY, 500.0, 1.0, STEADY - 1) == Retry(3, 504.0)


def given_up_at(now: float) -> Retry:
    retry = Retry()
    for _ in range(FEW.tries):
        assert not retry.given_up
        retry = retry.failed(FEW, now, 1.0)
    assert retry.given_up
    return retry


def test_after_too_many_failures_it_is_given_up_and_a_visitor_may_ask_after_the_longest_wait() -> None:
    retry = given_up_at(50.0)
    assert (retry.not_before, retry.asks_from) == (NEVER, 350.0)
    assert retry.asked_by_visitor(349.0) == retry
    assert retry.asked_by_visitor(350.0).not_before == 350.0


def test_a_single_try_that_fails_leaves_it_given_up_for_as_long_again() -> None:
    once = given_up_at(50.0).asked_by_visitor(400.0)
    assert not once.given_up
    again = once.failed(FEW, 410.0, 1.0)
    assert again.given_up
    assert again.asks_from == 710.0


def test_a_single_try_that_succeeds_and_lasts_ends_it_and_one_that_dies_soon_does_not() -> None:
    once = given_up_at(50.0).once(60.0)
    assert once.crashed(FEW, 200.0, 1.0, STEADY) == Retry(0, 200.0)
    assert once.crashed(FEW, 63.0, 1.0, 2.0).given_up


def test_an_operators_word_forgets_what_was_not_given_up_yet() -> None:
    assert Retry().failed(FEW, 0.0, 1.0).once(0.5) == Retry()


@given(st.lists(st.tuples(st.sampled_from(["fail", "crash", "visitor"]), st.floats(0, 400)), max_size=80))
def test_visitors_cause_at_most_one_try_in_the_longest_wait_once_it_is_given_up(steps: list[tuple[str, float]]) -> None:
    retry, now, tried = given_up_at(0.0), 0.0, list[float]()
    for step, passed in steps:
        now += passed
        if step == "visitor" and retry.given_up:
            retry = retry.asked_by_visitor(now)
            if not retry.given_up:
                tried.append(now)
        elif not retry.given_up:
            retry = retry.failed(FEW, now, 0.5) if step == "fail" else retry.crashed(FEW, now, 0.5, 2.0)
    assert all(later - earlier >= FEW.limit for earlier, later in zip([0.0, *tried], tried, strict=False))
