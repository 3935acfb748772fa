"""What destroying resources means in each table: erasures and retention both do it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, select, tuple_, update

from fhir_bridge.store import subject, tables
from fhir_bridge.store.versions import NewVersion, put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, Table

    from fhir_bridge.store.subject import Place

_V: Final = tables.version.c


def entomb(conn: Connection, tenant: str, places: Sequence[Place]) -> Counter[str]:
    """Leave of each resource that it was there and is gone: the versions it had, and one more to be polled."""
    counts: Counter[str] = Counter()
    for some in subject.chunks(places):
        mine = and_(_V.tenant == tenant, subject.among(some))
        standing = conn.execute(select(_V.type, _V.id).where(mine, _V.until.is_(None), ~_V.deleted)).all()
        counts += blank(conn, tenant, subject.among(some))
        put(conn, tenant, [NewVersion(row.type, row.id, "", "", (), "DELETE", None) for row in standing])
    return counts


def blank(conn: Connection, tenant: str, which: ColumnElement[bool]) -> Counter[str]:
    """Leave of versions that they were there: no word, and no key to be found by."""
    mine = and_(_V.tenant == tenant, which)
    k = tables.key.c
    keys = conn.execute(delete(tables.key).where(k.tenant == tenant, k.seq.in_(select(_V.seq).where(mine)))).rowcount
    nothing = {"body": "", "deleted": True, "method": "DELETE", "author": None}
    blanked = conn.execute(update(tables.version).where(mine).values(nothing)).rowcount
    return Counter(search_keys=keys, versions=blanked)


def contents(conn: Connection, tenant: str, places: Sequence[Place]) -> list[tuple[str, str]]:
    """Drop the only copy of each key of these Binaries; return blob and SHA-256 of each: its file goes afterwards."""
    b = tables.blob.c
    mine = and_(b.tenant == tenant, ids(b.binary, places, "Binary"))
    rows = conn.execute(select(b.blob, b.sha256).where(mine)).all()
    conn.execute(delete(tables.blob).where(mine))
    return [(row.blob, row.sha256) for row in rows]


def results(conn: Connection, table: Table, tenant: str, media: Iterable[str]) -> int:
    """Forget the words or the facts of recordings; return how many rows."""
    return conn.execute(delete(table).where(table.c.tenant == tenant, table.c.media.in_(list(media)))).rowcount


def claims(conn: Connection, tenant: str, places: Sequence[Place]) -> int:
    """Forget what said that these exist once; return how many rows."""
    o = tables.once.c
    return sum(
        conn.execute(delete(tables.once).where(o.tenant == tenant, tuple_(o.type, o.id).in_(some))).rowcount
        for some in subject.chunks(places)
    )


def ids(column: ColumnElement[str | None], places: Iterable[Place], type_: str) -> ColumnElement[bool]:
    """Whether a column names one of these resources."""
    return column.in_([id_ for of_type, id_ in places if of_type == type_])
