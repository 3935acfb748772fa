"""The routes of long requests in the OpenAPI document: uploads in parts, and answers that are fetched later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest.openapi_parts import FHIR_JSON, content, parameters, reference, responses

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.rest.openapi_interactions import Routes

_ALWAYS: Final = (400, 401, 403, 404, 406, 429, 500, 503)
_TEXT: Final[Json] = {"type": "string"}
_NUMBER: Final[Json] = {"type": "string", "pattern": "^[0-9]{1,15}$"}
_UPLOADED: Final[Json] = {
    "Upload-Offset": {"schema": {"type": "integer"}, "description": "The number of the next byte"},
    "Upload-Length": {"schema": {"type": "integer"}, "description": "The size of the whole"},
    "Upload-Expires": {"schema": _TEXT, "description": "When what is there of it is removed"},
    "Tus-Resumable": {"schema": _TEXT, "description": "The version of the protocol"},
}
_PLACE: Final[Json] = {"Content-Location": {"schema": _TEXT, "description": "Where the answer is to be asked for"}}
_PROGRESS: Final[Json] = {
    "X-Progress": {"schema": _TEXT, "description": "How far it is"},
    "Retry-After": {"schema": _TEXT, "description": "Seconds until the next question"},
}


def accepted() -> Json:
    """Describe the answer to a request with Prefer: respond-async."""
    return {"description": "Accepted: the answer is fetched later", "headers": dict(_PLACE)}


def respond_async() -> Json:
    """Describe the preference itself."""
    schema: Json = {"enum": ["respond-async"]}
    return {"name": "Prefer", "in": "header", "schema": schema, "description": "Fetch the answer later"}


def request_routes() -> Routes:
    """Describe the routes that go on with a request."""
    return [
        ("/fhir/Binary/{id}", "patch", _resume()),
        ("/fhir/_async/{id}", "get", _status()),
        ("/fhir/_async/{id}", "delete", _drop()),
        ("/fhir/_async/{id}/{number}", "get", _file()),
    ]


def _route(name: str, tag: str, text: str, scope: str) -> dict[str, JsonValue]:
    return {"operationId": name, "tags": [tag], "summary": text, "security": [{"smart": [scope]}, {"bearer": []}]}


def _resume() -> Json:
    """Begin by POST /fhir/Binary with Tus-Resumable and Upload-Length; ask by HEAD."""
    taken: Json = {"description": "Taken; with the last byte it is a Binary", "headers": dict(_UPLOADED)}
    text = (
        "Go on with an upload in parts (tus 1.0). POST /fhir/Binary with Tus-Resumable and Upload-Length begins one, "
        "HEAD on its Location tells its offset"
    )
    version: Json = {"name": "Tus-Resumable", "in": "header", "required": True, "schema": {"const": "1.0.0"}}
    offset: Json = {"name": "Upload-Offset", "in": "header", "required": True, "schema": dict(_NUMBER)}
    bytes_: Json = {"type": "string", "format": "binary"}
    return {
        **_route("resumeUpload", "Binary", text, "system/Binary.c"),
        "parameters": [*parameters("id"), version, offset],
        "requestBody": {"required": True, "content": content("application/offset+octet-stream", bytes_)},
        "responses": responses({204: taken}, (*_ALWAYS, 409, 412, 413, 415, 507)),
    }


def _status() -> Json:
    pending: Json = {"description": "Not done yet", "headers": dict(_PROGRESS)}
    both = content(FHIR_JSON, reference("Bundle")) | content("application/json", {"type": "object"})
    done: Json = {"description": "A batch-response with the answer, or the manifest of an export", "content": both}
    return {
        **_route("asyncStatus", "System", "How far a request is, or what it came to", "system/*.cruds"),
        "parameters": [*_id()],
        "responses": responses({200: done, 202: pending}, _ALWAYS),
    }


def _drop() -> Json:
    return {
        **_route("asyncDrop", "System", "End a request, or forget its answer", "system/*.cruds"),
        "parameters": [*_id()],
        "responses": responses({202: {"description": "It is gone"}}, _ALWAYS),
    }


def _file() -> Json:
    number: Json = {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
    lines: Json = {"description": "A resource a line", "content": content("application/fhir+ndjson", dict(_TEXT))}
    return {
        **_route("asyncFile", "System", "One file of an export", "system/*.rs"),
        "parameters": [*_id(), number],
        "responses": responses({200: lines}, _ALWAYS),
    }


def _id() -> list[JsonValue]:
    return [{"name": "id", "in": "path", "required": True, "schema": dict(_TEXT)}]
