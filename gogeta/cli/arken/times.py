"""When a service was last used, as the programs of that time and their helpers wrote it. Pure.

The older gogeta wrote its own local time without saying whose (``2006-01-02 15:04:05`` in Go's notation), which is why
its passivator, reading the same as UTC, was off by the offset. So the zone of such times has to be told. Others wrote
Go's own notation (``2014-11-03 15:04:05.999999999 -0700 MST``) or RFC 3339; there the offset counts. A zone's
abbreviation alone is no offset: CST is three of them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[ Tt](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?:(?P<utc>[Zz])| ?(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?"
    r"(?: (?P<zone>[A-Z]{1,6}|[+-]\d\d(?:\d\d)?))?"
    # What Go adds to a time that it has just taken.
    r"(?: m=[+-]\d+\.\d+)?",
    re.ASCII,
).fullmatch
_OFFSET: Final = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)", re.ASCII).fullmatch
_NO_OFFSET_NEEDED: Final = ("UTC", "GMT")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = 1
"""Year of Go's zero time."""
_FORMS: Final = "expected a time such as 2014-11-03 15:04:05, 2014-11-03 15:04:05 -0700 MST or 2014-11-03T15:04:05Z"


def read_time(text: str, zone: tzinfo) -> int | None:
    """Epoch milliseconds; None for Go's zero time, which means never. ``zone`` is that of times that name none.

    Raises ValueError that says what was expected.
    """
    found = _TIME(text.strip())
    if found is None:
        raise ValueError(f"{_FORMS}, not {text[:60]!r}")
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{found['time']}")
        moment = moment.replace(
            microsecond=int((found["fraction"] or "0").ljust(6, "0")[:6]), tzinfo=_zone(found, zone)
        )
        if moment.year == _NEVER:
            return None
        milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{_FORMS}, not {text[:60]!r}: {error}") from None
    if milliseconds < 0:
        raise ValueError(f"{text[:60]!r} is before 1970")
    return milliseconds


def _zone(found: re.Match[str], default: tzinfo) -> tzinfo:
    if found["sign"]:
        return _offset(found)
    if found["utc"] or found["zone"] in _NO_OFFSET_NEEDED:
        return UTC
    if found["zone"]:
        raise ValueError(f"{found['zone']} alone is no offset, since such names have several")
    return default


def _offset(found: re.Match[str]) -> timezone:
    hours, minutes = int(found["hours"]), int(found["minutes"])
    if hours > 15 or minutes > 59:
        raise ValueError(f"no place is {found['sign']}{found['hours']}:{found['minutes']} from UTC")
    return timezone((-1 if found["sign"] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


def read_offset(text: str) -> timezone | None:
    """``UTC`` or ``+02:00`` as a zone; None for anything else, a zone's name perhaps. Raises ValueError."""
    if text.upper() in _NO_OFFSET_NEEDED:
        return UTC
    found = _OFFSET(text)
    return None if found is None else _offset(found)
