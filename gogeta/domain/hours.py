"""Hours of the week in a time zone: ``mon-fri 08:00-18:00``, read from text, asked with a moment. Pure.

Wall time of people. On the day on which clocks go forward, hours that do not exist are passed over, and one that begins
or ends in the gap does so when the gap does. On the day on which they go back, hours last from the first time that
their begin is shown to the last time that their end is. It must not know what the hours are for, and reads no clock:
the moment comes from the caller.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM: Final = "expected hours such as 'mon-fri 08:00-18:00', 'sat,sun 10:00-24:00' or 'daily 22:00-06:00'"
_HOURS: Final = re.compile(r"(\S+)\s+(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)
_DAY_MINUTES: Final = 24 * 60
_HORIZON: Final = 9
"""Days looked at around a moment: a week, and one on either side for hours that pass midnight and for zones."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Some hours of some days of the week. An end that is not after the begin is one of the next day."""

    days: frozenset[int]
    """0 is Monday."""
    begin: int
    """Minutes since midnight, 0 to 1439."""
    end: int
    """Minutes since midnight, 1 to 1440."""

    def __str__(self) -> str:
        """The one spelling, which ``parse_hours`` reads back to an equal value."""
        return f"{_days_text(self.days)} {_clock(self.begin)}-{_clock(self.end)}"

    @property
    def minutes(self) -> int:
        """How long they are on a day like any other."""
        return (self.end - self.begin) if self.end > self.begin else self.end - self.begin + _DAY_MINUTES


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of time in which the hours hold: from ``begin``, before ``end``, both aware."""

    begin: datetime
    end: datetime


def parse_hours(value: object) -> Hours:
    """Hours from text (``mon-fri 08:00-18:00``). Raises ValueError naming the accepted forms."""
    if isinstance(value, Hours):
        return value
    match = _HOURS.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{_FORM}, not {value!r}")
    begin, end = _minutes(match[2], match[3], value), _minutes(match[4], match[5], value)
    if begin == _DAY_MINUTES or end == 0:
        raise ValueError(f"{_FORM}: a day begins with 00:00 and ends with 24:00, not {value!r}")
    if begin == end:
        raise ValueError(f"{_FORM}: {value!r} begins when it ends")
    return Hours(_days(match[1], value), begin, end)


def check_zone(name: object) -> str:
    """``name`` if it is a time zone's.

    Raises ValueError; not where this system knows no zones at all: then whoever has to keep the hours says so.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name):
        raise ValueError(f"expected a time zone such as Europe/Paris or UTC, not {name!r}")
    if zone_of(name) is None and zone_of("Europe/Paris") is not None:
        raise ValueError(f"expected a time zone such as Europe/Paris or UTC, not {name!r}")
    return name


def zone_of(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone, from the system's data (Debian's tzdata) or Python's package of that name; None without either."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def span_at(hours: Iterable[Hours], zone: zoneinfo.ZoneInfo, moment: datetime) -> Span | None:
    """The stretch that holds ``moment`` (aware); stretches that touch or overlap are one. None when none does."""
    return next((span for span in _spans(tuple(hours), zone, moment) if span.begin <= moment < span.end), None)


def next_begin(hours: Iterable[Hours], zone: zoneinfo.ZoneInfo, moment: datetime) -> datetime | None:
    """When the next stretch begins, strictly after ``moment`` (aware). None without hours, and when they never end."""
    return next((span.begin for span in _spans(tuple(hours), zone, moment) if span.begin > moment), None)


def _spans(hours: tuple[Hours, ...], zone: zoneinfo.ZoneInfo, moment: datetime) -> Iterator[Span]:
    """The stretches from a day before ``moment`` to a week after it, in order, those that touch joined."""
    first = moment.astimezone(zone).date() - timedelta(days=2)
    single = sorted(
        (
            Span(_at(day, each.begin, zone, fold=0), _at(day, each.begin + each.minutes, zone, fold=1))
            for day in (first + timedelta(days=number) for number in range(_HORIZON + 2))
            for each in hours
            if day.weekday() in each.days
        ),
        key=lambda span: span.begin,
    )
    joined: Span | None = None
    for span in single:
        if span.begin >= span.end:
            continue  # all of it in the gap of a day on which clocks go forward
        if joined is not None and span.begin <= joined.end:
            joined = Span(joined.begin, max(joined.end, span.end))
            continue
        if joined is not None:
            yield joined
        joined = span
    if joined is not None:
        yield joined


def _at(day: date, minutes: int, zone: zoneinfo.ZoneInfo, *, fold: int) -> datetime:
    """When the wall shows so many minutes of the day, in UTC; ``fold`` 1: the last time it does.

    Where it never does, the end of the gap: the moment at which the offset changes.
    """
    days, minutes = divmod(minutes, _DAY_MINUTES)
    wall = datetime.combine(day + timedelta(days=days), datetime.min.time()) + timedelta(minutes=minutes)
    moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    one, other = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    before, after = min(one, other), max(one, other)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _minutes(hour: str, minute: str, value: object) -> int:
    minutes = int(hour) * 60 + int(minute)
    if int(minute) > 59 or minutes > _DAY_MINUTES:
        raise ValueError(f"{_FORM}: there is no {hour}:{minute}, in {value!r}")
    return minutes


def _days(text: str, value: object) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{_FORM}: days are {', '.join(DAYS)}, in {value!r}")
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % 7 + 1 if dash else 1
        days.update((begin + number) % 7 for number in range(count))
    return frozenset(days)


def _days_text(days: frozenset[int]) -> str:
    if len(days) == 7:
        return "daily"
    begins = [day for day in sorted(days) if (day - 1) % 7 not in days]
    parts = []
    for begin in begins:
        length = next(count for count in range(1, 8) if (begin + count) % 7 not in days)
        last = DAYS[(begin + length - 1) % 7]
        parts.append(DAYS[begin] if length == 1 else f"{DAYS[begin]}-{last}")
    return ",".join(parts)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
