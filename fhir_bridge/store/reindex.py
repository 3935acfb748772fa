"""Search keys of parameters that did not exist yet when a resource was written, added to its current version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import not_, select
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge.store import tables
from fhir_bridge.store.versions import hold, key_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from fhir_bridge.store.versions import Key


@dataclass(frozen=True)
class Indexed:
    """A current version, and the parameters it has keys of."""

    seq: int
    body: str
    params: frozenset[int]


def after(conn: Connection, tenant: str, seq: int, *, count: int) -> tuple[Indexed, ...]:
    """Return the next `count` current versions behind a commit number, in commit order; deletions are none."""
    v, k = tables.version.c, tables.key.c
    current = select(v.seq, v.body).where(v.tenant == tenant, v.seq > seq, v.until.is_(None), not_(v.deleted))
    rows = conn.execute(current.order_by(v.seq).limit(count)).all()
    found: dict[int, set[int]] = {row.seq: set() for row in rows}
    kept = select(k.seq, k.param).where(k.tenant == tenant, k.seq.in_(found)).distinct()
    for key in conn.execute(kept):
        found[key.seq].add(key.param)
    return tuple(Indexed(row.seq, row.body, frozenset(found[row.seq])) for row in rows)


def add(conn: Connection, tenant: str, keys: Sequence[tuple[int, tuple[Key, ...]]]) -> int:
    """Add keys to versions that are still current, and return to how many.

    The tenant's row is locked first: what was replaced or deleted since it was read gets none.
    Whoever adds the same keys at the same time does no harm.
    """
    hold(conn, tenant)
    v = tables.version.c
    these = [seq for seq, _ in keys]
    current = select(v.seq).where(v.tenant == tenant, v.seq.in_(these), v.until.is_(None), not_(v.deleted))
    still = set(conn.scalars(current))
    rows = [row for seq, new in keys if seq in still for row in key_rows(tenant, seq, new)]
    if rows:
        insert_ = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        conn.execute(insert_(tables.key).on_conflict_do_nothing(), rows)
    return len(still)
