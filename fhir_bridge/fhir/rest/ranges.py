"""Prefixes (eq, gt, sa, ap, ...): what range of time or numbers a searched value stands for.

Table of prefixes: http://hl7.org/fhir/R4/search.html#prefix. Dates leave the comparison of
the two ranges to the node; numbers are points, so every prefix becomes a plain range.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.criteria import Updated, Within

if TYPE_CHECKING:
    from fhir_bridge.fhir.rest.criteria import Prefix
    from fhir_bridge.fhir.rest.encode import Moments

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = 150  # more than any number that is read, so that the next one is nearer than all of them


def dates(param: int, prefix: Prefix, span: Moments) -> Within:
    """Compare the range of the value with the range of the element."""
    if prefix == "ap":
        span = _widened(span)
    return Within(param, prefix, span.low, span.high)


def updated(prefix: Prefix, span: Moments) -> Updated:
    """Compare with a point in time that is known to the millisecond (meta.lastUpdated)."""
    if prefix == "ap":
        span = _widened(span)
    start, end = _whole(span.start), _whole(span.end)
    before, after = (None, start), (end, None)
    spans: dict[Prefix, tuple[tuple[int | None, int | None], ...]] = {
        "ne": (before, after),
        "gt": (after,),
        "sa": (after,),
        "ge": ((start, None),),
        "lt": (before,),
        "eb": (before,),
        "le": ((None, end),),
    }
    return Updated(spans.get(prefix, ((start, end),)))


def numbers(param: int, prefix: Prefix, value: Decimal, unit: str) -> list[Within]:
    """Compare exactly; only eq and ne know the precision of the value, and ap ten percent of it.

    `unit` goes before every bound, so that a range without end stays within its unit.
    """
    with localcontext(prec=_DIGITS):
        half = Decimal((0, (5,), int(value.as_tuple().exponent) - 1))
        low, high, tenth = value - half, value + half, abs(value) / 10
        spans: dict[Prefix, list[tuple[Decimal | None, Decimal | None]]] = {
            "eq": [(low, high.next_minus())],
            "ne": [(None, low.next_minus()), (high, None)],
            "gt": [(value.next_plus(), None)],
            "sa": [(value.next_plus(), None)],
            "ge": [(value, None)],
            "lt": [(None, value.next_minus())],
            "eb": [(None, value.next_minus())],
            "le": [(None, value)],
            "ap": [(value - tenth, value + tenth)],
        }
    return [Within(param, "eq", unit + _bound(low, "0"), unit + _bound(high, "3")) for low, high in spans[prefix]]


def _bound(value: Decimal | None, otherwise: str) -> str:
    return otherwise if value is None else encode.number(value)


def _whole(at: datetime) -> int:
    """Count to the first whole millisecond that is not before `at`."""
    return -((_EPOCH - at) // timedelta(milliseconds=1))


def _widened(span: Moments) -> Moments:
    """Take a date approximately: once its own length more on each side, within the years there are."""
    length = span.end - span.start
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return encode.Moments(span.start - min(length, span.start - first), span.end + min(length, last - span.end))
