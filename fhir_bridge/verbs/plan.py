"""What a request will change, worked out before the one transaction that changes it (architecture, "Writing")."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from fhir_bridge import log
from fhir_bridge.store import audit, binaries, jobs, versions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.store.audit import AuditRow
    from fhir_bridge.store.binaries import StoredBlob
    from fhir_bridge.store.jobs import NewJob
    from fhir_bridge.store.versions import NewVersion, Once, Row
    from fhir_bridge.verbs.bridge import Bridge


@dataclass(frozen=True)
class OnceKey:
    """A value that may belong to one resource only, and to whom it shall belong."""

    kind: str
    val: str
    mine: Once


@dataclass(frozen=True)
class Plan:
    """The writes of one request, in the order of their rows.

    `released` are (kind, type, id) whose claims end before `once` is claimed; `again` and
    `cancel` are ids of jobs.
    """

    versions: tuple[NewVersion, ...] = ()
    once: tuple[OnceKey, ...] = ()
    released: tuple[tuple[str, str, str], ...] = ()
    contents: tuple[StoredBlob, ...] = ()
    jobs: tuple[NewJob, ...] = ()
    again: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()


class Taken(Exception):
    """A value that may exist once belongs to another resource: nothing of the plan was kept."""

    def __init__(self, key: OnceKey, existing: Once) -> None:
        super().__init__(key.kind)
        self.key = key
        self.existing = existing

    @property
    def same(self) -> bool:
        """Whether what is there has the content that was sent."""
        return self.existing.digest == self.key.mine.digest


def merged(plans: Iterable[Plan]) -> Plan:
    """Join plans into one that happens whole or not at all."""
    found = list(plans)
    return Plan(*(tuple(item for plan in found for item in getattr(plan, field.name)) for field in fields(Plan)))


def commit(bridge: Bridge, tenant: str, plan: Plan, entries: Iterable[AuditRow] = ()) -> tuple[Row, ...]:
    """Carry the plan out in one transaction, with its audit entries (reliability.md, rule 1).

    Raises:
        Taken: see there.
        VersionConflict: a version in the plan expected another current one.
    """
    recorded = tuple(entries)

    def write(conn: Connection) -> tuple[Row, ...]:
        rows = versions.put(conn, tenant, plan.versions)
        for kind, type_, id_ in plan.released:
            versions.release(conn, tenant, kind, (type_, id_))
        for key in plan.once:
            _claim(conn, tenant, key)
        for content in plan.contents:
            binaries.add(conn, tenant, content)
        for job in plan.jobs:
            jobs.create(conn, job)
        for id_ in plan.again:
            jobs.again(conn, id_)
        for id_ in plan.cancel:
            jobs.cancel(conn, id_)
        audit.record(conn, recorded)
        return rows

    rows = bridge.store.write(write)
    for job in plan.jobs:
        log.event("job.accepted", tenant=tenant, kind=job.kind, job=job.task)
    return rows


def _claim(conn: Connection, tenant: str, key: OnceKey) -> None:
    existing = versions.once(conn, tenant, key.kind, key.val, mine=key.mine)
    if existing is not None and (existing.type, existing.id) != (key.mine.type, key.mine.id):
        raise Taken(key, existing)
