"""Search keys of past versions: dropped when no page link that is still good can need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, update

from fhir_bridge.store import tables
from fhir_bridge.store.rows import last_before
from fhir_bridge.store.versions import hold

if TYPE_CHECKING:
    from sqlalchemy import Connection

_AT_ONCE: Final = 5_000  # commits in one transaction: others are waiting to write


def drop(conn: Connection, tenant: str, *, before_ms: int) -> bool:
    """Drop keys of versions that were replaced before a time; True: there is more to drop, call again.

    A search in a snapshot needs the keys of versions that were replaced after it. Up to
    which commit they are gone is noted: older snapshots answer 410 (architecture.md, Searching).
    """
    hold(conn, tenant)
    t, v, k = tables.tenant.c, tables.version.c, tables.key.c
    row = conn.execute(select(t.keys_from, last_before(tenant, before_ms).label("last")).where(t.id == tenant)).one()
    upto = min(row.last, row.keys_from + _AT_ONCE)
    if upto <= row.keys_from:
        return False
    replaced = select(v.seq).where(v.tenant == tenant, v.until > row.keys_from, v.until <= upto)
    conn.execute(delete(tables.key).where(k.tenant == tenant, k.seq.in_(replaced)))
    conn.execute(update(tables.tenant).where(t.id == tenant).values(keys_from=upto))
    return bool(upto < row.last)
