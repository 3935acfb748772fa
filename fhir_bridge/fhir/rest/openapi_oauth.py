"""The routes of the authorization server in the OpenAPI document: what apps and EHRs call, not the pages people see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest.capability import OAUTH
from fhir_bridge.fhir.rest.openapi_parts import content

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.rest.openapi_interactions import Routes

FORM: Final = "application/x-www-form-urlencoded"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TEXT: Final[Json] = {"type": "string"}
_FLAG: Final[Json] = {"type": "boolean"}
_PROOF: Final[Json] = {
    "client_assertion_type": {"const": _ASSERTION},
    "client_assertion": {"type": "string", "description": "A JWT signed by the client's registered key"},
    "client_id": {"type": "string", "description": "With client_secret, when no assertion is used"},
    "client_secret": {"type": "string", "format": "password"},
}
_TOKEN_FORM: Final[Json] = {
    "grant_type": {"enum": ["client_credentials", "authorization_code", "refresh_token"]},
    "scope": {"type": "string", "examples": ["system/Encounter.crus system/Media.crus"]},
    **_PROOF,
    "code": {"type": "string", "description": "Of an app to which a person said yes"},
    "redirect_uri": {"type": "string", "description": "With code: where it was sent"},
    "code_verifier": {"type": "string", "description": "With code: what its code_challenge was made of (PKCE)"},
    "refresh_token": {"type": "string", "description": "Good once: the answer has the next one"},
}
_TOKEN: Final[Json] = {
    "access_token": _TEXT,
    "token_type": _TEXT,
    "expires_in": {"type": "integer"},
    "scope": _TEXT,
    **dict.fromkeys(("refresh_token", "id_token", "patient", "encounter"), _TEXT),
}
_ABOUT_FORM: Final[Json] = {"token": {"type": "string", "description": "An access or refresh token"}, **_PROOF}
_ABOUT: Final[Json] = {
    "active": _FLAG,
    "exp": {"type": "integer"},
    **dict.fromkeys(("scope", "client_id", "iss", "sub", "jti", "token_type", "patient", "encounter"), _TEXT),
}
_ASKED: Final[dict[str, Json]] = {
    "response_type": {"const": "code"},
    "client_id": _TEXT,
    "redirect_uri": {"type": "string", "description": "One that the app is registered with"},
    "scope": {"type": "string", "examples": ["launch/patient openid fhirUser patient/*.rs"]},
    "aud": {"type": "string", "description": "The URL of this FHIR base"},
    "code_challenge": {"type": "string", "pattern": r"^[A-Za-z0-9_\-]{43}$"},
    "code_challenge_method": {"const": "S256"},
    "state": {"type": "string", "description": "Given back to the app"},
    "launch": {"type": "string", "description": "What the EHR that opened the app handed to it"},
    "nonce": {"type": "string", "description": "Given back in the id_token"},
    "prompt": {"type": "string", "examples": ["none", "login", "consent"]},
    "max_age": {"type": "string", "description": "Seconds since the person signed in"},
}
_NEEDED: Final = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "aud",
    "code_challenge",
    "code_challenge_method",
)
_OPENED: Final[Json] = {
    "patient": {"type": "string", "examples": ["Patient/1"]},
    "encounter": {"type": "string", "examples": ["Encounter/1"]},
    "user": {"type": "string", "description": "Who works there: Practitioner/1, or the name of a local user"},
    "intent": _TEXT,
    "need_patient_banner": _FLAG,
    "fhirContext": {"type": "array", "items": {"type": "object", "required": ["reference"]}},
}
_REFUSED: Final = {
    400: "What was asked for cannot be given",
    401: "The client did not prove who it is",
    403: "The token does not reach this",
    413: "A body over its limit",
    429: "Too many requests",
    500: "A fault of the bridge",
    503: "The database does not take the request",
}
_TO_CLIENTS: Final = (400, 401, 413, 429, 500, 503)


def oauth_routes() -> Routes:
    """Describe what the statement names of the authorization server, and what an EHR opens apps by."""
    named = [(f"/oauth/{name}", method, route) for name in OAUTH for method, route in _DESCRIBED[name]()]
    return [*named, ("/oauth/launch", "post", _launch())]


def _authorize() -> list[tuple[str, Json]]:
    """By a form as well (SMART capability `authorize-post`)."""
    query: list[JsonValue] = [
        {"name": name, "in": "query", "required": name in _NEEDED, "schema": schema} for name, schema in _ASKED.items()
    ]
    onward: Json = {"description": "To sign in, or back to the app", "headers": {"Location": {"schema": _TEXT}}}
    page = content("text/html", _TEXT)
    pages: Json = {str(status): {"description": _REFUSED[status], "content": page} for status in (400, 429, 503)}
    answers: Json = {"303": onward, **pages, **_errors((413, 500))}
    text = "Send a person here to sign in and to agree to what an app asks"
    return [
        ("get", {**_route("authorize", text, answers), "parameters": query}),
        ("post", {**_route("authorizeByPost", f"{text}, by a form", answers), **_form(dict(_ASKED), *_NEEDED)}),
    ]


def _token() -> list[tuple[str, Json]]:
    """RFC 6749 sections 4.1.3, 4.4 and 6; SMART."""
    given = _given(200, "The token", _TOKEN, "access_token", "token_type", "expires_in", "scope")
    route = _route("token", "Get an access token", {**given, **_errors(_TO_CLIENTS)})
    return [("post", {**route, **_form(_TOKEN_FORM, "grant_type")})]


def _introspect() -> list[tuple[str, Json]]:
    """RFC 7662; the bearer of another token may ask as well."""
    given = _given(200, "About a token that is good, or that it is not", _ABOUT, "active")
    route = _route("introspect", "What a token is good for", {**given, **_errors(_TO_CLIENTS)})
    return [("post", {**route, **_form(_ABOUT_FORM, "token")})]


def _revoke() -> list[tuple[str, Json]]:
    """RFC 7009."""
    text = "Take back a token; a refresh token with all that came of the same approval"
    route = _route("revoke", text, {**_given(200, "It is good for nothing", {}), **_errors(_TO_CLIENTS)})
    return [("post", {**route, **_form(_ABOUT_FORM, "token")})]


def _launch() -> Json:
    """SMART 2.2, "EHR launch"."""
    given = _given(201, "What the app is handed as launch", {"launch": _TEXT}, "launch")
    route = _route(
        "launch", "Tell what the EHR has open, as it opens an app", {**given, **_errors((*_TO_CLIENTS, 403))}
    )
    body: Json = {"type": "object", "properties": _OPENED, "additionalProperties": False}
    sent: Json = {"required": True, "content": content("application/json", body)}
    return {**route, "security": [{"smart": ["launch"]}, {"bearer": []}], "requestBody": sent}


_DESCRIBED: Final[dict[str, Callable[[], list[tuple[str, Json]]]]] = {
    "authorize": _authorize,
    "token": _token,
    "introspect": _introspect,
    "revoke": _revoke,
}


def _route(name: str, summary: str, answers: Json) -> Json:
    return {"operationId": name, "tags": ["OAuth"], "summary": summary, "security": [], "responses": answers}


def _form(fields: Json, *required: str) -> Json:
    body: Json = {"type": "object", "required": list(required), "properties": fields}
    return {"requestBody": {"required": True, "content": content(FORM, body)}}


def _given(status: int, text: str, members: Json, *required: str) -> Json:
    body: Json = {"type": "object", "required": list(required), "properties": members}
    return {str(status): {"description": text, "content": content("application/json", body)}}


def _errors(statuses: tuple[int, ...]) -> Json:
    """Describe errors as OAuth's clients read them (RFC 6749 section 5.2)."""
    told: Json = {"error": _TEXT, "error_description": _TEXT}
    body: Json = {"type": "object", "required": ["error"], "properties": told}
    return {str(at): {"description": _REFUSED[at], "content": content("application/json", body)} for at in statuses}
