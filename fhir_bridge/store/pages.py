"""Pages: stretches of an order that begin behind a cursor, forward or backward.

A page is found by the values of the row beside it, never by counting: the thousandth
costs what the first costs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_, select, tuple_

from fhir_bridge.store.versions import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from fhir_bridge.store.order import Column, Stretch

# The place between two rows, from which a page is read on or back: opaque to callers, who seal it
# into links. Which way, which stretch of the order, and the values of the row beside it.
Cursor = tuple[str | int, ...]

ON: Final = 1
BACK: Final = -1
COLUMNS: Final = tuple(field.name for field in fields(Row))


@dataclass(frozen=True)
class Page:
    """Rows in the order asked for, and where the pages beside it begin; None: there is none."""

    rows: tuple[Row, ...]
    following: Cursor | None
    previous: Cursor | None = None


@dataclass(frozen=True)
class _Placed:
    row: Row
    place: Cursor  # the stretch and the values it is sorted by


def selected(v: FromClause) -> Select[*tuple[object, ...]]:
    """Select the columns of a Row."""
    return select(*(v.c[name] for name in COLUMNS))


def page(conn: Connection, v: FromClause, parts: Sequence[Stretch], span: tuple[Cursor | None, int]) -> Page:
    """Read the page behind a cursor (None: the first) and one row more, which tells whether another follows."""
    after, count = span
    back = after is not None and after[0] == BACK
    found: list[_Placed] = []
    for number, part, begin in _from(parts, after, back=back):
        if len(found) <= count:
            found += _read(conn, _part(v, part, begin, back=back).limit(count + 1 - len(found)), number)
    more, shown = len(found) > count, found[:count]
    if not shown:
        return Page((), None)
    if back:
        shown.reverse()
    following = (ON, *shown[-1].place) if more or back else None
    previous = (BACK, *shown[0].place) if (more if back else after is not None) else None
    return Page(tuple(each.row for each in shown), following, previous)


def _from(
    parts: Sequence[Stretch], after: Cursor | None, *, back: bool
) -> Iterator[tuple[int, Stretch, Cursor | None]]:
    """Yield the stretches from the cursor's on, and behind which values to begin in each."""
    numbered = list(enumerate(parts))
    for number, part in reversed(numbered) if back else numbered:
        if after is None or number == after[1]:
            yield number, part, None if after is None else after[2:]
        elif (number < int(after[1])) == back:
            yield number, part, None


def _part(v: FromClause, part: Stretch, begin: Cursor | None, *, back: bool) -> Select[*tuple[object, ...]]:
    columns = tuple(column.turned() for column in part.columns) if back else part.columns
    found = selected(v).add_columns(*(column.value.label(f"by_{n}") for n, column in enumerate(columns)))
    found = found.select_from(part.source).where(part.where)
    if begin is not None:
        found = found.where(_beyond(columns, begin))
    return found.order_by(*(column.value.desc() if column.descending else column.value for column in columns))


def _read(conn: Connection, found: Select[*tuple[object, ...]], number: int) -> list[_Placed]:
    told = conn.execute(found)
    values = [name for name in told.keys() if name not in COLUMNS]  # noqa: SIM118 - a result is no dictionary
    return [
        _Placed(Row(**{name: row[name] for name in COLUMNS}), (number, *(row[name] for name in values)))
        for row in told.mappings()
    ]


def _beyond(columns: Sequence[Column], values: Cursor) -> ColumnElement[bool]:
    """Whether a row comes behind these values; in a form that lets an index be entered there."""
    if len({column.descending for column in columns}) == 1:
        row, edge = tuple_(*(column.value for column in columns)), tuple_(*values)
        return row < edge if columns[0].descending else row > edge
    (column, *others), (value, *rest) = columns, values
    further = column.value < value if column.descending else column.value > value
    if not others:
        return further
    not_before = column.value <= value if column.descending else column.value >= value
    return and_(not_before, or_(further, _beyond(others, tuple(rest))))
