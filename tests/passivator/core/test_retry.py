"""Later after each failure, at once after a good life."""

from hypothesis import given
from hypothesis import strategies as st

from passivator.core.retry import STEADY, Retry, RetryPolicy

POLICY = RetryPolicy(first=1.0, limit=300.0)


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
