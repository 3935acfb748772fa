"""The routes of the OpenAPI document that are not FHIR resources: token, discovery, operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from fhir_bridge.fhir.rest.openapi_parts import FHIR_JSON, content, error_name, parameters, reference

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TEXT: Final[Json] = {"type": "string"}


def token_route() -> Json:
    """Describe the token endpoint (RFC 6749 sections 4.1.3, 4.4 and 6; SMART)."""
    fields: Json = {
        "grant_type": {"enum": ["client_credentials", "authorization_code", "refresh_token"]},
        "scope": {"type": "string", "examples": ["system/Encounter.crus system/Media.crus"]},
        "client_assertion_type": {"const": _ASSERTION},
        "client_assertion": {"type": "string", "description": "A JWT signed by the client's registered key"},
        "client_id": {"type": "string", "description": "With client_secret, when no assertion is used"},
        "client_secret": {"type": "string", "format": "password"},
        "code": {"type": "string", "description": "Of an app to which a person said yes"},
        "redirect_uri": {"type": "string", "description": "With code: where it was sent"},
        "code_verifier": {"type": "string", "description": "With code: what its code_challenge was made of (PKCE)"},
        "refresh_token": {"type": "string", "description": "Good once: the answer has the next one"},
    }
    form: Json = {"type": "object", "required": ["grant_type"], "properties": fields}
    token: Json = {
        "type": "object",
        "required": ["access_token", "token_type", "expires_in", "scope"],
        "properties": {
            "access_token": _TEXT,
            "token_type": _TEXT,
            "expires_in": {"type": "integer"},
            "scope": _TEXT,
            **dict.fromkeys(("refresh_token", "id_token", "patient", "encounter"), _TEXT),
        },
    }
    return {
        "operationId": "token",
        "tags": ["OAuth"],
        "summary": "Get an access token",
        "security": [],
        "requestBody": {"required": True, "content": content("application/x-www-form-urlencoded", form)},
        "responses": {
            "200": {"description": "The token", "content": content("application/json", token)},
            "400": _oauth_error("What was asked for cannot be given"),
            "401": _oauth_error("The client did not prove who it is"),
            **_failures(),
        },
    }


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


def _oauth_error(text: str) -> Json:
    body: Json = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": _TEXT, "error_description": _TEXT},
    }
    return {"description": text, "content": content("application/json", body)}
