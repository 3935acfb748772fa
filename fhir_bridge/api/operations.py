"""Operations: one door for all that the list of operations names, and their definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, g, request

from fhir_bridge.api import given, later, respond, unchanged
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with
from fhir_bridge.errors import NotFound, NotSupported
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.operations import OPERATIONS, definition
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.verbs.asynchronous import require_first
from fhir_bridge.verbs.destroy import erase
from fhir_bridge.verbs.export import wish_of
from fhir_bridge.verbs.operate import Call, operate

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.verbs.asynchronous import Kind

routes = Blueprint("operations", __name__, url_prefix="/fhir")

_METHODS: Final = ["GET", "POST"]


@routes.get("/OperationDefinition/<id_>")
def operation_definition(id_: str) -> Response:
    """The definition of an operation: as open as the statement that names it (no token)."""
    found = next((one for one in OPERATIONS if one.id == id_), None)
    if found is None:
        raise NotFound("There is no OperationDefinition with this id")
    return respond.body(write(definition(found, base=bridge().base, types=BY_TYPE)))


@routes.route("/$<name>", methods=_METHODS)
def of_system(name: str) -> Response:
    """An operation of the whole system."""
    return _operated(name, None, None)


@routes.route("/<type_>/$<name>", methods=_METHODS)
def of_type(type_: str, name: str) -> Response:
    """An operation of a type."""
    return _operated(name, type_, None)


@routes.route("/<type_>/<id_>/$<name>", methods=_METHODS)
def of_instance(type_: str, id_: str, name: str) -> Response:
    """An operation of one resource."""
    return _operated(name, type_, id_)


def _operated(name: str, type_: str | None, id_: str | None) -> Response:
    who = grant()
    operation = given.operation(name, type_, id_)
    answered_with()
    path = "/".join(part for part in (type_, id_) if part)
    call = Call(bridge(), who, operation, path, given.inputs(operation), g.request_id)
    if operation.later:
        return _exported(call)
    if later.wanted():
        return _later(call)
    return unchanged.bundle(operate(call)) if operation.name == "everything" else respond.body(operate(call))


def _later(call: Call) -> Response:
    """Have a worker do what only reads; of what changes, let the end be awaited: of a job, or of an erasure."""
    if call.operation.name == "erase":
        return later.erased(call.grant, erase(call.bridge, call.grant, call.path, request=call.request))
    if call.operation.changes:
        kind: Kind = "cancel" if call.operation.name == "cancel" else "retry"
        return later.kept(call.grant, kind, operate(call), call.id)
    return later.accepted(call.grant, "operation", {**_asked(call), "operation": call.operation.id})


def _exported(call: Call) -> Response:
    """Have a worker export, once it is known that it can be done."""
    wish_of(call.bridge, call.grant, call.path, call.inputs)
    if not later.wanted():
        raise NotSupported("The files of an export are fetched later: send Prefer: respond-async")
    require_first(call.bridge, call.grant, "export")
    query = f"?{request.query_string.decode()}" if request.query_string else ""
    url = "/".join(part for part in (call.bridge.base, call.path, "$export") if part) + query
    return later.accepted(call.grant, "export", {**_asked(call), "url": url})


def _asked(call: Call) -> Json:
    pairs: list[JsonValue] = [[name, value] for name, value in call.inputs.values]
    resource = call.inputs.resource
    return {"path": call.path, "pairs": pairs, **({} if resource is None else {"resource": write(resource)})}
