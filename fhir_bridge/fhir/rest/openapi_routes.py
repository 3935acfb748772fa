"""The routes of the OpenAPI document that are not FHIR resources: discovery, keys, operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from fhir_bridge.fhir.rest.openapi_parts import FHIR_JSON, content, error_name, parameters, reference

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

_TEXT: Final[Json] = {"type": "string"}


def plain_routes() -> dict[str, Json]:
    """Describe what anyone may get without a token, by path."""
    anything: Json = {"type": "object"}
    metadata = content(FHIR_JSON, reference("CapabilityStatement"))
    defined = content(FHIR_JSON, reference("OperationDefinition"))
    operation = _open("operationDefinition", "System", "What an operation takes and gives", defined)
    ready = _open("ready", "Operators", "Whether the bridge can accept work", content("application/json", anything))
    not_ready: Json = {"description": "Database or disk is missing", "content": content("application/json", anything)}
    return {
        "/fhir/metadata": _stated(_open("metadata", "System", "What this server can do", metadata)),
        "/fhir/OperationDefinition/{id}": {
            **operation,
            "parameters": parameters("id"),
            "responses": {**_success(operation), "404": _failure(404), "406": _failure(406)},
        },
        "/oauth/jwks": _open("jwks", "OAuth", "The keys that sign tokens", content("application/json", anything)),
        "/fhir/.well-known/smart-configuration": _open(
            "smartConfiguration", "OAuth", "How to get a token", content("application/json", anything)
        ),
        "/health/live": _open(
            "live", "Operators", "Whether the process answers", content("application/json", anything)
        ),
        "/health/ready": {**ready, "responses": {**_success(ready), "503": not_ready}},
        "/metrics": _open("metrics", "Operators", "Counters in Prometheus' text form", content("text/plain", _TEXT)),
    }


def _open(name: str, tag: str, summary: str, body: Json) -> Json:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": summary, "content": body}, **_failures()},
    }


def _stated(route: Json) -> Json:
    unchanged: Json = {"description": "Unchanged since the ETag in If-None-Match"}
    return {**route, "responses": {**_success(route), "304": unchanged, "406": _failure(406)}}


def _success(route: Json) -> Json:
    return cast("Json", route["responses"])


def _failures() -> Json:
    return {str(status): _failure(status) for status in (429, 500, 503)}


def _failure(status: int) -> Json:
    return {"$ref": f"#/components/responses/{error_name(status)}"}
