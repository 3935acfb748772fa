"""The OpenAPI 3.1 document, generated from the one list of what is served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.capability import VERSION
from fhir_bridge.fhir.rest.openapi_parts import (
    ERRORS,
    EXAMPLES,
    FHIR_JSON,
    HEADERS,
    LOCATION,
    PARAMETERS,
    content,
    error_name,
    error_response,
    reference,
    schema,
)
from fhir_bridge.fhir.rest.openapi_routes import plain_routes, token_route
from fhir_bridge.fhir.rest.served import COMMON, SERVED, Interaction, Operation, Param, Served

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_ALWAYS: Final = (400, 401, 403, 406, 429, 500, 503)
_STORED: Final = (*_ALWAYS, 409, 413, 415, 422, 507)
_LETTERS: Final[dict[Interaction, str]] = {
    "create": "c",
    "read": "r",
    "update": "u",
    "delete": "d",
    "search-type": "s",
}
_OPTIONS: Final = {
    "_count": "Matches per page",
    "_sort": "Parameters to order by, - before a name for descending",
    "_total": "none, estimate or accurate",
    "_summary": "true, text, data, count or false",
    "_elements": "Top-level elements to answer with",
    "_include": "Also what the matches refer to: Type:parameter",
    "_revinclude": "Also what refers to the matches: Type:parameter",
}


def document(origin: str = "/", *, rows: tuple[Served, ...] = SERVED) -> Json:
    """Describe every route of the server at `origin`."""
    text = write(_document(origin, rows))
    fresh: Json = json.loads(text)  # parts that are shared would become anchors in YAML
    return fresh


def _document(origin: str, rows: tuple[Served, ...]) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fhir_bridge",
            "version": VERSION,
            "summary": "Corti's ambient speech AI for any EHR, through FHIR R4 and SMART on FHIR",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": origin}],
        "tags": [{"name": name} for name in (*(row.type for row in rows), "System", "OAuth", "Operators")],
        "paths": _paths(rows),
        "components": {
            "securitySchemes": _security_schemes(rows),
            "schemas": _schemas(rows),
            "parameters": PARAMETERS,
            "responses": {error_name(status): error_response(status) for status in ERRORS},
        },
    }


_DESCRIPTION: Final = (
    "Register a client with `fhir-bridge client add`, press Authorize with its id and secret, then post an "
    "Encounter and its recording as Media. The examples can be sent as they are. Transcript and facts appear as "
    "DocumentReference and Observation while the recording is being heard."
)


def scopes(rows: tuple[Served, ...] = SERVED) -> dict[str, str]:
    """List the SMART scopes that mean something here: one for each type and one for all."""
    found = {f"system/{row.type}.{_letters(row)}": f"All that is served of {row.type}" for row in rows}
    return {"system/*.cruds": "All that is served", **found}


def _letters(row: Served) -> str:
    return "".join(letter for interaction, letter in _LETTERS.items() if interaction in row.interactions)


def _security_schemes(rows: tuple[Served, ...]) -> Json:
    flow: Json = {"tokenUrl": "/oauth/token", "scopes": dict(scopes(rows))}
    return {
        "smart": {
            "type": "oauth2",
            "description": "SMART backend services. Press Authorize with a client id and secret.",
            "flows": {"clientCredentials": flow},
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that was got elsewhere, such as by a signed assertion.",
        },
    }


def _schemas(rows: tuple[Served, ...]) -> Json:
    others = ("Bundle", "CapabilityStatement", "OperationOutcome", "Parameters")
    return {type_: schema(type_) for type_ in (*(row.type for row in rows), *others)}


def _paths(rows: tuple[Served, ...]) -> Json:
    paths: dict[str, dict[str, JsonValue]] = {
        "/fhir": {"post": _transaction()},
        "/fhir/_page/{id}": {"get": _page()},
        "/oauth/token": {"post": token_route()},
        **{path: {"get": route} for path, route in plain_routes().items()},
    }
    for row in rows:
        for interaction in row.interactions:
            for path, method, described in _BUILDERS[interaction](row):
                paths.setdefault(path, {})[method] = described
        for operation in row.operations:
            path = f"/fhir/{row.type}{'/{id}' if operation.level == 'instance' else ''}/${operation.name}"
            paths.setdefault(path, {})[operation.method] = _operation(row, operation)
    return {path: {**paths[path]} for path in sorted(paths)}


def _route(row: Served, name: str, letters: str, text: str) -> dict[str, JsonValue]:
    """Begin the description of one route: its name, place in the page and the scope it needs."""
    scope: list[JsonValue] = [f"system/{row.type}.{letters}"]
    return {
        "operationId": name + row.type,
        "tags": [row.type],
        "summary": text,
        "security": [{"smart": scope}, {"bearer": []}],
    }


def _responses(success: dict[int, Json], errors: tuple[int, ...]) -> Json:
    failures: Json = {str(code): {"$ref": f"#/components/responses/{error_name(code)}"} for code in sorted(errors)}
    return {**{str(code): answer for code, answer in success.items()}, **failures}


def _answer(text: str, type_: str, *, headers: Json | None = None) -> Json:
    return {"description": text, "headers": headers or HEADERS, "content": _fhir(type_)}


def _fhir(type_: str) -> Json:
    bodies = content(FHIR_JSON, reference(type_), example=EXAMPLES.get(type_))
    return bodies | content("*/*", {"description": "The stored bytes"}) if type_ == "Binary" else bodies


def _parameters(*names: str) -> list[JsonValue]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


_Routes = list[tuple[str, str, "Json"]]


def _create(row: Served) -> _Routes:
    made = _answer("Created", row.type, headers={**HEADERS, **LOCATION})
    known = _answer("It was already here with the same content and identifier", row.type, headers=HEADERS | LOCATION)
    route: Json = {
        **_route(row, "create", "c", f"Store a new {row.type}"),
        "parameters": _parameters("prefer"),
        "requestBody": {"required": True, "content": _fhir(row.type)},
        "responses": _responses({200: known, 201: made}, _STORED),
    }
    return [(f"/fhir/{row.type}", "post", route)]


def _read(row: Served) -> _Routes:
    unchanged: Json = {"description": "Unchanged since the version in If-None-Match", "headers": HEADERS}
    success = {200: _answer("Found", row.type), 304: unchanged}
    errors: tuple[int, ...] = (*_ALWAYS, 404, 410)
    if row.type == "Binary":  # raw content is read by ranges too
        success = {200: success[200], 206: _answer("The range that was asked for", row.type), 304: unchanged}
        errors = (*errors, 416)
    route: Json = {
        **_route(row, "read", "r", f"Read the current {row.type}"),
        "parameters": _parameters("id"),
        "responses": _responses(success, errors),
    }
    return [(f"/fhir/{row.type}/{{id}}", "get", route)]


def _update(row: Served) -> _Routes:
    success = {200: _answer("Updated", row.type)}
    if "create" in row.interactions:
        success[201] = _answer("Created under the EHR's own id", row.type, headers={**HEADERS, **LOCATION})
    route: Json = {
        **_route(row, "update", "u", f"Replace a {row.type}"),
        "parameters": _parameters("id", "ifMatch", "prefer"),
        "requestBody": {"required": True, "content": _fhir(row.type)},
        "responses": _responses(success, (*_STORED, 404, 410, 412)),
    }
    return [(f"/fhir/{row.type}/{{id}}", "put", route)]


def _search(row: Served) -> _Routes:
    params = [_search_param(param) for param in (*row.params, *COMMON)]
    options = [_query(name, text) for name, text in _OPTIONS.items()]
    found: Json = {"description": "A searchset Bundle", "content": content(FHIR_JSON, reference("Bundle"))}
    get: Json = {
        **_route(row, "search", "s", f"Search {row.type}"),
        "parameters": [*params, *options, *_parameters("handling")],
        "responses": _responses({200: found}, _ALWAYS),
    }
    fields: Json = {param.name: {"type": "string"} for param in (*row.params, *COMMON)}
    form: Json = {"type": "object", "properties": fields, "additionalProperties": {"type": "string"}}
    post: Json = {
        **_route(row, "searchByForm", "s", f"Search {row.type} with the parameters in the body"),
        "parameters": _parameters("handling"),
        "requestBody": {"content": content("application/x-www-form-urlencoded", form)},
        "responses": _responses({200: found}, (*_ALWAYS, 413, 415)),
    }
    return [(f"/fhir/{row.type}", "get", get), (f"/fhir/{row.type}/_search", "post", post)]


def _search_param(param: Param) -> Json:
    return _query(param.name, f"{param.type}: {', '.join(param.paths) or 'every resource has it'}")


def _query(name: str, text: str) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string"}, "description": text}


def _operation(row: Served, operation: Operation) -> Json:
    name = operation.name
    reads = operation.method == "get"
    answer = _answer("Done", "Bundle" if reads else "Parameters", headers={})
    route: Json = {**_route(row, name, "r" if reads else "c", operation.doc)}
    if operation.level == "instance":
        route["parameters"] = _parameters("id")
    if not reads:
        route["requestBody"] = {"required": True, "content": _fhir(row.type)}
    errors = (*_ALWAYS, 404, 410) if reads else (*_ALWAYS, 413, 415, 422)
    return {**route, "responses": _responses({200: answer}, errors)}


def _transaction() -> Json:
    done = _answer("All entries were done, in their order", "Bundle", headers={})
    return {
        "operationId": "transaction",
        "tags": ["System"],
        "summary": "Store several resources together or not at all, such as an Encounter with its recording",
        "security": [{"smart": ["system/*.cruds"]}, {"bearer": []}],
        "requestBody": {"required": True, "content": _fhir("Bundle")},
        "responses": _responses({200: done}, (*_STORED, 404, 410, 412)),
    }


def _page() -> Json:
    found: Json = {"description": "A searchset Bundle", "content": content(FHIR_JSON, reference("Bundle"))}
    return {
        "operationId": "page",
        "tags": ["System"],
        "summary": "A further page of a search, as its link names it",
        "security": [{"smart": ["system/*.cruds"]}, {"bearer": []}],
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": _responses({200: found}, (*_ALWAYS, 404, 410)),
    }


_BUILDERS: Final[dict[Interaction, Callable[[Served], _Routes]]] = {
    "create": _create,
    "read": _read,
    "update": _update,
    "search-type": _search,
}
