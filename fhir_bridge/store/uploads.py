"""Binaries that arrive in parts: what is there so far, and where the next part has to begin."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, func, insert, select

from fhir_bridge.store import tables
from fhir_bridge.store.versions import hold

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True)
class Upload:
    """A Binary to be: `id` is its own, `client` who began it, `size` that of the whole."""

    tenant: str
    id: str
    client: str
    size: int
    content_type: str
    context: str | None
    created_ms: int


@dataclass(frozen=True)
class Part:
    """One sealed part and its place in the whole."""

    start: int
    size: int
    blob: str
    wrapped_key: str


_UPLOAD: Final = tuple(tables.upload.c[field.name] for field in fields(Upload))
_PART: Final = tuple(tables.upload_part.c[field.name] for field in fields(Part))


def begin(conn: Connection, new: Upload) -> None:
    """Note an upload of which nothing is there yet."""
    conn.execute(insert(tables.upload).values(**vars(new)))


def of(conn: Connection, tenant: str, id_: str) -> Upload | None:
    """Return an upload that goes on."""
    t = tables.upload.c
    row = conn.execute(select(*_UPLOAD).where(t.tenant == tenant, t.id == id_)).first()
    return None if row is None else Upload(*row)


def parts(conn: Connection, upload: Upload) -> tuple[Part, ...]:
    """Return what is there so far, in order and without gaps."""
    found = conn.execute(select(*_PART).where(_of(upload)).order_by(tables.upload_part.c.start))
    return tuple(Part(*row) for row in found)


def received(conn: Connection, upload: Upload) -> int:
    """Return how many bytes are there: where the next part begins."""
    total = select(func.coalesce(func.sum(tables.upload_part.c.size), 0)).where(_of(upload))
    return int(conn.execute(total).scalar_one())


def add(conn: Connection, upload: Upload, part: Part) -> bool:
    """Add a part at the end; False when the end is elsewhere by now."""
    hold(conn, upload.tenant)
    if received(conn, upload) != part.start:
        return False
    conn.execute(insert(tables.upload_part).values(tenant=upload.tenant, upload=upload.id, **vars(part)))
    return True


def forget(conn: Connection, upload: Upload) -> None:
    """Drop the rows of an upload that has ended."""
    conn.execute(delete(tables.upload_part).where(_of(upload)))
    t = tables.upload.c
    conn.execute(delete(tables.upload).where(t.tenant == upload.tenant, t.id == upload.id))


def older_than(conn: Connection, ms: int) -> tuple[Upload, ...]:
    """Return uploads of all tenants that were begun before a time: nobody will end them."""
    c = tables.upload.c
    return tuple(Upload(*row) for row in conn.execute(select(*_UPLOAD).where(c.created_ms < ms).order_by(c.created_ms)))


def blobs(conn: Connection) -> frozenset[str]:
    """Return the ids of all parts: they are no strays."""
    return frozenset(conn.execute(select(tables.upload_part.c.blob)).scalars())


def _of(upload: Upload) -> ColumnElement[bool]:
    t = tables.upload_part.c
    return and_(t.tenant == upload.tenant, t.upload == upload.id)
