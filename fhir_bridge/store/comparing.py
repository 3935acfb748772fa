"""A key's own range against the range that is asked for, by FHIR's prefixes (http://hl7.org/fhir/R4/search.html#prefix)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import and_, func, not_, or_

from fhir_bridge.store.rows import LAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, FromClause

Comparison = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


def compared(prefix: Comparison, k: FromClause, low: str, high: str) -> ColumnElement[bool]:
    """Whether the key `k`, from `val` to `high` or without an end, compares so with the range `low`..`high`."""
    return _COMPARED[prefix](k.c.val, func.coalesce(k.c.high, LAST), low, high)


def _within(val: ColumnElement[str], high: ColumnElement[str], low_asked: str, high_asked: str) -> ColumnElement[bool]:
    return and_(val >= low_asked, high <= high_asked)


# The key's range val..high against the range asked for, low..top.
_COMPARED: Final[dict[Comparison, Callable[..., ColumnElement[bool]]]] = {
    "eq": _within,
    "ne": lambda val, high, low, top: not_(_within(val, high, low, top)),
    "gt": lambda _val, high, _low, top: high > top,
    "lt": lambda val, _high, low, _top: val < low,
    "ge": lambda val, high, low, top: or_(high > top, _within(val, high, low, top)),
    "le": lambda val, high, low, top: or_(val < low, _within(val, high, low, top)),
    "sa": lambda val, _high, _low, top: val > top,
    "eb": lambda _val, high, low, _top: high < low,
    "ap": lambda val, high, low, top: and_(val <= top, high >= low),
}
