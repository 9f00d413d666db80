"""Lines from pieces: none lost, none joined, none without a bound, wherever the pieces are cut."""

from hypothesis import given
from hypothesis import strategies as st

from passivator.drivers.base import MAX_LINE
from passivator.drivers.output import Lines


def read(pieces: list[str]) -> list[str]:
    lines = Lines()
    found = [line for piece in pieces for line in lines.take(piece)]
    return found + lines.end()


@given(st.lists(st.text(alphabet="a\n\u00e9", max_size=12), max_size=12))
def test_the_lines_are_the_same_wherever_they_are_cut(pieces: list[str]) -> None:
    text = "".join(pieces)
    whole = text.split("\n")
    assert read(pieces) == whole[:-1] + ([whole[-1]] if whole[-1] else [])


def test_a_carriage_return_at_the_end_of_a_line_is_no_part_of_it() -> None:
    assert read(["a\r\nb\r", "\nc"]) == ["a", "b", "c"]


def test_a_line_without_an_end_comes_in_bounded_parts() -> None:
    lines = Lines()
    found = []
    for _ in range(10):
        found += lines.take("x" * (MAX_LINE - 1))
        assert all(len(part) == MAX_LINE for part in found)
    found += lines.end()
    assert sum(map(len, found)) == 10 * (MAX_LINE - 1)
    assert read(["y" * (2 * MAX_LINE + 5) + "\nz"]) == ["y" * MAX_LINE, "y" * MAX_LINE, "y" * 5, "z"]
