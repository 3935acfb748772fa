"""Which blob holds the content of a Binary."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, insert, select

from fhir_bridge.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True)
class StoredBlob:
    """A Binary's content as blobs/ keeps it: `sha256` in hex, `sha1` in base64 as Attachment.hash wants it."""

    binary: str
    blob: str
    size: int
    sha256: str
    sha1: str
    wrapped_key: str
    created_ms: int


_COLUMNS: Final = tuple(tables.blob.c[field.name] for field in fields(StoredBlob))


def add(conn: Connection, tenant: str, new: StoredBlob) -> None:
    """Note where a new Binary's content is; the blob is on disk already (reliability.md, rule 1)."""
    conn.execute(insert(tables.blob).values(tenant=tenant, **vars(new)))


def of(conn: Connection, tenant: str, binary: str) -> StoredBlob | None:
    """Return where a Binary's content is; None: there is none, or it was forgotten."""
    row = conn.execute(select(*_COLUMNS).where(_is(tenant, binary))).first()
    return None if row is None else StoredBlob(*row)


def older_than(conn: Connection, tenant: str, ms: int) -> tuple[StoredBlob, ...]:
    """Return contents stored before a time: what retention asks about."""
    t = tables.blob.c
    found = conn.execute(
        select(*_COLUMNS).where(t.tenant == tenant, t.created_ms < ms).order_by(t.created_ms, t.binary)
    )
    return tuple(StoredBlob(*row) for row in found)


def forget(conn: Connection, tenant: str, binary: str) -> bool:
    """Drop the row, and with it the only copy of the blob's key."""
    return conn.execute(delete(tables.blob).where(_is(tenant, binary))).rowcount == 1


def unreferenced(conn: Connection, blobs: Iterable[str]) -> frozenset[str]:
    """Return those of these blobs that no Binary names: left by a crash between the disk and the database."""
    asked = frozenset(blobs)
    known = conn.execute(select(tables.blob.c.blob).where(tables.blob.c.blob.in_(asked))).scalars()
    return asked - frozenset(known)


def _is(tenant: str, binary: str) -> ColumnElement[bool]:
    return and_(tables.blob.c.tenant == tenant, tables.blob.c.binary == binary)
