"""Idle connections: bookkeeping alone, so plain names stand for connections."""

from __future__ import annotations

from gogeta.core.pool import Pool


def test_the_connection_used_last_is_taken_first() -> None:
    pool: Pool[str] = Pool(3)
    assert [pool.give(name, now) for now, name in enumerate("abc")] == [True] * 3
    assert [pool.take() for _ in range(4)] == ["c", "b", "a", None]


def test_a_full_pool_takes_no_more() -> None:
    pool: Pool[str] = Pool(1)
    assert pool.give("a", 0)
    assert not pool.give("b", 0)
    assert len(pool) == 1
    assert not Pool[str](0).give("a", 0)


def test_those_idle_for_long_expire_and_the_rest_stay() -> None:
    pool: Pool[str] = Pool(9)
    for now, name in enumerate("abcd"):
        pool.give(name, float(now))
    assert pool.expire(2.0) == ["a", "b"]
    assert pool.expire(2.0) == []
    assert pool.take() == "d"


def test_a_lost_connection_is_forgotten() -> None:
    pool: Pool[object] = Pool(9)
    one, two, three, stranger = object(), object(), object(), object()
    for connection in (one, two, three):
        pool.give(connection, 0)
    pool.drop(two)
    pool.drop(stranger)
    assert [pool.take(), pool.take(), pool.take()] == [three, one, None]


def test_a_retired_pool_gives_everything_up_and_takes_nothing() -> None:
    pool: Pool[str] = Pool(9)
    pool.give("a", 0)
    assert pool.retire() == ["a"]
    assert pool.take() is None
    assert not pool.give("b", 0)
    assert repr(pool) == "<Pool 0/9 idle, retired>"
