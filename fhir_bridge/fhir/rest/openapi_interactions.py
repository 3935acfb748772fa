"""The routes of FHIR's interactions in the OpenAPI document: one builder for each interaction of served.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest.openapi_parts import (
    FHIR_JSON,
    HEADERS,
    JSON_PATCH,
    an,
    answer,
    content,
    fhir_body,
    parameters,
    reference,
    responses,
    written,
)
from fhir_bridge.fhir.rest.served import COMMON, Interaction, Param, Served

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json, JsonValue

Routes = list[tuple[str, str, "Json"]]  # path, method, description

ALWAYS: Final = (400, 401, 403, 406, 429, 500, 503)
STORED: Final = (*ALWAYS, 409, 413, 415, 422, 507)
UNCHANGED: Final[Json] = {"description": "Unchanged since the ETag in If-None-Match"}
_PAST: Final = {
    "_since": "Only what was written at or after this instant",
    "_at": "Only versions that were current at some time within this date or instant",
    "_count": "Versions per page",
}


def routes_of(row: Served, interaction: Interaction) -> Routes:
    """Describe the routes of one interaction of a type, but for searches."""
    return _BUILDERS[interaction](row) if interaction in _BUILDERS else []


def begun(row: Served, name: str, letters: str, text: str) -> dict[str, JsonValue]:
    """Begin the description of one route: its name, place in the page and the scope it needs."""
    scope: list[JsonValue] = [f"system/{row.type}.{letters}"]
    return {
        "operationId": name + row.type,
        "tags": [row.type],
        "summary": text,
        "security": [{"smart": scope}, {"bearer": []}],
    }


def past(**beginning: JsonValue) -> Json:
    """Describe a route that tells what happened."""
    found: Json = {"description": "A history Bundle", "content": content(FHIR_JSON, reference("Bundle"))}
    asked = beginning.pop("parameters", [])
    before = asked if isinstance(asked, list) else []
    return {
        **beginning,
        "parameters": [*before, *(query(name, text) for name, text in _PAST.items()), *parameters("ifNoneMatch")],
        "responses": responses({200: found, 304: UNCHANGED}, (*ALWAYS, 404)),
    }


def _create(row: Served) -> Routes:
    made = written("Created", row.type)
    known = written("It was already here: by its identifier, or by If-None-Exist", row.type)
    searched = "search-type" in row.interactions
    route: Json = {
        **begun(row, "create", "c", f"Store a new {row.type}"),
        "parameters": parameters("prefer", *(("ifNoneExist",) if searched else ())),
        "requestBody": {"required": True, "content": fhir_body(row.type)},
        "responses": responses({200: known, 201: made}, (*STORED, 412) if searched else STORED),
    }
    return [(f"/fhir/{row.type}", "post", route)]


def _read(row: Served) -> Routes:
    errors: tuple[int, ...] = (*ALWAYS, 404, 410)
    success = _found(row)
    if row.type == "Binary":  # raw content is read by ranges too
        success |= {206: answer("The range that was asked for", row.type)}
        errors = (*errors, 416)
    route: Json = {
        **begun(row, "read", "r", f"Read the current {row.type}"),
        "parameters": parameters("id", "ifNoneMatch", "ifModifiedSince"),
        "responses": responses(success, errors),
    }
    return [(f"/fhir/{row.type}/{{id}}", "get", route)]


def _vread(row: Served) -> Routes:
    errors = (*ALWAYS, 404, 410, 416) if row.type == "Binary" else (*ALWAYS, 404, 410)
    success = _found(row) | ({206: answer("The range that was asked for", row.type)} if row.type == "Binary" else {})
    route: Json = {
        **begun(row, "vread", "r", f"Read one version of {an(row.type)}"),
        "parameters": parameters("id", "vid", "ifNoneMatch", "ifModifiedSince"),
        "responses": responses(success, errors),
    }
    return [(f"/fhir/{row.type}/{{id}}/_history/{{vid}}", "get", route)]


def _found(row: Served) -> dict[int, Json]:
    unchanged: Json = {"description": "Unchanged since what the client has", "headers": HEADERS}
    return {200: answer("Found", row.type), 304: unchanged}


def _history_instance(row: Served) -> Routes:
    begin = begun(row, "historyOf", "r", f"What happened to one {row.type}, newest first")
    return [(f"/fhir/{row.type}/{{id}}/_history", "get", past(**begin, parameters=parameters("id")))]


def _history_type(row: Served) -> Routes:
    begin = begun(row, "historyOfType", "s", f"What happened to every {row.type}, newest first")
    return [(f"/fhir/{row.type}/_history", "get", past(**begin))]


def _update(row: Served) -> Routes:
    one: Json = {
        **begun(row, "update", "u", f"Replace {an(row.type)}, or create it under the EHR's own id"),
        "parameters": parameters("id", "ifMatch", "ifNothing", "prefer"),
        **_replaced(row),
    }
    matching: Json = {
        **begun(row, "updateMatching", "us", f"Replace the one {row.type} that meets the criteria, or create it"),
        "parameters": [*criteria(row), *parameters("ifMatch", "ifNothing", "prefer")],
        **_replaced(row),
    }
    return _by_id_and_bycriteria(row, "put", one, matching)


def _replaced(row: Served) -> Json:
    success = {200: written("Updated", row.type), 201: written("Created", row.type)}
    return {
        "requestBody": {"required": True, "content": fhir_body(row.type)},
        "responses": responses(success, (*STORED, 404, 412)),
    }


def _patch(row: Served) -> Routes:
    one: Json = {
        **begun(row, "patch", "u", f"Change {an(row.type)}"),
        "parameters": parameters("id", "ifMatch", "prefer"),
        **_changed(row),
    }
    matching: Json = {
        **begun(row, "patchMatching", "us", f"Change the one {row.type} that meets the criteria"),
        "parameters": [*criteria(row), *parameters("ifMatch", "prefer")],
        **_changed(row),
    }
    return _by_id_and_bycriteria(row, "patch", one, matching)


def _changed(row: Served) -> Json:
    operation: Json = {"type": "object", "required": ["op", "path"], "properties": {"op": {"type": "string"}}}
    json_patch = content(JSON_PATCH, {"type": "array", "items": operation})
    changed = written("Changed", row.type)
    return {
        "requestBody": {"required": True, "content": {**json_patch, **content(FHIR_JSON, reference("Parameters"))}},
        "responses": responses({200: changed}, (*STORED, 404, 410, 412)),
    }


def _delete(row: Served) -> Routes:
    gone: dict[int, Json] = {
        200: answer("It is gone, as return=OperationOutcome wants it told", "OperationOutcome", headers={}),
        204: {"description": "It is gone"},
    }
    told: Json = {"responses": responses(gone, (*ALWAYS, 404, 409, 412, 422))}
    one: Json = {
        **begun(row, "delete", "d", f"Delete {an(row.type)}; its versions stay"),
        "parameters": parameters("id", "ifMatch", "prefer"),
        **told,
    }
    matching: Json = {
        **begun(row, "deleteMatching", "ds", f"Delete the one {row.type} that meets the criteria"),
        "parameters": [*criteria(row), *parameters("ifMatch", "prefer")],
        **told,
    }
    return _by_id_and_bycriteria(row, "delete", one, matching)


def _by_id_and_bycriteria(row: Served, method: str, one: Json, matching: Json) -> Routes:
    """A type that is not searched is not asked for by criteria either."""
    routes: Routes = [(f"/fhir/{row.type}/{{id}}", method, one)]
    return [*routes, (f"/fhir/{row.type}", method, matching)] if "search-type" in row.interactions else routes


def criteria(row: Served) -> list[JsonValue]:
    """Describe the search parameters of a type."""
    return [_search_param(param) for param in (*row.params, *COMMON)]


def _search_param(param: Param) -> Json:
    return query(param.name, f"{param.type}: {', '.join(param.paths) or 'every resource has it'}")


def query(name: str, text: str) -> Json:
    """Describe a parameter of a URL."""
    return {"name": name, "in": "query", "schema": {"type": "string"}, "description": text}


_BUILDERS: Final[dict[Interaction, Callable[[Served], Routes]]] = {
    "create": _create,
    "read": _read,
    "vread": _vread,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "history-instance": _history_instance,
    "history-type": _history_type,
}
