"""Values as text whose order, compared code point by code point, is the order of the values.

Search keys and search bounds are both made here, so that what is stored and what is
asked for meet as plain text (architecture: everything is a range). Ranges are half
open on the asking side; the stored `high` is the last moment that still belongs.
"""

from __future__ import annotations

import calendar
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from decimal import Decimal

BOUND: Final = 256  # characters of one key; longer values are cut or hashed
_KEPT: Final = 190

EARLIEST: Final = "0" * 20
LATEST: Final = "9" * 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_DATE: Final = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"([T](?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)

_EXPONENT_BIAS: Final = 50_000
_NINES: Final = str.maketrans("0123456789", "9876543210")

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S*")
_RELATIVE: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9.\-]{1,64})")
_TYPED: Final = re.compile(r"(?:\A|/)(?P<type>[A-Z][A-Za-z]{1,63})/[A-Za-z0-9.\-]{1,64}\Z")
_VERSIONED: Final = re.compile(r"/_history/[A-Za-z0-9.\-]{1,64}\Z")


@dataclass(frozen=True)
class Moments:
    """A date, dateTime or instant as the half-open span [start, end) of moments it may mean."""

    start: datetime
    end: datetime

    @property
    def low(self) -> str:
        """The key of the first moment."""
        return moment(self.start)

    @property
    def high(self) -> str:
        """The key of the last moment."""
        return moment(self.end - _TICK)

    @property
    def after(self) -> str:
        """The key of the first moment that is too late."""
        return moment(self.end)


def moment(at: datetime) -> str:
    """Encode an aware datetime: UTC, microseconds, twenty digits."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S%f").zfill(20)


def ms_of(key: str) -> int:
    """Return the millisecond since 1970 in which an encoded moment lies."""
    at = datetime.strptime(key, "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(milliseconds=1)


def moments(text: str) -> Moments | None:
    """Read a FHIR date of any precision; None when it is none.

    A value without zone is UTC. Digits below the microsecond are dropped. Moments outside
    the years 1 to 9999 are moved to their edge.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        start = _start(match)
        end = _end(match, start)
    except ValueError:
        return None
    except OverflowError:
        return _at_the_edge(match)
    return Moments(start, end)


def _start(match: re.Match[str]) -> datetime:
    year, month, day = (int(match[name] or 1) for name in ("year", "month", "day"))
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    micro = int((match["fraction"] or "0")[:6].ljust(6, "0"))
    leap = timedelta(seconds=1) if second == 60 else timedelta()  # noqa: PLR2004 - FHIR allows a leap second
    second = min(second, 59) if leap else second
    local = datetime(year, month, day, hour, minute, second, micro, tzinfo=_zone(match["zone"]))
    return (local + leap).astimezone(UTC)


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if minutes >= 60:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(text)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _end(match: re.Match[str], start: datetime) -> datetime:
    if match["fraction"]:
        return start + timedelta(microseconds=10 ** max(0, 6 - len(match["fraction"])))
    if match["second"]:
        return start + timedelta(seconds=1)
    if match["hour"]:
        return start + timedelta(minutes=1)
    return start + timedelta(days=_days(match))


def _days(match: re.Match[str]) -> int:
    year = int(match["year"])
    if match["day"]:
        return 1
    if match["month"]:
        return calendar.monthrange(year, int(match["month"]))[1]
    return 366 if calendar.isleap(year) else 365


def _at_the_edge(match: re.Match[str]) -> Moments:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    if int(match["year"]) == first.year:
        return Moments(first, first + _TICK)
    try:
        return Moments(min(_start(match), last - _TICK), last)
    except OverflowError:
        return Moments(last - _TICK, last)


def number(value: Decimal) -> str:
    """Encode a finite decimal: sign, exponent, digits; equal values get equal text.

    Negative numbers carry the complement of exponent and digits, closed by a letter, so
    that the longer of two that share their digits comes first.
    """
    digits = "".join(map(str, value.as_tuple().digits)).lstrip("0")
    if not digits:
        return "1"
    exponent = min(max(value.adjusted() + _EXPONENT_BIAS, 0), 2 * _EXPONENT_BIAS - 1)
    text = f"{exponent:05d}{digits.rstrip('0')}"
    if value.is_signed():
        return "0" + text.translate(_NINES)[:BOUND] + "A"
    return "2" + text[:BOUND]


def unit(system: str | None, code: str | None) -> str:
    """Encode the unit that goes before a quantity's number; without a code every unit is meant."""
    if code is None:
        return "||"
    return bounded(_escaped(code) if system is None else f"{_escaped(system)}|{_escaped(code)}") + "||"


def folded(text: str) -> str:
    """Fold a string the way `string` parameters compare: no case, accents or doubled blanks."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    again = unicodedata.normalize("NFKD", bare.casefold())
    return " ".join("".join(char for char in again if not unicodedata.combining(char)).split())[:BOUND]


def bounded(text: str) -> str:
    """Keep a short value as it is; give a long one its beginning and a digest, so that equal stays equal."""
    if len(text) <= BOUND:
        return text
    return f"{text[:_KEPT]}#{hashlib.sha256(text.encode()).hexdigest()}"


def token(code: str) -> str:
    """Encode a code of whatever system."""
    return bounded(_escaped(code))


def token_in(system: str, code: str) -> str:
    """Encode a code of one system; an empty system stands for a code without one."""
    return bounded(f"{_escaped(system)}|{_escaped(code)}")


def token_of(system: str) -> str:
    """Encode what all codes of one system begin with."""
    return f"{_escaped(system)}|"[:_KEPT]


def token_typed(system: str, code: str, value: str) -> str:
    """Encode an identifier's value with the system and code of its type (`:of-type`)."""
    return bounded(f"{_escaped(system)}|{_escaped(code)}|{_escaped(value)}")


def together(first: str, second: str) -> str:
    """Encode two values of one element; what stands between them is in no FHIR text."""
    return f"{first}\x1f{second}"


def _escaped(part: str) -> str:
    return part.replace("\\", "\\\\").replace("|", "\\|")


def reference(text: str, *, base: str | None = None) -> str | None:
    """Encode a literal reference: `Type/id` on this server, else the absolute URL; never versioned.

    None for what is neither, such as a reference to a contained resource.
    """
    bare = _VERSIONED.sub("", text)
    if base and bare.startswith(base.rstrip("/") + "/"):
        bare = bare[len(base.rstrip("/")) + 1 :]
    if _RELATIVE.fullmatch(bare):
        return bare
    return bounded(bare) if _URL.fullmatch(bare) else None


def type_of_reference(encoded: str) -> str | None:
    """Tell which type an encoded reference points at, as far as its text says."""
    match = _TYPED.search(encoded)
    return match["type"] if match else None
