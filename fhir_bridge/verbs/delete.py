"""delete: logical, so that whoever read a resource learns that it is gone (ruling 10)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_bridge.errors import BusinessRule, VersionConflict
from fhir_bridge.store import jobs
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.verbs.conditional import Pairs, asked, condition, match, settled
from fhir_bridge.verbs.plan import Moved, Plan, Removal, commit
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.retract import encounter_removed, media_removed

if TYPE_CHECKING:
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.plan import Condition
    from fhir_bridge.verbs.write import Writer


def delete(by: Writer, type_: str, id_: str, *, expect: int | None = None) -> None:
    """Delete a resource; one that is deleted already, or never was, is as it should be.

    Raises:
        VersionConflict: If-Match names another version.
        Busy: a job is running on the recording, or recordings belong to the Encounter.
    """
    filter_ = allowed(by.grant, (type_,), "d")

    def attempt() -> None:
        row = find(by.bridge, filter_, type_, id_)
        _delete(by, None if row is None or row.deleted else row, expect, ())

    settled(attempt)


def delete_matching(by: Writer, type_: str, criteria: Pairs, *, expect: int | None = None) -> None:
    """Delete the one resource that meets the criteria, if there is one.

    Raises:
        MultipleMatches: several meet them: none is deleted. Else as `delete`.
    """
    mine = allowed(by.grant, (type_,), "d")
    filter_ = asked(by.bridge, by.grant, type_, criteria)

    def attempt() -> None:
        row = match(by.bridge, filter_)
        within = row if row is None else find(by.bridge, mine, type_, row.id)
        _delete(by, within, expect, condition(filter_, row))

    settled(attempt)


def _delete(by: Writer, row: Row | None, expect: int | None, conditions: tuple[Condition, ...]) -> None:
    if expect not in {None, row.vid if row else 0}:
        raise VersionConflict("If-Match names another version than the current one: read it again")
    if row is None:
        return
    plan = removing(by, row)
    plan = replace(plan, conditions=(*conditions, *plan.conditions))
    try:
        commit(by.bridge, by.grant.tenant, plan, [told(by, row)])
    except VersionConflict as exc:  # written since it was looked at: look again
        raise Moved from exc


def removing(by: Writer, row: Row) -> Plan:
    """Plan the deletion of a resource as it stands, and what that brings along.

    Raises:
        Busy, BusinessRule: it cannot be deleted now, or at all.
    """
    removal = Removal(row.type, row.id, by.grant.client, row.vid)
    return replace(_plan(by, row), removals=(removal,), released=((row.type, row.id),))


def told(by: Writer, row: Row) -> AuditRow:
    """Return the audit entry of a deletion."""
    who = by.grant
    return AuditRow(who.tenant, by.request, "delete", 204, client=who.client, user=who.user, type=row.type, id=row.id)


def _plan(by: Writer, row: Row) -> Plan:
    """Return what a deletion brings along."""
    if row.type == "Media":
        return media_removed(by.bridge, by.grant, row)
    if row.type == "Encounter":
        return encounter_removed(by.bridge, by.grant, row)
    if row.type == "Task" and by.bridge.store.read(lambda conn: jobs.by_id(conn, row.id)) is not None:
        raise BusinessRule("The Task of a job is not deleted: cancel it, or delete its Media", at="Task.status")
    return Plan()
