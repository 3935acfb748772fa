"""FHIR dates and times compared: each is a span of time, and overlapping spans have no order."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

_PARTS = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d)))?)?)?", re.ASCII
)
_SECOND: Final = 10**9
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_WIDEST_ZONE: Final = 14 * _HOUR
_DECEMBER: Final = 12


def surely_after(one: str, other: str) -> bool:
    """Tell whether the whole of `one` lies after the whole of `other`.

    A bare date beside a time may mean any zone; two bare dates mean the same. Texts
    must be valid dateTimes: `formats` comes first.
    """
    slack = _WIDEST_ZONE if ("T" in one) != ("T" in other) else 0
    return _span(one, slack)[0] > _span(other, slack)[1]


def _span(text: str, slack: int) -> tuple[int, int]:
    """Return the first and last nanosecond that `text` can mean."""
    match = _PARTS.fullmatch(text)
    if match is None:
        raise ValueError("not a FHIR dateTime")
    year, month, day, hour, minute, second, fraction, sign, *zone = match.groups(default="")
    start = date(int(year), int(month or 1), int(day or 1)).toordinal() * _DAY
    if not hour:
        return start - slack, _day_after(int(year), month, day) * _DAY + slack - 1
    offset = int(zone[0]) * _HOUR + int(zone[1]) * _MINUTE if sign else 0
    moment = start + int(hour) * _HOUR + int(minute) * _MINUTE + int(second) * _SECOND
    moment += int(fraction.ljust(9, "0")[:9]) + (offset if sign == "-" else -offset)
    return moment, moment + 10 ** max(0, 9 - len(fraction)) - 1


def _day_after(year: int, month: str, day: str) -> int:
    """Return the number of the day that follows a year, month or day; the year may be 9999."""
    if day:
        return date(year, int(month), int(day)).toordinal() + 1
    if month and int(month) < _DECEMBER:
        return date(year, int(month) + 1, 1).toordinal()
    return date(year, _DECEMBER, 31).toordinal() + 1
