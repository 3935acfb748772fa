"""What has been kept long enough (ruling 32)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_, select

from fhir_bridge.store import tables
from fhir_bridge.store.states import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

_AT_ONCE: Final = 500


def outlived(conn: Connection, tenant: str, *, completed_before_ms: int) -> tuple[tuple[str, str], ...]:
    """Return contents (Binary, blob) whose recordings all gave their results before that time, some at a time.

    What no job names is no recording yet. Only audio that is still there is looked at, by
    its age: a job ends after its audio came.
    """
    b, j = tables.blob.c, tables.job.c
    of_blob = and_(j.tenant == b.tenant, j.binary == b.binary, j.state != State.ERASED)
    named = select(j.id).where(of_blob).exists()
    wanted = or_(j.state != State.PUBLISHED, j.ended_ms.is_(None), j.ended_ms > completed_before_ms)
    needed = select(j.id).where(of_blob, wanted).exists()
    old = and_(b.tenant == tenant, b.created_ms <= completed_before_ms)
    found = select(b.binary, b.blob).where(old, named, ~needed).order_by(b.created_ms, b.binary).limit(_AT_ONCE)
    return tuple((row.binary, row.blob) for row in conn.execute(found))
