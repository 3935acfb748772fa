"""In which order a search tells what it finds: by values of keys, by ids or by times; the newest first unless asked.

What has no value of the first key comes last, whichever way the order runs. That makes two
stretches: the one with a value is read off the index of keys, value by value.
http://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, literal, not_, select, true

from fhir_bridge.store import tables
from fhir_bridge.store.rows import LAST, Rows, successor

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from fhir_bridge.store.plan import Plan


@dataclass(frozen=True)
class ByKey:
    """By a resource's lowest key of a parameter; descending, by its highest.

    Of the keys only those count that begin with `begins`, and if `bare` only those without
    a bar, other than an escaped one.
    """

    param: int
    descending: bool = False
    begins: str = ""
    bare: bool = False

    def counts(self, k: FromClause) -> ColumnElement[bool]:
        """Whether the key `k` is one to sort by."""
        after = successor(self.begins)
        end = true() if after is None else k.c.val < after
        # Also with nothing to begin with: a range makes SQLite enter the index of keys.
        return and_(k.c.val >= self.begins, end, _is_bare(k.c.val) if self.bare else true())

    def leads(self, rows: Rows, k: FromClause) -> ColumnElement[bool]:
        """Whether no other key of the same version comes before `k`."""
        other = tables.key.alias()
        same = and_(other.c.tenant == rows.tenant, other.c.seq == k.c.seq, other.c.param == self.param)
        before = other.c.val > k.c.val if self.descending else other.c.val < k.c.val
        return not_(exists(select(1).select_from(other).where(same, before, self.counts(other)).correlate(k)))

    def value(self, rows: Rows) -> ColumnElement[str]:
        """The value by which a version is sorted, as a question about one row at a time."""
        k = tables.key.alias()
        best, otherwise = (func.max(k.c.val), "") if self.descending else (func.min(k.c.val), LAST)
        of_row = and_(k.c.tenant == rows.tenant, k.c.seq == rows.v.c.seq, k.c.param == self.param)
        found = select(best).where(of_row, self.counts(k)).correlate(rows.v).scalar_subquery()
        return func.coalesce(found, otherwise)


@dataclass(frozen=True)
class ById:
    """By the resource's own id."""

    descending: bool = False

    def value(self, rows: Rows) -> ColumnElement[str]:
        """The id."""
        id_: ColumnElement[str] = rows.v.c.id
        return id_


@dataclass(frozen=True)
class ByTime:
    """By meta.lastUpdated; what one commit wrote has one time."""

    descending: bool = False

    def value(self, rows: Rows) -> ColumnElement[int]:
        """The time."""
        at_ms: ColumnElement[int] = rows.v.c.at_ms
        return at_ms


By = ByKey | ById | ByTime


@dataclass(frozen=True)
class Column:
    """One value to sort by."""

    value: ColumnElement[str] | ColumnElement[int]
    descending: bool

    def turned(self) -> Column:
        """Return the same the other way round."""
        return replace(self, descending=not self.descending)


@dataclass(frozen=True)
class Stretch:
    """A part of the order: its rows, and what they are sorted by; the last is the commit number, so no two tie."""

    source: FromClause
    where: ColumnElement[bool]
    columns: tuple[Column, ...]


def stretches(rows: Rows, plan: Plan, order: tuple[By, ...]) -> tuple[Stretch, ...]:
    """Return the parts of the order, one after the other."""
    order, newest_first = _settled(order)
    tie = Column(plan.seq, newest_first)
    if not order or not isinstance(order[0], ByKey):
        return (Stretch(plan.source, plan.where, (*_columns(rows, order), tie)),)
    first, rest = order[0], _columns(rows, order[1:])
    lack = not_(rows.has_key(first.param, first.counts))
    return (_with_value(rows, plan, first, (*rest, tie)), Stretch(plan.source, and_(plan.where, lack), (*rest, tie)))


def _with_value(rows: Rows, plan: Plan, first: ByKey, rest: tuple[Column, ...]) -> Stretch:
    k = tables.key.alias()
    same = and_(k.c.tenant == rows.tenant, k.c.seq == rows.v.c.seq, k.c.param == first.param)
    source = plan.source.join(k, and_(same, first.counts(k)))
    # A few rows are sorted; as they are, the index in the order of values would look inviting.
    value, seq = (k.c.val + literal(""), plan.seq) if plan.few else (k.c.val, k.c.seq)
    columns = (Column(value, first.descending), *rest[:-1], Column(seq, rest[-1].descending))
    return Stretch(source, and_(plan.where, first.leads(rows, k)), columns)


def _settled(order: tuple[By, ...]) -> tuple[tuple[By, ...], bool]:
    """Say which way ties run: as the first key does, so that an index of keys is read in one direction."""
    if order and isinstance(order[-1], ByTime):
        return order[:-1], order[-1].descending
    return order, order[0].descending if order else True


def _columns(rows: Rows, order: tuple[By, ...]) -> tuple[Column, ...]:
    return tuple(Column(by.value(rows), by.descending) for by in order)


def _is_bare(val: ColumnElement[str]) -> ColumnElement[bool]:
    unescaped = func.replace(func.replace(val, "\\\\", ""), "\\|", "")
    return func.replace(unescaped, "|", "") == unescaped
