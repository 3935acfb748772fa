"""delete: logical, so that whoever read a resource learns that it is gone (ruling 10)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_bridge.errors import BusinessRule, VersionConflict
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.verbs.conditional import Pairs, asked, condition, match, settled
from fhir_bridge.verbs.plan import Plan, Removal, commit
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.retract import media_removed

if TYPE_CHECKING:
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.plan import Condition
    from fhir_bridge.verbs.write import Writer


def delete(by: Writer, type_: str, id_: str, *, expect: int | None = None) -> None:
    """Delete a resource; one that is deleted already, or never was, is as it should be.

    Raises:
        VersionConflict: If-Match names another version. Busy: a job is running on the recording.
    """
    filter_ = allowed(by.grant, (type_,), "d")
    row = find(by.bridge, filter_, type_, id_)
    if row is None or row.deleted:
        if expect is not None:
            raise VersionConflict("If-Match names a version, but there is no such resource")
        return
    _delete(by, row, expect, ())


def delete_matching(by: Writer, type_: str, criteria: Pairs) -> None:
    """Delete the one resource that meets the criteria, if there is one.

    Raises:
        MultipleMatches: several meet them: none is deleted.
    """
    filter_ = asked(by.bridge, by.grant, type_, criteria)
    mine = allowed(by.grant, (type_,), "d")

    def attempt() -> None:
        row = match(by.bridge, filter_)
        if row is not None and find(by.bridge, mine, type_, row.id) is not None:
            _delete(by, row, row.vid, condition(filter_, row))

    settled(attempt)


def _delete(by: Writer, row: Row, expect: int | None, conditions: tuple[Condition, ...]) -> None:
    if row.type == "Task":
        raise BusinessRule("A Task is not deleted: cancel it", at="Task.status")
    plan = media_removed(by.bridge, by.grant, row) if row.type == "Media" else Plan()
    removal = Removal(row.type, row.id, by.grant.client, expect)
    plan = replace(plan, removals=(removal,), conditions=conditions, released=((row.type, row.id),))
    who = by.grant
    done = AuditRow(who.tenant, by.request, "delete", 204, client=who.client, user=who.user, type=row.type, id=row.id)
    commit(by.bridge, who.tenant, plan, [done])
