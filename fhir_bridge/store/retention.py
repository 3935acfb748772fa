"""What has been kept long enough (ruling 32)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from fhir_bridge.store import tables
from fhir_bridge.store.states import State

if TYPE_CHECKING:
    from sqlalchemy import Connection


def media_bodies(conn: Connection, tenant: str, *, completed_before_ms: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the bodies of a tenant's Media: those whose results were complete at that time, and all others.

    The bridge alone writes a Task, and last when its job ends: that moment counts.
    """
    job, media, task = tables.job, tables.version.alias("media"), tables.version.alias("task")
    joined = (
        select(media.c.body, job.c.state, task.c.at_ms)
        .join_from(media, job, and_(job.c.tenant == media.c.tenant, job.c.media == media.c.id), isouter=True)
        .join(
            task,
            and_(task.c.tenant == job.c.tenant, task.c.type == "Task", task.c.id == job.c.task, task.c.until.is_(None)),
            isouter=True,
        )
        .where(media.c.tenant == tenant, media.c.type == "Media", media.c.until.is_(None), ~media.c.deleted)
    )
    rows = conn.execute(joined.where(or_(job.c.state.is_(None), job.c.state != State.ERASED))).all()
    done = [row.state == State.PUBLISHED and row.at_ms <= completed_before_ms for row in rows]
    return (
        tuple(row.body for row, is_done in zip(rows, done, strict=True) if is_done),
        tuple(row.body for row, is_done in zip(rows, done, strict=True) if not is_done),
    )
