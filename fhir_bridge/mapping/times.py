"""Times: FHIR's dateTime with its zones and missing parts, as the instants Corti and results need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, Literal

# fhir.resources gives a dateTime as datetime, a day as date, and text for a year,
# a month or a leap second.
FhirTime = datetime | date | str

_PARTIAL: Final = re.compile(r"(\d{4})(?:-(\d\d))?")
_LEAP: Final = re.compile(r"(.*:)60(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Moment:
    """An instant, and whether its source said less than that."""

    at: datetime
    partial: bool


def moment_of(value: FhirTime, edge: Literal["start", "end"], zone: tzinfo = UTC) -> Moment | None:
    """Read a dateTime; a partial one becomes its first or its last second in `zone`.

    None when it lies outside the years 1 to 9999 in UTC, for which RFC 3339 has no text.
    """
    try:
        if isinstance(value, datetime):
            return Moment(value.astimezone(UTC), partial=False)
        if isinstance(value, str) and (leap := _LEAP.fullmatch(value)):
            before = datetime.fromisoformat(f"{leap[1]}59{leap[2]}")
            return Moment(before.astimezone(UTC) + timedelta(seconds=1), partial=False)
        first, after = _span(value)
        day = first if edge == "start" else after - timedelta(days=1)
        clock = time(tzinfo=zone) if edge == "start" else time(23, 59, 59, tzinfo=zone)
        return Moment(datetime.combine(day, clock).astimezone(UTC), partial=True)
    except (OverflowError, ValueError):
        return None


def _span(value: date | str) -> tuple[date, date]:
    """Return the first day of a year, month or day, and the day after its last."""
    if isinstance(value, date):
        return value, value + timedelta(days=1)
    parts = _PARTIAL.fullmatch(value)
    if parts is None:
        raise ValueError("no dateTime")
    year, month = int(parts[1]), parts[2]
    if month is None:
        return date(year, 1, 1), date(year + 1, 1, 1)
    first = date(year, int(month), 1)
    return first, (first + timedelta(days=31)).replace(day=1)


def rfc3339_of(text: str | None) -> str | None:
    """Read an RFC 3339 instant leniently and write it in UTC, or None when it is none."""
    try:
        at = datetime.fromisoformat(text or "")
        return rfc3339(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (OverflowError, ValueError):
        return None


def zone_of(value: FhirTime | None) -> tzinfo:
    """Return the zone a dateTime names, else UTC."""
    return (value.tzinfo if isinstance(value, datetime) else None) or UTC


def rfc3339(at: datetime) -> str:
    """Write an instant in UTC as `…Z`, with a fraction only when there is one."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def text_of_time(value: FhirTime) -> str:
    """Write a dateTime as it was said: same zone, no finer than it was."""
    if not isinstance(value, datetime):
        return value if isinstance(value, str) else value.isoformat()
    finest = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.isoformat(timespec=finest if value.microsecond else "seconds").replace("+00:00", "Z")


def later(value: FhirTime, seconds: float) -> str | None:
    """Write a dateTime moved by `seconds`, to the millisecond and in its own zone.

    None for a partial one, and for one that would leave the year 9999.
    """
    if not isinstance(value, datetime):
        return None
    try:
        return text_of_time(value + timedelta(milliseconds=round(seconds * 1000)))
    except OverflowError:
        return None
