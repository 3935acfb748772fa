"""What a request will change, worked out before the one transaction that changes it (architecture, "Writing")."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from fhir_bridge import log, points
from fhir_bridge.store import binaries, jobs, resources, versions
from fhir_bridge.verbs import admission, audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.store.audit import AuditRow
    from fhir_bridge.store.binaries import StoredBlob
    from fhir_bridge.store.budgets import Audio
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.jobs import Job, NewJob
    from fhir_bridge.store.versions import NewVersion, Once, Row
    from fhir_bridge.verbs.bridge import Bridge


@dataclass(frozen=True)
class OnceKey:
    """A value that may belong to one resource only, and to whom it shall belong."""

    kind: str
    val: str
    mine: Once


@dataclass(frozen=True)
class Condition:
    """What a plan was made under: `filter` lets exactly the resources with these ids through, in any order."""

    filter: Filter
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Removal:
    """A logical deletion; `expect` is the vid that If-Match names."""

    type: str
    id: str
    author: str
    expect: int | None = None


@dataclass(frozen=True)
class Plan:
    """The writes of one request, in the order of their rows.

    `seen` are jobs as they stood when the plan was made; `released` are (type, id) whose
    claims end before `once` is claimed; `again` and `cancel` are ids of jobs.
    """

    versions: tuple[NewVersion, ...] = ()
    removals: tuple[Removal, ...] = ()
    conditions: tuple[Condition, ...] = ()
    seen: tuple[Job, ...] = ()
    once: tuple[OnceKey, ...] = ()
    released: tuple[tuple[str, str], ...] = ()
    contents: tuple[StoredBlob, ...] = ()
    jobs: tuple[NewJob, ...] = ()
    audio: tuple[Audio, ...] = ()
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


class Moved(Exception):
    """A condition of the plan does not hold any more: nothing was kept, plan again."""


def merged(plans: Iterable[Plan]) -> Plan:
    """Join plans into one that happens whole or not at all."""
    found = list(plans)
    return Plan(*(tuple(item for plan in found for item in getattr(plan, field.name)) for field in fields(Plan)))


def commit(bridge: Bridge, tenant: str, plan: Plan, entries: Iterable[AuditRow] = ()) -> tuple[Row, ...]:
    """Carry the plan out in one transaction, with its audit entries (reliability.md, rule 1).

    Raises:
        Taken, Moved: see there.
        VersionConflict: a version in the plan expected another current one.
    """
    trail = audit.current()
    recorded = tuple(map(trail.completed, entries))

    def write(conn: Connection) -> tuple[Row, ...]:
        points.reached("accept.begun")
        _require(conn, tenant, plan)
        rows = versions.put(conn, tenant, plan.versions)
        points.reached("accept.versions")
        for each in plan.removals:
            versions.remove(conn, tenant, each.type, each.id, author=each.author, expect=each.expect)
        _claims(conn, tenant, plan)
        points.reached("accept.claimed")
        for content in plan.contents:
            binaries.add(conn, tenant, content)
        points.reached("accept.contents")
        for recording in plan.audio:
            admission.spend(conn, bridge.settings, recording)
        _jobs(conn, plan)
        points.reached("accept.jobs")
        audit.record(conn, recorded)
        points.reached("accept.audited")
        return rows

    rows = bridge.store.write(write, in_turn=True)
    points.reached("accept.committed")
    trail.written += len(recorded)
    for job in plan.jobs:
        log.event("job.accepted", tenant=tenant, kind=job.kind, job=job.task)
    return rows


def _require(conn: Connection, tenant: str, plan: Plan) -> None:
    """Ask once more, where no one else can write: the tenant's row is locked (reliability.md, rule 2).

    Raises:
        Moved: other resources meet a condition now, or a job was claimed, given back or ended.
    """
    if plan.conditions or plan.seen:
        versions.hold(conn, tenant)
    for condition in plan.conditions:
        found = resources.search(conn, condition.filter, count=len(condition.ids) + 1).rows
        if sorted(row.id for row in found) != sorted(condition.ids):
            raise Moved
    for job in plan.seen:
        now = jobs.by_id(conn, job.id)
        if now is None or (now.epoch, now.owner, now.state) != (job.epoch, job.owner, job.state):
            raise Moved


def _claims(conn: Connection, tenant: str, plan: Plan) -> None:
    for type_, id_ in plan.released:
        versions.release(conn, tenant, (type_, id_))
    for key in plan.once:
        existing = versions.once(conn, tenant, key.kind, key.val, mine=key.mine)
        if existing is not None and (existing.type, existing.id) != (key.mine.type, key.mine.id):
            raise Taken(key, existing)


def _jobs(conn: Connection, plan: Plan) -> None:
    for job in plan.jobs:
        jobs.create(conn, job)
    for id_ in plan.again:
        jobs.again(conn, id_)
    for id_ in plan.cancel:
        jobs.cancel(conn, id_)
