"""The OpenAPI 3.1 document, generated from the one list of what is served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.capability import VERSION
from fhir_bridge.fhir.rest.openapi_interactions import ALWAYS, STORED, UNCHANGED, past, routes_of
from fhir_bridge.fhir.rest.openapi_oauth import oauth_routes
from fhir_bridge.fhir.rest.openapi_operations import operation_routes
from fhir_bridge.fhir.rest.openapi_parts import (
    ERRORS,
    FHIR_JSON,
    PARAMETERS,
    answer,
    content,
    error_name,
    error_response,
    fhir_body,
    parameters,
    reference,
    responses,
    schema,
)
from fhir_bridge.fhir.rest.openapi_requests import request_routes
from fhir_bridge.fhir.rest.openapi_routes import plain_routes
from fhir_bridge.fhir.rest.openapi_search import search_routes
from fhir_bridge.fhir.rest.operations import operations_of
from fhir_bridge.fhir.rest.served import SERVED, Interaction, Served

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_LETTERS: Final[dict[Interaction, str]] = {
    "create": "c",
    "read": "r",
    "update": "u",
    "delete": "d",
    "search-type": "s",
}
_WHOLE: Final = tuple((None, operation) for operation in operations_of(None))


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
            "securitySchemes": _security_schemes(origin.rstrip("/"), rows),
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


PERSONAL: Final = {
    "openid": "Who signed in",
    "fhirUser": "The resource that stands for them",
    "launch": "What the EHR has open, when it opens the app",
    "launch/patient": "A patient, chosen while signing in",
    "launch/encounter": "An encounter, chosen while signing in",
    "online_access": "Access as long as the person is signed in",
    "offline_access": "Access after the person has left",
    "patient/*.cruds": "All that is served of one patient",
    "user/*.cruds": "All that is served and the person may see",
}


def announced(rows: tuple[Served, ...] = SERVED) -> tuple[str, ...]:
    """List the scopes that clients and people may be given, for discovery."""
    return (*PERSONAL, *scopes(rows))


def _letters(row: Served) -> str:
    return "".join(letter for interaction, letter in _LETTERS.items() if interaction in row.interactions)


def _security_schemes(origin: str, rows: tuple[Served, ...]) -> Json:
    """Name the endpoints in full: a reader would take the path away that the server's address may have."""
    token = f"{origin}/oauth/token"
    allowed: Json = {**scopes(rows), "launch": "To tell what an EHR has open, as it opens an app"}
    own: Json = {"tokenUrl": token, "scopes": allowed}
    authorize = f"{origin}/oauth/authorize"
    personal: Json = {"authorizationUrl": authorize, "tokenUrl": token, "scopes": dict(PERSONAL)}
    return {
        "smart": {
            "type": "oauth2",
            "description": "SMART. Press Authorize with a client id, to sign in, or with a client id and secret.",
            "flows": {"authorizationCode": personal, "clientCredentials": own},
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that was got elsewhere, such as by a signed assertion.",
        },
    }


def _schemas(rows: tuple[Served, ...]) -> Json:
    others = ("Bundle", "CapabilityStatement", "OperationDefinition", "OperationOutcome", "Parameters")
    return {type_: schema(type_) for type_ in (*(row.type for row in rows), *others)}


def _paths(rows: tuple[Served, ...]) -> Json:
    paths: dict[str, dict[str, JsonValue]] = {
        "/fhir": {"post": _transaction()},
        "/fhir/_history": {"get": _history()},
        "/fhir/_page/{id}": {"get": _page()},
        **{path: {"get": route} for path, route in plain_routes().items()},
    }
    for row in rows:
        for interaction in row.interactions:
            for path, method, described in routes_of(row, interaction):
                paths.setdefault(path, {})[method] = described
    for path, method, described in search_routes(rows):
        paths.setdefault(path, {})[method] = described
    for path, method, described in [*request_routes(), *oauth_routes()]:
        paths.setdefault(path, {})[method] = described
    for type_, operation in [*((row.type, one) for row in rows for one in row.operations), *_WHOLE]:
        for path, method, described in operation_routes(type_, operation):
            paths.setdefault(path, {})[method] = described
    return {path: {**paths[path]} for path in sorted(paths)}


def _transaction() -> Json:
    done = answer("What became of each entry, in their order", "Bundle", headers={})
    return {
        "operationId": "bundle",
        "tags": ["System"],
        "summary": "Do several things together or not at all (transaction), or each by itself (batch)",
        "security": [{"smart": ["system/*.cruds"]}, {"bearer": []}],
        "requestBody": {"required": True, "content": fhir_body("Bundle")},
        "responses": responses({200: done}, (*STORED, 404, 410, 412)),
    }


def _history() -> Json:
    return past(
        operationId="historyOfSystem",
        tags=["System"],
        summary="What happened to all that the token may search, newest first",
        security=[{"smart": ["system/*.cruds"]}, {"bearer": []}],
    )


def _page() -> Json:
    found: Json = {"description": "A searchset or history Bundle", "content": content(FHIR_JSON, reference("Bundle"))}
    return {
        "operationId": "page",
        "tags": ["System"],
        "summary": "A further page of a search or history, as its link names it",
        "security": [{"smart": ["system/*.cruds"]}, {"bearer": []}],
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            *parameters("ifNoneMatch"),
        ],
        "responses": responses({200: found, 304: UNCHANGED}, (*ALWAYS, 404, 410)),
    }
