"""The two decisions of the start queue: whose turn it is, and who makes room."""

from hypothesis import assume, given
from hypothesis import strategies as st

from passivator.core.turns import LONGEST_HANDICAP, Idler, Memory, Waiting, in_order, make_room, turns

waiting = st.lists(
    st.builds(
        Waiting,
        name=st.text("abcdefghijkl", min_size=1, max_size=3),
        arrived=st.floats(0, 500),
        need=st.integers(0, 100),
        failures=st.integers(0, 40),
        starts=st.integers(0, 40),
    ),
    unique_by=lambda one: one.name,
    max_size=12,
)
idlers = st.lists(
    st.builds(
        Idler, name=st.text("abcdefghijkl", min_size=1, max_size=3), need=st.integers(0, 100), silent=st.floats(0, 1e6)
    ),
    unique_by=lambda one: one.name,
    max_size=10,
)


@given(waiting, st.integers(0, 6), st.integers(1, 6), st.integers(0, 400), st.integers(0, 300))
def test_never_more_at_once_and_never_more_memory_than_the_limits(
    queue: list[Waiting], starting: int, most: int, limit: int, used: int
) -> None:
    result = turns(queue, starting=starting, most=most, memory=Memory(limit, used))
    assert len(result.granted) <= max(most - starting, 0)
    need = {one.name: one.need for one in queue}
    assert not result.granted or used + sum(need[name] for name in result.granted) <= limit
    # Whoever is first is served, if anybody can be.
    if queue and starting < most and used + in_order(queue)[0].need <= limit:
        assert result.granted[0] == in_order(queue)[0].name
    if result.missing:
        assert len(result.granted) < max(most - starting, 0)
        assert result.missing <= max(used + sum(need.values()) - limit, 0)


@given(waiting)
def test_nobody_is_overtaken_by_one_who_came_much_later(queue: list[Waiting]) -> None:
    order = in_order(queue)
    for place, one in enumerate(order):
        assert all(earlier.arrived <= one.arrived + LONGEST_HANDICAP for earlier in order[:place])


@given(waiting)
def test_of_those_without_a_history_who_comes_first_is_first(queue: list[Waiting]) -> None:
    fresh = [Waiting(one.name, one.arrived) for one in queue]
    assert [one.arrived for one in in_order(fresh)] == sorted(one.arrived for one in fresh)


@given(waiting, st.integers(1, 4))
def test_everybody_gets_a_turn(queue: list[Waiting], most: int) -> None:
    left, rounds = {one.name: one for one in queue}, 0
    while left:
        for name in turns(left.values(), starting=0, most=most, memory=None).granted:
            del left[name]
        rounds += 1
    assert rounds == -(-len(queue) // most)


@given(idlers, st.integers(-10, 500))
def test_room_is_made_by_enough_and_by_no_more_than_needed(candidates: list[Idler], missing: int) -> None:
    chosen = make_room(candidates, missing)
    need = {one.name: one.need for one in candidates}
    freed = sum(need[name] for name in chosen)
    if not chosen:
        assert missing <= 0 or sum(need.values()) < missing
        return
    assert freed >= missing > 0
    assert all(freed - need[name] < missing for name in chosen), "without any of them it would not suffice"


@given(idlers, st.integers(1, 100))
def test_the_longest_idle_goes_when_one_is_enough(candidates: list[Idler], missing: int) -> None:
    assume(candidates)
    longest = min(candidates, key=lambda one: (-one.silent, one.name))
    assume(longest.need >= missing)
    assert make_room(candidates, missing) == (longest.name,)
