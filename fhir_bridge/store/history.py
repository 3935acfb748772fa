"""What was there before: single versions, and all that happened, newest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, not_, or_, select, true

from fhir_bridge.store import tables
from fhir_bridge.store.filter import And, OfType, Or
from fhir_bridge.store.order import Column, Stretch
from fhir_bridge.store.pages import ON, Cursor, Page, page, selected
from fhir_bridge.store.rows import Rows
from fhir_bridge.store.versions import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, FromClause

    from fhir_bridge.store.filter import Filter, Node


@dataclass(frozen=True)
class Told:
    """Which versions a history tells, by commit numbers: those after `since`, up to `snapshot`.

    `types` and `id` name one resource, some types or (empty) all. With `current_after`,
    only those that were current at some time after that commit, and no deletions.
    """

    snapshot: int
    since: int = 0
    types: tuple[str, ...] = ()
    id: str | None = None
    current_after: int | None = None

    def beyond(self, cursor: Cursor | None) -> Told:
        """Begin at a cursor: of two bounds on one side SQLite may enter its index by the farther."""
        if cursor is None:
            return self
        way, _, seq = cursor
        return replace(self, snapshot=int(seq) - 1) if way == ON else replace(self, since=int(seq))

    def sql(self, v: FromClause) -> ColumnElement[bool]:
        """Return the condition on a version."""
        of_type = v.c.type.in_(self.types) if self.types else true()
        of_id = true() if self.id is None else v.c.id == self.id
        written = and_(of_type, of_id, v.c.seq > self.since, v.c.seq <= self.snapshot)
        if self.current_after is None:
            return written
        return and_(written, not_(v.c.deleted), or_(v.c.until.is_(None), v.c.until > self.current_after))


def vread(conn: Connection, filter_: Filter, type_: str, id_: str, *, vid: int) -> Row | None:
    """Return one version, past or current, of a resource that the filter lets through as it is now.

    Past versions lose their search keys in time, so the right to see a version is the
    right to see its resource.
    """
    v = tables.version.alias()
    named = and_(v.c.type == type_, v.c.id == id_, v.c.vid == vid)
    row = conn.execute(selected(v).where(named, _visible(v, filter_))).mappings().first()
    return None if row is None else Row(**row)


def history(conn: Connection, filter_: Filter, told: Told, *, after: Cursor | None = None, count: int) -> Page:
    """Return versions, deletions among them, newest first, of resources the filter lets through as they are now."""
    v = tables.version.alias()
    where = and_(told.beyond(after).sql(v), _visible(v, filter_))
    return page(conn, v, (Stretch(v, where, (Column(v.c.seq, descending=True),)),), (after, count))


def history_total(conn: Connection, filter_: Filter, told: Told) -> int:
    """Count what `history` tells over all its pages."""
    v = tables.version.alias()
    return conn.execute(select(func.count()).select_from(v).where(told.sql(v), _visible(v, filter_))).scalar_one()


def revived(conn: Connection, tenant: str, rows: Iterable[Row]) -> frozenset[int]:
    """Return the commit numbers of those versions that followed a deletion."""
    v = tables.version.c
    found = select(v.until).where(v.tenant == tenant, v.deleted, v.until.in_([row.seq for row in rows]))
    return frozenset(conn.execute(found).scalars())


def _visible(v: FromClause, filter_: Filter) -> ColumnElement[bool]:
    """Versions of resources whose current version, be it a deletion, the filter lets through."""
    if _is_of_types(filter_.where):  # true of one version as of any other
        return and_(v.c.tenant == filter_.tenant, filter_.where.sql(Rows(filter_.tenant, None, v)))
    now = Rows(filter_.tenant, None, tables.version.alias())
    same = and_(now.v.c.type == v.c.type, now.v.c.id == v.c.id)
    current = exists(select(1).select_from(now.v).where(now.theirs, same, filter_.where.sql(now)).correlate(v))
    return and_(v.c.tenant == filter_.tenant, current)


def _is_of_types(node: Node) -> bool:
    return isinstance(node, OfType) or (isinstance(node, And | Or) and all(map(_is_of_types, node.nodes)))
