"""What was judged before is known again, and no more than so much of it."""

from __future__ import annotations

from gogeta.core.memory import Memory


def teach(memory: Memory[int], head: bytes, judgement: int) -> None:
    memory.learn(head, judgement)
    memory.learn(head, judgement)


def known(memory: Memory[int], head: bytes) -> int | None:
    return memory.get(head) or memory.recall(head)


def test_a_judgement_is_found_by_the_bytes_it_was_made_of() -> None:
    memory: Memory[int] = Memory()
    teach(memory, b"a", 1)
    assert known(memory, b"a") == 1
    assert known(memory, b"a ") is None


def test_it_is_bounded_and_what_is_in_use_stays() -> None:
    memory: Memory[int] = Memory(10)
    teach(memory, b"used", 1)
    for number in range(2, 1000):
        teach(memory, b"%d" % number, number)
        assert known(memory, b"used") == 1
        assert len(memory) <= 21
    assert known(memory, b"2") is None


def test_nothing_is_kept_of_a_long_head() -> None:
    memory: Memory[int] = Memory(longest=10)
    teach(memory, b"x" * 11, 1)
    assert len(memory) == 0


def test_what_is_said_once_is_not_kept() -> None:
    memory: Memory[int] = Memory()
    for number in range(5000):
        memory.learn(b"%d" % number, number)
    assert len(memory) == 0
    teach(memory, b"a", 1)
    assert len(memory) == 1
