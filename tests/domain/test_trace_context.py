from __future__ import annotations

import pytest

from gogeta.domain.trace_context import STATE_LIMIT, TraceContext, keeps, parse_traceparent, parse_tracestate

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "sampled", "random"),
    [
        (f"00-{TRACE}-{SPAN}-01", True, False),
        (f"00-{TRACE}-{SPAN}-00", False, False),
        (f"00-{TRACE}-{SPAN}-03", True, True),
        (f"00-{TRACE}-{SPAN}-fe", False, True),
        (f"cc-{TRACE}-{SPAN}-01", True, False),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-has", True, False),
    ],
)
def test_a_well_formed_parent_is_read_and_written_in_our_version(value: str, *, sampled: bool, random: bool) -> None:
    context = parse_traceparent(value)
    assert context == TraceContext(TRACE, SPAN, sampled, random=random)
    assert context.traceparent == f"00-{TRACE}-{SPAN}-0{sampled + 2 * random}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01 ",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0G",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"00-{chr(0x660) * 32}-{SPAN}-01",
    ],
)
def test_anything_else_is_no_parent(value: str) -> None:
    assert parse_traceparent(value) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"], "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1 ,\t b=2, ,"], "a=1,b=2"),
        (["tenant@system=x"], "tenant@system=x"),
        (["0a/*_-@sys=a b"], "0a/*_-@sys=a b"),
        ([""], ""),
        (["A=1"], ""),
        (["a=1,a=2"], ""),
        (["a"], ""),
        (["a="], ""),
        (["a=b=c"], ""),
        (["a=\x7f"], ""),
        (["a=é"], ""),
        (["0a=1"], ""),
        ([",".join(f"k{number}=1" for number in range(33))], ""),
        ([",".join(f"k{number}=1" for number in range(32))], ",".join(f"k{number}=1" for number in range(32))),
        (["a=" + "x" * 257], ""),
    ],
)
def test_the_state_is_kept_whole_or_not_at_all(values: list[str], expected: str) -> None:
    assert parse_tracestate(values) == expected


def test_of_a_state_that_is_too_long_long_members_go_first_and_then_the_last() -> None:
    long, short = "long=" + "x" * 200, [f"k{number}=" + "y" * 80 for number in range(8)]
    kept = parse_tracestate([long, *short]).split(",")
    assert kept == short[: len(kept)]
    assert len(kept) == 6
    assert len(",".join(kept)) <= STATE_LIMIT < len(",".join(short))


def test_whether_a_trace_is_kept_depends_on_its_id_alone() -> None:
    low, high = "f" * 16 + "0" * 15 + "1", "0" * 16 + "f" * 16
    assert [keeps(low, share) for share in (0.0, 0.01, 1.0)] == [False, True, True]
    assert [keeps(high, share) for share in (0.0, 0.99, 1.0)] == [False, False, True]
