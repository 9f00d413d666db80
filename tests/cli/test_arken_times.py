"""Last accesses as the older programs and their helpers wrote them."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.cli.arken.times import read_offset, read_time

PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2014, 11, 3, 12, 0, 0, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2014-11-03 12:00:00", UTC, NOON),
        ("2014-11-03 13:00:00", PARIS, NOON),
        ("2014-07-03 14:00:00", PARIS, datetime(2014, 7, 3, 12, 0, 0, tzinfo=UTC)),
        ("2014-11-03 05:00:00.999999999 -0700 MST", PARIS, NOON + timedelta(milliseconds=999)),
        ("2014-11-03 05:00:00 -0700 MST m=+0.000012", UTC, NOON),
        ("2014-11-03 15:00:00 +0300 +03", UTC, NOON),
        ("2014-11-03 12:00:00.5 +0000 UTC", PARIS, NOON + timedelta(milliseconds=500)),
        ("2014-11-03 12:00:00 UTC", PARIS, NOON),
        ("2014-11-03T12:00:00Z", PARIS, NOON),
        ("2014-11-03T14:00:00.123456789+02:00", UTC, NOON + timedelta(milliseconds=123)),
        ("  2014-11-03 12:00:00\n", UTC, NOON),
    ],
)
def test_every_form_is_read_and_its_own_zone_honoured(text: str, zone: tzinfo, expected: datetime) -> None:
    assert read_time(text, zone) == ms(expected)


def test_gos_zero_time_means_never() -> None:
    assert read_time("0001-01-01 00:00:00 +0000 UTC", UTC) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2014-11-03 12:00:00 MST", "MST alone is no offset"),
        ("2014-11-03 12:00:00 CET", "CET alone is no offset"),
        ("yesterday", "not 'yesterday'"),
        ("1415015045", "expected a time such as 2014-11-03 15:04:05"),
        ("2014-02-30 12:00:00", "day"),
        ("2014-11-03 25:00:00", "hour"),
        ("2014-11-03 12:00:00 +9900", "from UTC"),
        ("1969-12-31 23:59:59", "before 1970"),
        ("03/11/2014 12:00", "expected a time"),
        ("٢٠١٤-11-03 12:00:00", "expected a time"),
    ],
)
def test_anything_else_is_refused_and_says_what_was_expected(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_time(text, UTC)


@given(st.text(), st.sampled_from([UTC, PARIS]))
def test_no_text_does_anything_but_a_time_or_a_refusal(text: str, zone: tzinfo) -> None:
    try:
        found = read_time(text, zone)
    except ValueError:
        return
    assert found is None or found >= 0


@given(
    st.datetimes(min_value=datetime(1970, 1, 3), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - zones come next
    st.integers(-15 * 60, 15 * 60),
)
def test_a_time_with_its_offset_is_that_moment_whatever_zone_is_told(wall: datetime, minutes: int) -> None:
    moment = wall.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert read_time(moment.isoformat(), PARIS) == expected
    go = f"{wall:%Y-%m-%d %H:%M:%S}.{wall.microsecond:06d} {moment:%z} XYZ" if wall.year > 999 else moment.isoformat()
    assert read_time(go, PARIS) == expected


def test_offsets_are_zones_and_names_are_left_to_others() -> None:
    assert read_offset("utc") is UTC
    assert read_offset("+02:00") == timezone(timedelta(hours=2))
    assert read_offset("-0730") == timezone(-timedelta(hours=7, minutes=30))
    assert read_offset("Europe/Paris") is None
    with pytest.raises(ValueError, match="from UTC"):
        read_offset("+77:00")
