"""$validate: what creating, updating or deleting a resource would be refused with. Nothing is stored.

http://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.errors import BadParameter, BridgeError, Forbidden, Gone, Issue, NotFound, NotSupported
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.rest.outcome import outcome
from fhir_bridge.fhir.rest.served import offers
from fhir_bridge.verbs import encounter
from fhir_bridge.verbs.case import Case
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find, read
from fhir_bridge.verbs.retract import media_removed
from fhir_bridge.verbs.write import current_of, planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.inputs import Inputs
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.smart.scope import Right
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge

Mode = Literal["create", "update", "delete", "profile"]

_RIGHTS: Final[dict[str, Right]] = {"create": "c", "update": "u", "delete": "d", "profile": "r"}
_OF_TYPE: Final = ("create",)
_OF_INSTANCE: Final = ("update", "delete", "profile")
_ALL_WELL: Final = Issue("informational", "Nothing was found that speaks against it", severity="information")
# Their audio is judged when it is sent: here it would have to be sent twice.
_WITH_CONTENT: Final = frozenset({"Media", "Binary"})
_PROFILE: Final = "http://hl7.org/fhir/StructureDefinition/"


def validate(bridge: Bridge, grant: Grant, path: str, inputs: Inputs) -> Json:
    """Answer with what was found about a resource for `path`, which is Type or Type/id.

    Raises:
        BadParameter: no resource where one is needed, or a mode that does not go with the path.
        NotSupported: a profile that is not known here. Forbidden: no right to do what is asked about.
    """
    type_, _, id_ = path.partition("/")
    mode = _mode(id_, inputs)
    filter_ = allowed(grant, (type_,), _RIGHTS[mode])
    profile = inputs.one("profile")
    if profile not in {None, f"{_PROFILE}{type_}"}:
        raise NotSupported(f"Only the profile {_PROFILE}{type_} is known here")
    if mode != "profile" and not offers(type_, mode):
        raise NotSupported(f"{type_} has no {mode} here: see /fhir/metadata")
    if mode == "delete":
        row = find(bridge, filter_, type_, id_)
        if row is None or row.deleted:
            raise (Gone if row else NotFound)(f"There is no {type_} with this id")
        return _told(lambda: _removed(bridge, grant, row))
    if mode == "profile":
        stored = read_json(read(bridge, grant, type_, id_).body)
        return _told(lambda: _valid(stored, type_))
    json = _required(inputs.resource)
    return _told(lambda: _accepted(bridge, grant, path, json))


def _mode(id_: str, inputs: Inputs) -> Mode:
    asked = inputs.one("mode")
    fitting: tuple[Mode, ...] = _OF_INSTANCE if id_ else _OF_TYPE
    if asked is None:
        return "create" if not id_ else "update" if inputs.resource else "profile"
    found = next((mode for mode in fitting if mode == asked), None)
    if found is None or (found == "profile" and inputs.resource):
        raise BadParameter(f"mode is one of {', '.join(fitting)} here; profile asks about what is stored")
    return found


def _required(resource: Json | None) -> Json:
    if resource is None:
        raise BadParameter("$validate needs the parameter resource, or the resource as the body")
    return resource


def _valid(json: Json, type_: str) -> tuple[Issue, ...]:
    checked(json, of=type_)
    return ()


def _removed(bridge: Bridge, grant: Grant, row: Row) -> tuple[Issue, ...]:
    if row.type == "Media":
        media_removed(bridge, grant, row)
    return ()


def _accepted(bridge: Bridge, grant: Grant, path: str, json: Json) -> tuple[Issue, ...]:
    """Judge content as it would be judged if it were sent."""
    type_, _, id_ = path.partition("/")
    checked(json, of=type_)
    if id_ and json.get("id") != id_:
        text = "The id of the resource has to be the id in the URL"
        raise BadParameter(text, issues=(Issue("value", text, f"{type_}.id"),))
    if type_ in _WITH_CONTENT:
        return ()
    current = current_of(bridge, grant, type_, id_) if id_ else None
    case = Case(bridge, grant, json | {"id": json.get("id", "to-be-given")}, "PUT" if id_ else "POST", current)
    planned(case)
    return encounter.hints(case) if type_ == "Encounter" else ()


def _told(judge: Callable[[], tuple[Issue, ...]]) -> Json:
    """Answer with what a judgement is refused with, its warnings, or that all is well."""
    try:
        found = judge()
    except Forbidden:
        raise
    except BridgeError as refusal:
        return outcome(refusal.issues)
    return outcome(found or (_ALL_WELL,))
