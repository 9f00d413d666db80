"""Never more than the limit, and in the order of asking."""

from hypothesis import given
from hypothesis import strategies as st

from passivator.startqueue import StartQueue


def test_who_asks_first_starts_first() -> None:
    queue, granted = StartQueue(1), list[str]()
    assert queue.enter("a", lambda: granted.append("a"))
    for name in "bcd":
        assert not queue.enter(name, lambda name=name: granted.append(name))  # type: ignore[misc]
    assert (queue.active, queue.waiting, queue.ahead_of("d")) == (1, 3, 2)
    queue.leave("c")
    queue.leave("a")
    assert granted == ["b"]
    assert queue.enter("b", lambda: None)
    queue.leave("b")
    assert granted == ["b", "d"]
    assert repr(queue) == "<StartQueue 1/1 active, 0 waiting>"


def test_a_start_from_before_a_restart_counts_past_the_limit() -> None:
    queue = StartQueue(1)
    queue.join("a")
    queue.join("b")
    assert queue.active == 2
    assert not queue.enter("c", lambda: None)
    queue.leave("a")
    assert not queue.enter("c", lambda: None)
    queue.leave("b")
    assert queue.enter("c", lambda: None)


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=60))
def test_never_more_than_the_limit_and_nobody_waits_while_there_is_room(
    limit: int, steps: list[tuple[str, bool]]
) -> None:
    queue = StartQueue(limit)
    for name, enters in steps:
        if enters:
            queue.enter(name, lambda: None)
        else:
            queue.leave(name)
        assert queue.active <= limit
        assert not queue.waiting or queue.active == limit
