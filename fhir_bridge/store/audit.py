"""Who did what: rows that are inserted and never changed, but for the seal the sweep puts on them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select

from fhir_bridge.store import tables
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


@dataclass(frozen=True)
class AuditRow:
    """One interaction of one request with one resource; a search or a refusal names none."""

    tenant: str
    request: str
    verb: str
    status: int
    client: str | None = None
    user: str | None = None
    type: str | None = None
    id: str | None = None


_COLUMNS: Final = tuple(tables.audit.c[field.name] for field in fields(AuditRow))


def record(conn: Connection, rows: Sequence[AuditRow]) -> None:
    """Insert audit rows, in the transaction of what they tell about."""
    at = now_ms()
    if rows:
        conn.execute(insert(tables.audit), [{"at_ms": at, **vars(row)} for row in rows])


def recorded(conn: Connection, tenant: str, *, after: int = 0, count: int) -> tuple[tuple[int, AuditRow], ...]:
    """Return up to `count` rows with their numbers, oldest first, from number `after` on."""
    c = tables.audit.c
    told = select(c.n, *_COLUMNS).where(c.tenant == tenant, c.n > after).order_by(c.n).limit(count)
    return tuple((n, AuditRow(*row)) for n, *row in conn.execute(told))
