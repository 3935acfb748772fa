"""Resources read: one, a page of a search, a page of history; each behind a Filter.

A page is a stretch of an order in a snapshot: the same snapshot gives the same pages,
whatever is written meanwhile, and the thousandth page costs what the first costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, func, select, true

from fhir_bridge.store import tables
from fhir_bridge.store.order import By, ById, ByKey, ByTime, stretches
from fhir_bridge.store.pages import Cursor, Page, page, selected
from fhir_bridge.store.plan import Plan
from fhir_bridge.store.rows import Rows
from fhir_bridge.store.versions import NewVersion, Once, Row, hold, instant, now_ms, once, put, release, remove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from fhir_bridge.store.filter import Filter

__all__ = [
    "By",
    "ById",
    "ByKey",
    "ByTime",
    "Cursor",
    "NewVersion",
    "Once",
    "Page",
    "Row",
    "Snapshot",
    "hold",
    "instant",
    "named_by",
    "now_ms",
    "once",
    "put",
    "read",
    "release",
    "remove",
    "search",
    "seq_at",
    "snapshot",
    "total",
]

_FOUND: Final = tables.version.alias()  # one for all statements: an alias costs as much as the rest of a read


@dataclass(frozen=True)
class Snapshot:
    """A tenant's last commit: everything stamped up to `at_ms` is in it, everything later is stamped later."""

    seq: int
    at_ms: int
    keys_from: int  # snapshots before this commit can no longer be searched: their page links are Gone

    @property
    def at(self) -> str:
        """The time of the last commit as an instant."""
        return instant(self.at_ms)


def snapshot(conn: Connection, tenant: str) -> Snapshot:
    """Return the tenant's last commit, to be handed to `search` for every page."""
    c = tables.tenant.c
    row = conn.execute(select(c.seq, c.at_ms, c.keys_from).where(c.id == tenant)).first()
    return Snapshot(0, 0, 0) if row is None else Snapshot(row.seq, row.at_ms, row.keys_from)


def seq_at(conn: Connection, tenant: str, at_ms: int) -> int:
    """Return the last commit stamped at or before a time, 0 when there is none: times become bounds on seq."""
    c = tables.version.c
    last = select(c.seq).where(c.tenant == tenant, c.at_ms <= at_ms).order_by(c.at_ms.desc(), c.seq.desc()).limit(1)
    return conn.execute(last).scalar() or 0


def read(conn: Connection, filter_: Filter, type_: str, id_: str) -> Row | None:
    """Return the current version, also when it is a deletion; None when the filter lets nothing through."""
    rows = _rows(filter_, None)
    found = selected(rows.v).where(rows.theirs, _named(rows.v, (type_,), id_), filter_.where.sql(rows))
    return _one(conn, found)


def search(
    conn: Connection,
    filter_: Filter,
    *,
    snapshot: int | None = None,
    after: Cursor | None = None,
    count: int,
    order: tuple[By, ...] = (),
) -> Page:
    """Return up to `count` resources that the filter lets through, from `after` on; newest first unless `order` says.

    `snapshot` is a commit number from `snapshot()`; None searches what is there now.
    """
    rows = _rows(filter_, snapshot)
    plan = Plan.of(conn, rows, filter_.where, by_key=bool(order) and not isinstance(order[0], ByTime))
    return page(conn, rows.v, stretches(rows, plan, order), (after, count))


def total(conn: Connection, filter_: Filter, *, snapshot: int | None = None) -> int:
    """Count all resources that the filter lets through."""
    rows = _rows(filter_, snapshot)
    plan = Plan.of(conn, rows, filter_.where)
    return conn.execute(select(func.count()).select_from(plan.source).where(plan.where)).scalar_one()


def named_by(conn: Connection, tenant: str, seqs: Iterable[int], param: int) -> tuple[str, ...]:
    """Return what versions refer to by a reference parameter, each once: where _include leads."""
    k = tables.key.c
    found = select(k.val).where(k.tenant == tenant, k.param == param, k.seq.in_(list(seqs))).distinct()
    return tuple(conn.execute(found.order_by(k.val)).scalars())


# --- SQL ---------------------------------------------------------------------------------


def _rows(filter_: Filter, snapshot: int | None) -> Rows:
    return Rows(filter_.tenant, snapshot, _FOUND)


def _one(conn: Connection, found: Select[*tuple[object, ...]]) -> Row | None:
    row = conn.execute(found).mappings().first()
    return None if row is None else Row(**row)


def _named(v: FromClause, types: tuple[str, ...], id_: str | None) -> ColumnElement[bool]:
    of_type = v.c.type.in_(types) if types else true()
    return and_(of_type, true() if id_ is None else v.c.id == id_)
