"""Never more than the limits, in a fair order, and nobody waits for nothing."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from passivator.startqueue import StartQueue, Turn


def test_who_asks_first_starts_first() -> None:
    queue, granted = StartQueue(1), list[str]()
    assert queue.enter("a", lambda: granted.append("a"), now=0.0) is Turn.NOW
    for place, name in enumerate("bcd"):
        asked = queue.enter(name, lambda name=name: granted.append(name), now=1.0 + place)  # type: ignore[misc]
        assert asked is Turn.LATER
    assert (queue.active, queue.waiting, queue.ahead_of("d")) == (1, 3, 2)
    queue.leave("c")
    queue.leave("a")
    assert granted == ["b"]
    assert queue.enter("b", lambda: None, now=5.0) is Turn.NOW
    queue.leave("b")
    assert granted == ["b", "d"]
    assert repr(queue) == "<StartQueue 1/1 active, 0 waiting>"


def test_a_start_from_before_a_restart_counts_past_the_limit() -> None:
    queue = StartQueue(1)
    queue.join("a")
    queue.join("b")
    assert queue.active == 2
    assert queue.enter("c", lambda: None, now=0.0) is Turn.LATER
    queue.leave("a")
    assert queue.enter("c", lambda: None, now=0.0) is Turn.LATER
    queue.leave("b")
    assert queue.enter("c", lambda: None, now=0.0) is Turn.NOW


def test_a_visitors_first_wake_goes_before_the_retries_of_a_crash_loop() -> None:
    queue, granted = StartQueue(1), list[str]()
    queue.enter("runs", lambda: None, now=0.0)
    queue.enter("loops", lambda: granted.append("loops"), now=0.0, failures=3)
    queue.enter("visited", lambda: granted.append("visited"), now=5.0)
    queue.leave("runs")
    queue.leave("visited")
    assert granted == ["visited", "loops"]


def test_one_that_is_started_again_and_again_does_not_push_others_back() -> None:
    queue, granted = StartQueue(1), list[str]()
    for second in range(10):
        queue.enter("often", lambda: None, now=float(second))
        queue.leave("often")
    queue.enter("runs", lambda: None, now=100.0)
    queue.enter("often", lambda: granted.append("often"), now=100.0)
    queue.enter("seldom", lambda: granted.append("seldom"), now=110.0)
    queue.leave("runs")
    assert granted == ["seldom"]


def test_what_is_too_many_or_too_large_is_refused_by_name() -> None:
    queue = StartQueue(1, most_waiting=1, memory=100)
    assert queue.enter("large", lambda: None, now=0.0, need=101) is Turn.TOO_LARGE
    assert queue.enter("a", lambda: None, now=0.0, need=10) is Turn.NOW
    assert queue.enter("b", lambda: None, now=0.0, need=10) is Turn.LATER
    assert queue.enter("c", lambda: None, now=0.0, need=10) is Turn.FULL
    assert queue.enter("b", lambda: None, now=0.0, need=10) is Turn.LATER


def test_what_does_not_fit_waits_and_says_how_much_is_missing() -> None:
    running = {"old": 70}
    queue, called = StartQueue(4, memory=100, occupied=lambda: running), list[str]()
    queue.short = lambda: called.append("short")
    assert queue.enter("new", lambda: called.append("new"), now=0.0, need=50) is Turn.LATER
    assert queue.missing == 20
    # A smaller one that came later does not go past it.
    assert queue.enter("small", lambda: called.append("small"), now=1.0, need=10) is Turn.LATER
    del running["old"]
    queue.review()
    assert called == ["short", "short", "new", "small"]
    assert queue.missing == 0
    assert queue.used == 60


@given(
    st.integers(1, 4),
    st.integers(50, 200),
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2), st.integers(0, 90)), max_size=60),
)
def test_never_more_than_the_limits_and_nobody_waits_while_there_is_room(
    limit: int, memory: int, steps: list[tuple[str, int, int]]
) -> None:
    up: dict[str, int] = {}

    def occupied() -> Mapping[str, int]:
        return up

    queue = StartQueue(limit, memory=memory, occupied=occupied)
    needs: dict[str, int] = {}
    waiting: set[str] = set()
    for now, (name, step, need) in enumerate(steps):
        if step == 0 and name not in up:
            needs[name] = needs.get(name, need)
            turn = queue.enter(name, lambda name=name: waiting.discard(name), now=now, need=needs[name])  # type: ignore[misc]
            if turn is Turn.LATER:
                waiting.add(name)
            assert (turn is Turn.TOO_LARGE) == (needs[name] > memory)
        elif step == 1:  # it has started, or given up
            if name in needs and name not in waiting and queue.starts(name):
                up[name] = needs[name]
            waiting.discard(name)
            queue.leave(name)
        else:  # it ends
            up.pop(name, None)
            queue.review()
        assert queue.active <= limit
        assert queue.used <= memory
        assert queue.waiting == len(waiting)
        assert not queue.waiting or queue.active == limit or queue.missing > 0
