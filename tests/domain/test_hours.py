"""Hours of the week: one spelling, every minute in the right place, also on the days on which clocks change."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.hours import Hours, check_zone, next_begin, parse_hours, span_at

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")

hours = st.builds(
    Hours,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
).filter(lambda each: each.begin != each.end)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(hours)
def test_what_is_written_reads_back(each: Hours) -> None:
    assert parse_hours(str(each)) == each


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("mon-fri 8:00-18:00", "mon-fri 08:00-18:00"),
        ("  Mon,TUE,wed   08:00 - 9:30 ", "mon-wed 08:00-09:30"),
        ("fri-mon 22:00-06:00", "fri-mon 22:00-06:00"),
        ("sun,sat 0:00-24:00", "sat-sun 00:00-24:00"),
        ("mon-sun 10:00-11:00", "daily 10:00-11:00"),
        ("daily 10:00-11:00", "daily 10:00-11:00"),
    ],
)
def test_spellings(text: str, spelt: str) -> None:
    assert str(parse_hours(text)) == spelt


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "mon",
            "08:00-18:00",
            "mon 8-18",
            "mon 08:00",
            "monday 08:00-18:00",
            "mon 25:00-26:00",
            "mon 08:60-09:00",
        ),
        *("mon 24:00-01:00", "mon 10:00-10:00", "mon 10:00-00:00", "mon- 10:00-11:00", "mon 10:00-11:00 x", None, 7),
        "mon 10:00-24:01",
    ],
)
def test_what_is_no_hours_is_refused_with_the_forms_that_are(text: object) -> None:
    with pytest.raises(ValueError, match="mon-fri 08:00-18:00"):
        parse_hours(text)


def test_a_zone_has_to_exist() -> None:
    assert check_zone("Europe/Paris") == "Europe/Paris"
    for name in ("Europe/Pariss", "../etc/passwd", "", None, "/etc/localtime"):
        with pytest.raises(ValueError, match="Europe/Paris"):
            check_zone(name)


def test_an_ordinary_week() -> None:
    office = [parse_hours("mon-fri 08:00-18:00")]
    span = span_at(office, PARIS, utc("2026-01-14 07:00"))
    assert span is not None
    assert (span.begin, span.end) == (utc("2026-01-14 07:00"), utc("2026-01-14 17:00"))
    assert span_at(office, PARIS, utc("2026-01-14 06:59:59")) is None
    assert span_at(office, PARIS, utc("2026-01-14 17:00")) is None
    assert next_begin(office, PARIS, utc("2026-01-16 12:00")) == utc("2026-01-19 07:00")
    assert span_at(office, PARIS, utc("2026-01-17 12:00")) is None


def test_hours_that_pass_midnight_belong_to_the_day_on_which_they_begin() -> None:
    night = [parse_hours("fri 22:00-02:00")]
    span = span_at(night, UTC_ZONE, utc("2026-01-17 01:59"))
    assert span is not None
    assert (span.begin, span.end) == (utc("2026-01-16 22:00"), utc("2026-01-17 02:00"))
    assert span_at(night, UTC_ZONE, utc("2026-01-16 01:00")) is None


def test_hours_that_touch_are_one_stretch_and_those_without_end_hold_always() -> None:
    two = [parse_hours("daily 08:00-12:00"), parse_hours("daily 12:00-14:00")]
    span = span_at(two, UTC_ZONE, utc("2026-01-14 09:00"))
    assert span is not None
    assert span.end == utc("2026-01-14 14:00")
    always = [parse_hours("daily 00:00-24:00")]
    span = span_at(always, PARIS, utc("2026-03-29 01:30"))
    assert span is not None
    assert span.end - utc("2026-03-29 01:30") > timedelta(days=6)
    assert next_begin(always, PARIS, utc("2026-03-29 01:30")) is None


UTC_ZONE = zoneinfo.ZoneInfo("UTC")


def test_when_clocks_go_forward() -> None:
    # Paris, 29 March 2026: after 01:59 comes 03:00, which is 01:00 UTC.
    gap = utc("2026-03-29 01:00")
    into = span_at([parse_hours("sun 01:00-02:30")], PARIS, gap - timedelta(seconds=1))
    assert into is not None
    assert (into.begin, into.end) == (utc("2026-03-29 00:00"), gap)
    out = span_at([parse_hours("sun 02:30-04:00")], PARIS, gap)
    assert out is not None
    assert (out.begin, out.end) == (gap, utc("2026-03-29 02:00"))
    across = span_at([parse_hours("sun 01:30-03:30")], PARIS, gap)
    assert across is not None
    assert across.end - across.begin == timedelta(hours=1)
    inside = [parse_hours("sun 02:10-02:50")]
    assert span_at(inside, PARIS, gap) is None
    assert span_at(inside, PARIS, gap - timedelta(minutes=1)) is None
    # The same hours as ever from the next day on: in summer an hour earlier in UTC.
    office = [parse_hours("daily 08:00-18:00")]
    assert next_begin(office, PARIS, utc("2026-03-28 20:00")) == utc("2026-03-29 06:00")
    assert next_begin(office, PARIS, utc("2026-03-27 20:00")) == utc("2026-03-28 07:00")


def test_when_clocks_go_back() -> None:
    # Paris, 25 October 2026: 02:00 to 03:00 is there twice, from 00:00 and from 01:00 UTC.
    twice = span_at([parse_hours("sun 02:00-02:30")], PARIS, utc("2026-10-25 00:00"))
    assert twice is not None
    assert (twice.begin, twice.end) == (utc("2026-10-25 00:00"), utc("2026-10-25 01:30"))
    across = span_at([parse_hours("sun 01:30-03:30")], PARIS, utc("2026-10-25 01:00"))
    assert across is not None
    assert across.end - across.begin == timedelta(hours=3)
    assert next_begin([parse_hours("daily 08:00-18:00")], PARIS, utc("2026-10-24 20:00")) == utc("2026-10-25 07:00")
    # And over there, 1 November.
    there = span_at([parse_hours("sun 01:00-02:00")], NEW_YORK, utc("2026-11-01 06:30"))
    assert there is not None
    assert there.end - there.begin == timedelta(hours=2)


@given(
    st.lists(hours, min_size=1, max_size=4),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sampled_from([PARIS, NEW_YORK, UTC_ZONE, zoneinfo.ZoneInfo("Australia/Lord_Howe")]),
)
def test_a_moment_is_in_them_as_the_wall_clock_says(
    several: list[Hours], naive: datetime, zone: zoneinfo.ZoneInfo
) -> None:
    moment = naive.replace(tzinfo=UTC)
    wall = moment.astimezone(zone)
    minute, day = wall.hour * 60 + wall.minute, wall.weekday()

    def holds(each: Hours) -> bool:
        if each.begin < each.end:
            return day in each.days and each.begin <= minute < each.end
        return (day in each.days and minute >= each.begin) or ((day - 1) % 7 in each.days and minute < each.end)

    shown = any(holds(each) for each in several)
    span = span_at(several, zone, moment)
    # An hour that is there twice may be in them the second time or the first only: then it is, in between.
    if wall.utcoffset() == (moment - timedelta(hours=3)).astimezone(zone).utcoffset():
        if wall.utcoffset() == (moment + timedelta(hours=3)).astimezone(zone).utcoffset():
            assert (span is not None) == shown
    elif shown:
        assert span is not None
    begins = next_begin(several, zone, moment)
    assert begins is None or begins > moment
    if span is None:
        assert begins is not None
        assert begins - moment <= timedelta(days=7, hours=2)
        assert span_at(several, zone, begins) is not None
