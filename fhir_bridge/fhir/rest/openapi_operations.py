"""The routes of operations in the OpenAPI document: one for each level, type and method of the list of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest.openapi_interactions import ALWAYS
from fhir_bridge.fhir.rest.openapi_parts import answer, fhir_body, parameters, responses
from fhir_bridge.fhir.rest.openapi_requests import accepted, respond_async

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.rest.openapi_interactions import Routes
    from fhir_bridge.fhir.rest.operations import Level, Operation, Part

_PLACES: Final[dict[Level, str]] = {"system": "", "type": "/{type}", "instance": "/{type}/{{id}}"}
# Begins an operationId where one operation has several routes of a type.
_LEVELS: Final[dict[Level, str]] = {"system": "", "type": "", "instance": "One"}
_TYPES: Final = {"integer": "integer", "boolean": "boolean"}


def operation_routes(type_: str | None, operation: Operation) -> Routes:
    """Describe the routes of an operation for one type, or of the system."""
    levels = [level for level in operation.levels if (level == "system") == (type_ is None)]
    return [
        (f"/fhir{_PLACES[level].format(type=type_)}/${operation.name}", method.lower(), _route(type_, operation, place))
        for level in levels
        for method in operation.methods
        if (place := (level, method))
    ]


def _route(type_: str | None, operation: Operation, place: tuple[Level, str]) -> Json:
    level, method = place
    name = operation.name + (_LEVELS[level] if len(operation.levels) > 1 else "")
    name += "ByPost" if len(operation.methods) > 1 and method == "POST" else ""
    asked: list[JsonValue] = [*(parameters("id") if level == "instance" else []), respond_async()]
    if method == "GET":
        asked = [*asked, *(_query(part) for part in operation.takes)]
    given = next((part.type for part in operation.gives if part.name == "return"), "Parameters")
    return {
        "operationId": f"{name}{type_ or 'System'}",
        "tags": [type_ or "System"],
        "summary": operation.doc,
        "security": [{"smart": [f"system/{type_ or '*'}.{operation.right}"]}, {"bearer": []}],
        "parameters": asked,
        **(_body(type_, operation) if method == "POST" else {}),
        "responses": responses(_answers(operation, given), _errors(operation, method)),
    }


def _answers(operation: Operation, given: str) -> dict[int, Json]:
    later = {202: accepted()}
    return later if operation.later else {200: answer("Done", given, headers={}), **later}


def _query(part: Part) -> Json:
    told: Json = {"type": _TYPES.get(part.type, "string")}
    return {"name": part.name, "in": "query", "schema": told, "description": part.doc}


def _body(type_: str | None, operation: Operation) -> Json:
    """Describe the body: the resource itself when one is wanted, else Parameters, which may be left out."""
    resource = next((part for part in operation.takes if part.name == "resource"), None)
    if resource is None:
        return {"requestBody": {"content": fhir_body("Parameters")}}
    return {"requestBody": {"required": bool(resource.least), "content": fhir_body(type_ or "Parameters")}}


def _errors(operation: Operation, method: str) -> tuple[int, ...]:
    posted = (413, 415, 422) if method == "POST" else ()
    return (*ALWAYS, 404, 410, *posted, *((409,) if operation.changes else ()))
