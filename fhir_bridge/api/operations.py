"""Operations: one door for all that the list of operations names, and their definitions."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, g

from fhir_bridge.api import given, respond, unchanged
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with
from fhir_bridge.errors import NotFound
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.operations import OPERATIONS, definition
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.verbs.operate import Call, operate

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
    return unchanged.bundle(operate(call)) if operation.name == "everything" else respond.body(operate(call))
