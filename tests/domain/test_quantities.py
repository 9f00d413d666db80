"""Durations and sizes: what people write, and nothing else."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.quantities import format_duration, parse_duration, parse_duration_or_never, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30m", 1800.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("2d", 172800.0),
        (5, 5.0),
        ("7", 7.0),
        (0, 0.0),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "m",
        "-1s",
        "1 s",
        "1y",
        "1e3s",
        "\u0663s",
        -1,
        True,
        None,
        [],
        float("nan"),
        float("inf"),
        10**400,
        -(10**400),
        "9" * 400,
        "99999d",
    ],
)
def test_what_is_no_duration_is_refused_with_the_forms_that_are(written: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["never", " Never ", None, 0, "0", "0s"])
def test_never_has_three_spellings(written: object) -> None:
    assert parse_duration_or_never(written) is None


@given(st.integers(min_value=0, max_value=10 * 365 * 86_400_000))
def test_a_duration_reads_back_to_the_same_milliseconds(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("written", "size"), [("64k", 65536), ("256m", 1 << 28), ("2GiB", 1 << 31), ("1.5k", 1536), (10, 10), ("10", 10)]
)
def test_sizes(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", ["", "k", "-1", "1x", "1kk", -1, True, None, 1.5, "9" * 400, "9" * 30 + "t", 1 << 70, "\u0663k"]
)
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(written)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.booleans()))
def test_anything_at_all_is_a_quantity_or_a_value_error(written: object) -> None:
    for parse in (parse_duration, parse_duration_or_never, parse_size):
        with contextlib.suppress(ValueError):
            parse(written)
