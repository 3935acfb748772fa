"""create and update: from a resource as sent to the version that is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge import clock
from fhir_bridge.errors import BusinessRule, Duplicate, Invalid, Issue, NotFound, VersionConflict
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.subset import is_subset
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.filter import Filter
from fhir_bridge.verbs import binary, encounter, media, note, tasks
from fhir_bridge.verbs.case import Case
from fhir_bridge.verbs.conditional import Pairs, asked, condition, match, settled
from fhir_bridge.verbs.plan import Moved, Plan, Taken, commit, merged
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge
    from fhir_bridge.verbs.plan import Condition


NOTHING: Final = 0  # the version that is expected where nothing, or only a deletion, may be
_STALE: Final = "If-Match names another version than the current one: read it again"
THERE: Final = Issue("informational", "Nothing was stored: this one is there already", severity="information")


@dataclass(frozen=True)
class Writer:
    """Who writes, with which audio, in which request; `provenance` is stored beside what is written.

    `capabilities` writes the CapabilityStatement, for who asks for it inside a Bundle.
    """

    bridge: Bridge
    grant: Grant
    blobs: Mapping[str, Blob]
    request: str
    provenance: Json | None = None
    capabilities: Callable[[], str] | None = None


@dataclass(frozen=True)
class Written:
    """What a write led to. `is_new` is false when the same was there already, or an update."""

    row: Row
    is_new: bool
    hints: tuple[Issue, ...] = ()
    keeps_audio: bool = True


def _simple(case: Case) -> Plan:
    return Plan((case.version(),))


# Types whose writing means more than storing them.
PLANS: Final[Mapping[str, Callable[[Case], Plan]]] = {
    "Encounter": encounter.plan,
    "Media": media.plan,
    "Binary": binary.plan,
    "DocumentReference": note.plan,
    "Task": tasks.plan,
}
_CHECK_LATER: Final = frozenset({"Media", "Binary", "DocumentReference"})  # once they are complete


def planned(case: Case) -> Plan:
    """Check a resource and work out what writing it will change.

    Raises:
        BusinessRule: a part of a resource, as a summary is, would replace the whole.
    """
    if case.method == "PUT" and is_subset(case.json):
        text = "This is a part of the resource (SUBSETTED): read the whole of it, and send that"
        raise BusinessRule(text, at=f"{case.type}.meta.tag")
    if case.type not in _CHECK_LATER:
        checked(case.json)
    return PLANS.get(case.type, _simple)(case)


def create(by: Writer, json: Json, *, unless: Pairs = ()) -> Written:
    """Create a resource under a new id, unless one meets the criteria `unless`, or find the same one again (ruling 3).

    Raises:
        Duplicate: another resource has the business identifier.
        MultipleMatches: several meet the criteria.
    """
    type_ = str(json["resourceType"])
    allowed(by.grant, (type_,), "c")
    if not unless:
        return settled(lambda: _created(by, json, ()))
    filter_ = asked(by.bridge, by.grant, type_, unless)

    def attempt() -> Written:
        row = match(by.bridge, filter_)
        if row is not None:
            return Written(row, is_new=False, hints=(THERE,), keeps_audio=False)
        return _created(by, json, condition(filter_, None))

    return settled(attempt)


def update(by: Writer, id_: str, json: Json, *, expect: int | None = None) -> Written:
    """Store a new version, or create the resource under the EHR's own id.

    Raises:
        Invalid: the id in the body is another one than in the URL.
        VersionConflict: If-Match names another version.
    """
    if json.get("id") != id_:
        text = "The id in the body has to be the id in the URL"
        raise Invalid(text, issues=(Issue("value", text, f"{json['resourceType']}.id"),))
    return settled(lambda: updated(by, json, expect, ()))


def update_matching(by: Writer, json: Json, criteria: Pairs, *, expect: int | None = None) -> Written:
    """Update the one resource that meets the criteria, or create it.

    Raises:
        Invalid: the body has the id of another one. MultipleMatches: several meet them.
        Duplicate: none meets them, and the body's id is that of another resource.
    """
    type_ = str(json["resourceType"])
    allowed(by.grant, (type_,), "u")
    filter_ = asked(by.bridge, by.grant, type_, criteria)

    def attempt() -> Written:
        row = match(by.bridge, filter_)
        if row is not None and json.get("id", row.id) != row.id:
            text = "The criteria meet a resource with another id than the body's"
            raise Invalid(text, issues=(Issue("value", text, f"{type_}.id"),))
        id_ = row.id if row else str(json.get("id") or clock.new_id())
        if row is None and current_of(by.bridge, by.grant, type_, id_) is not None:
            raise Duplicate("No resource meets the criteria, and the id is that of another one", at=f"{type_}.id")
        return updated(by, {**json, "id": id_}, expect, condition(filter_, row))

    return settled(attempt)


def _created(by: Writer, json: Json, conditions: tuple[Condition, ...]) -> Written:
    case = Case(by.bridge, by.grant, {**json, "id": clock.new_id()}, "POST", blobs=by.blobs)
    plan = planned(case)
    plan = with_provenance(by, replace(plan, conditions=(*conditions, *plan.conditions)), [case])
    try:
        row = commit(by.bridge, by.grant.tenant, plan, [entry(case, by.request, 201)])[0]
    except Taken as taken:
        return Written(existing_of(case, taken), is_new=False, hints=(THERE,), keeps_audio=False)
    return Written(row, is_new=True, hints=hints_of(case), keeps_audio=bool(plan.contents))


def updated(
    by: Writer, json: Json, expect: int | None, conditions: tuple[Condition, ...], *, seen: int | None = None
) -> Written:
    """Store a new version of the resource that `json` names; `seen` is the version it was made from, if any.

    Raises:
        VersionConflict: If-Match, which is `expect`, names another version.
        Moved: another writer came between.
    """
    type_, id_ = str(json["resourceType"]), str(json["id"])
    current = current_of(by.bridge, by.grant, type_, id_)
    if expect not in {None, current.vid if current else NOTHING}:
        known = "If-None-Match is *, and the resource is there: read it" if expect == NOTHING else _STALE
        raise VersionConflict(known)
    if seen is not None and (current is None or current.vid != seen):
        raise Moved
    # What is planned from the version there is holds for that one only; what is sent replaces any.
    is_free = expect is None and seen is None and type_ not in PLANS
    based_on = 0 if current is None else None if is_free else current.vid
    case = Case(by.bridge, by.grant, json, "PUT", current, by.blobs, expect=based_on)
    plan = planned(case)
    plan = with_provenance(by, replace(plan, conditions=(*conditions, *plan.conditions)), [case])
    told = entry(case, by.request, 200 if current else 201, verb="update" if seen is None else "patch")
    try:
        rows = commit(by.bridge, by.grant.tenant, plan, [told])
    except Taken as taken:
        raise _duplicate(case) from taken
    except VersionConflict as exc:  # another has written since it was looked at: look again
        raise Moved from exc
    row = rows[0] if rows else current
    assert row is not None  # noqa: S101 - a plan without rows amends what is there
    return Written(row, is_new=current is None, hints=hints_of(case), keeps_audio=bool(plan.contents))


def with_provenance(by: Writer, plan: Plan, cases: Iterable[Case]) -> Plan:
    """Add the Provenance that came with the request, about what these cases write.

    http://hl7.org/fhir/R4/provenance.html#header. Where nothing is written there is none.
    """
    targets: list[JsonValue] = [{"reference": f"{case.type}/{case.id}"} for case in cases]
    if by.provenance is None or not plan.versions:
        return plan
    json: Json = {"recorded": clock.instant(), **by.provenance, "id": clock.new_id(), "target": targets}
    return merged([plan, planned(Case(by.bridge, by.grant, json, "POST"))])


def entry(case: Case, request: str, status: int, *, verb: Literal["update", "patch"] = "update") -> AuditRow:
    """Return the audit entry of a write; what did not exist before was created by whichever."""
    told = "create" if status == 201 else verb  # noqa: PLR2004 - HTTP 201
    who = case.grant
    return AuditRow(who.tenant, request, told, status, client=who.client, user=who.user, type=case.type, id=case.id)


def current_of(bridge: Bridge, grant: Grant, type_: str, id_: str) -> Row | None:
    """Return what will be updated.

    What is there but out of the Grant's reach is refused like content out of its reach:
    an update that creates would overwrite it.
    """
    filter_ = allowed(grant, (type_,), "u")
    if find(bridge, Filter(grant.tenant), type_, id_) is None:  # asked first: it may be created between two questions
        return None
    row = find(bridge, filter_, type_, id_)
    if row is None:
        raise NotFound(f"There is no {type_} with this id")
    return None if row.deleted else row


def existing_of(case: Case, taken: Taken) -> Row:
    """Return the resource that a repeated create meant.

    Raises:
        Duplicate: it has other content, or the Grant does not reach it.
    """
    there = taken.existing
    row = find(case.bridge, allowed(case.grant, (there.type,), "c"), there.type, there.id)
    if not taken.same or row is None or row.deleted:
        raise _duplicate(case)
    return row


def _duplicate(case: Case) -> Duplicate:
    at = f"{case.type}.identifier"
    text = f"Another {case.type} has this identifier and other content: update that one, or send another identifier"
    return Duplicate(text, at=at)


def hints_of(case: Case) -> tuple[Issue, ...]:
    """Return warnings about what was stored."""
    return encounter.hints(case) if case.type == "Encounter" else ()
