"""Searching audit rows: the conditions that searches and scopes are made of, over columns instead of keys.

Each read leaves a row, so rows are small: no keys are written. What a parameter looks at
is what AuditEvent is rendered from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sqlalchemy import and_, case, false, func, literal, not_, or_, select, true

from fhir_bridge.store import tables
from fhir_bridge.store.audit import EXECUTED, INTERACTIONS, OUTCOMES, SERIOUS
from fhir_bridge.store.filter import And, Contains, Ids, Keys, Not, OfType, Or, Prefix, Present, Stamped
from fhir_bridge.store.order import ById, ByTime, Column, Stretch
from fhir_bridge.store.pages import page
from fhir_bridge.store.rows import successor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, FromClause

    from fhir_bridge.store.filter import Filter, Node
    from fhir_bridge.store.order import By
    from fhir_bridge.store.pages import Cursor, Page

TYPE: Final = "AuditEvent"
_LONGEST: Final = 18  # digits of a number that every database takes

Source: TypeAlias = "From | FromPlace | FromPresence"
Sources = Mapping[int, tuple[Source, ...]]  # what the keys of each search parameter are made from


@dataclass(frozen=True)
class From:
    """The keys of a parameter: the text of a column behind `before`; without a column `before` alone."""

    column: str = ""
    before: str = ""

    def key(self, a: FromClause) -> ColumnElement[str]:
        """The key as an expression."""
        return literal(self.before) + _column(a, self.column) if self.column else literal(self.before)

    def equals(self, a: FromClause, values: Iterable[str]) -> ColumnElement[bool]:
        """Whether the key is one of these, in a form that an index can answer."""
        mine = [value.removeprefix(self.before) for value in values if value.startswith(self.before)]
        if not self.column:
            return true() if "" in mine else false()
        found = _column(a, self.column)
        return and_(found.is_not(None), found.in_(mine))


@dataclass(frozen=True)
class FromPlace:
    """The keys of a parameter: the resource itself, as Type/id."""

    def key(self, a: FromClause) -> ColumnElement[str]:
        """The key as an expression."""
        return a.c.type + "/" + a.c.id

    def equals(self, a: FromClause, values: Iterable[str]) -> ColumnElement[bool]:
        """Whether the key is one of these, in a form that an index can answer."""
        places = [value.split("/") for value in values if value.count("/") == 1]
        return or_(false(), *(and_(a.c.id.is_not(None), a.c.type == type_, a.c.id == id_) for type_, id_ in places))


@dataclass(frozen=True)
class FromPresence:
    """The keys of a parameter: `text`, of each row that tells of `what`."""

    what: Literal["place", "query", "patient", "failure"]
    text: str

    def key(self, a: FromClause) -> ColumnElement[str]:
        """The key as an expression."""
        return case((self._is_told(a), literal(self.text)))

    def equals(self, a: FromClause, values: Iterable[str]) -> ColumnElement[bool]:
        """Whether the key is one of these."""
        return self._is_told(a) if self.text in values else false()

    def _is_told(self, a: FromClause) -> ColumnElement[bool]:
        match self.what:
            case "place":
                return and_(a.c.type.is_not(None), a.c.id.is_not(None))
            case "failure":
                return _column(a, "outcome") != OUTCOMES[0][1]
            case column:
                return a.c[column].is_not(None)


@dataclass(frozen=True)
class Shelf:
    """The audit rows of all tenants; `sources` say what each search parameter looks at."""

    sources: Sources

    def search(
        self, conn: Connection, filter_: Filter, *, after: Cursor | None, count: int, order: tuple[By, ...] = ()
    ) -> Page:
        """Return a page of rows without bodies, newest first unless `order` says; `seq` is a row's number.

        Rows are only ever added, so pages are stable without a snapshot.
        """
        a = _shelved()
        by = order[0] if order else ByTime(descending=True)
        first = Column(a.c.seq if isinstance(by, ById) else a.c.at_ms, by.descending)
        tie = Column(a.c.seq, by.descending)
        return page(conn, a, (Stretch(a, self._where(a, filter_), (first, tie)),), (after, count))

    def total(self, conn: Connection, filter_: Filter) -> int:
        """Count all rows that the filter lets through."""
        a = _shelved()
        return conn.execute(select(func.count()).select_from(a).where(self._where(a, filter_))).scalar_one()

    def _where(self, a: FromClause, filter_: Filter) -> ColumnElement[bool]:
        return and_(a.c.tenant == filter_.tenant, self._sql(a, filter_.where))

    def _sql(self, a: FromClause, node: Node) -> ColumnElement[bool]:  # noqa: C901, PLR0911 - one row a node
        match node:
            case And(nodes):
                return and_(true(), *(self._sql(a, each) for each in nodes))
            case Or(nodes):
                return or_(false(), *(self._sql(a, each) for each in nodes))
            case Not(inner):
                return not_(self._sql(a, inner))
            case OfType(types):
                return true() if TYPE in types else false()
            case Ids(ids):
                return a.c.seq.in_([int(id_) for id_ in ids if is_number(id_)])
            case Stamped(low, below):
                above = true() if low is None else a.c.at_ms >= low
                return and_(above, true() if below is None else a.c.at_ms < below)
            case Keys(param, values):
                return or_(false(), *(source.equals(a, values) for source in self._of(param)))
            case Prefix(param, text):
                return or_(false(), *(_begins(source.key(a), text) for source in self._of(param)))
            case Contains(param, text):
                return or_(false(), *(_has(source.key(a), text) for source in self._of(param)))
            case Present(param):
                return or_(false(), *(source.key(a).is_not(None) for source in self._of(param)))
            case _:
                return false()  # what looks into other resources is not asked of the audit

    def _of(self, param: int) -> tuple[Source, ...]:
        return self.sources.get(param, ())


def is_number(id_: str) -> bool:
    """Tell whether an id can be a row's: its number as it is written."""
    return id_.isascii() and id_.isdigit() and len(id_) <= _LONGEST and id_[0] != "0"


def _column(a: FromClause, name: str) -> ColumnElement[str]:
    if name == "action":
        return case(INTERACTIONS, value=a.c.verb, else_=EXECUTED)
    if name == "outcome":
        ends = [(a.c.status < end, literal(outcome)) for end, outcome in OUTCOMES]
        return case(*ends, else_=literal(SERIOUS))
    return a.c[name]


def _begins(key: ColumnElement[str], text: str) -> ColumnElement[bool]:
    after = successor(text)
    return and_(key.is_not(None), key >= text, true() if after is None else key < after)


def _has(key: ColumnElement[str], text: str) -> ColumnElement[bool]:
    return and_(key.is_not(None), func.replace(key, text, "") != key) if text else key.is_not(None)


def _shelved() -> FromClause:
    """Audit rows with the columns that every row of a page has; type and id are those of what they tell about."""
    a = tables.audit.c
    as_row = [
        a.n.label("seq"),
        literal(1).label("vid"),
        literal("").label("body"),
        false().label("deleted"),
        literal("POST").label("method"),
        a.client.label("author"),
    ]
    found: FromClause = select(*a, *as_row).subquery()
    return found
