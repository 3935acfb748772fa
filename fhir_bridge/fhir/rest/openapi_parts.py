"""The parts an OpenAPI document refers to: schemas from FHIR's shapes, parameters, errors, examples."""

from __future__ import annotations

from base64 import b64encode
from http import HTTPStatus
from struct import pack
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Issue
from fhir_bridge.fhir.resource.shapes import shape
from fhir_bridge.fhir.rest.outcome import outcome

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.resource.shapes import Element

FHIR_JSON: Final = "application/fhir+json"
JSON_PATCH: Final = "application/json-patch+json"

_JSON_TYPES: Final = {
    "boolean": "boolean",
    "integer": "integer",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "decimal": "number",
}
_ID: Final = r"^[A-Za-z0-9\-.]{1,64}$"

# Every status an error can have, with what it means and an issue such as will be found in it.
ERRORS: Final[dict[int, tuple[str, Issue]]] = {
    400: (
        "The request cannot be read, or breaks a rule of FHIR",
        Issue("required", "This element must be given", "Encounter.status"),
    ),
    401: ("No token, or one that does not hold", Issue("login", "Send a Bearer token")),
    403: ("The token's scopes do not reach this", Issue("forbidden", "The token lacks the scope system/Media.c")),
    404: ("Not there for this client", Issue("not-found", "There is no such resource")),
    406: ("No representation the client accepts", Issue("not-supported", "Ask for application/fhir+json")),
    409: (
        "It collides with what is there",
        Issue("duplicate", "Another Encounter has this identifier", "Encounter.identifier"),
    ),
    410: ("It was deleted", Issue("deleted", "The resource was deleted")),
    412: (
        "If-Match named another version, or the criteria meet several resources",
        Issue("conflict", "There is a newer version; read it first"),
    ),
    413: ("A body over its limit", Issue("too-long", "The body is larger than this server takes")),
    415: (
        "A body in a format that is not read here",
        Issue("not-supported", "Send the body as application/fhir+json"),
    ),
    416: ("No such range of bytes", Issue("value", "The content ends before this range begins")),
    422: (
        "Valid FHIR that a rule of the bridge refuses",
        Issue("not-found", "The Encounter of this Media is not known here", "Media.encounter"),
    ),
    429: ("Too many requests", Issue("throttled", "Try again later")),
    500: ("A fault of the bridge", Issue("exception", "The bridge failed; tell its operator the request id")),
    503: ("The database does not take the request", Issue("transient", "Nothing was kept; try again")),
    507: ("The disk is nearly full", Issue("no-store", "Nothing was kept; the operator must make room")),
}
_WITH_RETRY: Final = (429, 503)

_VISIT: Final[Json] = {"system": "urn:example:visits", "value": "VISIT-1"}


def _silence() -> str:
    """Give ten milliseconds of silence as a whole WAV file in base64, small enough for an example."""
    samples = b"\x80" * 80
    head = pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 116, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", 80)
    return b64encode(head + samples).decode()


def _encounter() -> Json:
    return {
        "resourceType": "Encounter",
        "identifier": [dict(_VISIT)],
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    }


def _media(encounter: Json) -> Json:
    return {
        "resourceType": "Media",
        "status": "in-progress",
        "encounter": encounter,
        "content": {"contentType": "audio/wav", "language": "en", "data": _silence()},
    }


def _transaction() -> Json:
    visit, recording = (f"urn:uuid:6f1c2d1e-0000-4000-8000-00000000000{n}" for n in (1, 2))
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": visit, "resource": _encounter(), "request": {"method": "POST", "url": "Encounter"}},
            {
                "fullUrl": recording,
                "resource": _media({"reference": visit}),
                "request": {"method": "POST", "url": "Media"},
            },
        ],
    }


# Made of identifiers and silence alone; sent one after the other they are accepted.
EXAMPLES: Final[dict[str, Json]] = {
    "Encounter": _encounter(),
    "Media": _media({"type": "Encounter", "identifier": dict(_VISIT)}),
    "Bundle": _transaction(),
}


def schema(type_: str) -> Json:
    """Describe the top level of a resource type: its elements, which are required, and closed codes."""
    found = shape(type_)
    if found is None:
        raise LookupError(f"{type_} is no resource type of R4")
    properties: Json = {"resourceType": {"const": type_}}
    either: list[JsonValue] = ["object", "array"]
    properties |= {name: _element(element) for name, element in found.elements.items() if name != "resourceType"}
    required: list[JsonValue] = ["resourceType", *(element.name for element in found.required)]
    return {
        "type": "object",
        "description": f"http://hl7.org/fhir/R4/{type_.lower()}.html",
        "required": required,
        "properties": properties,
        "patternProperties": {"^_[a-z]": {"type": either}},
        "additionalProperties": False,
    }


def _element(element: Element) -> Json:
    one = _value(element)
    return {"type": "array", "minItems": 1, "items": one} if element.many else one


def _value(element: Element) -> Json:
    if not element.primitive:
        return {"type": "object", "title": element.type, "minProperties": 1}
    if element.codes:
        return {"enum": [*sorted(element.codes)]}
    if element.name == "id":
        return {"type": "string", "pattern": _ID}
    type_ = _JSON_TYPES.get(element.type, "string")
    return {"type": type_, "minLength": 1} if type_ == "string" else {"type": type_}


def an(type_: str) -> str:
    """Put the article before the name of a type."""
    return f"{'an' if type_[0] in 'AEIO' else 'a'} {type_}"


def error_name(status: int) -> str:
    """Name the component that describes an error status, such as NotFound."""
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def error_response(status: int) -> Json:
    """Describe an error: always an OperationOutcome."""
    text, issue = ERRORS[status]
    described = content(FHIR_JSON, reference("OperationOutcome"), example=outcome([issue]))
    headers: Json = {}
    if status in {401, 403}:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}, "description": "RFC 6750 challenge"}
    if status in _WITH_RETRY:
        headers["Retry-After"] = {"schema": {"type": "string"}, "description": "Seconds until a repeat makes sense"}
    return {"description": text, **({"headers": headers} if headers else {}), "content": described}


def reference(name: str) -> Json:
    """Refer to a schema of this document."""
    return {"$ref": f"#/components/schemas/{name}"}


def content(mime: str, schema_: Json, *, example: Json | None = None) -> Json:
    """Describe a body of one MIME type."""
    body: Json = {"schema": schema_}
    if example is not None:
        body["example"] = example
    return {mime: body}


def answer(text: str, type_: str, *, headers: Json | None = None) -> Json:
    """Describe an answer with a resource of one type; `headers` are those of a version unless told."""
    told = HEADERS if headers is None else headers
    return {"description": text, **({"headers": told} if told else {}), "content": fhir_body(type_)}


def written(text: str, type_: str) -> Json:
    """Describe an answer to a write: the resource, or what Prefer wants in its place (http.html#ops)."""
    either: Json = {"anyOf": [reference(type_), reference("OperationOutcome")]}
    bodies = fhir_body(type_) | content(FHIR_JSON, either, example=EXAMPLES.get(type_))
    return {"description": text, "headers": {**HEADERS, **LOCATION}, "content": bodies}


def fhir_body(type_: str) -> Json:
    """Describe a body with a resource of one type, with its example when there is one."""
    bodies = content(FHIR_JSON, reference(type_), example=EXAMPLES.get(type_))
    return bodies | content("*/*", {"description": "The stored bytes"}) if type_ == "Binary" else bodies


def responses(success: dict[int, Json], errors: tuple[int, ...]) -> Json:
    """Describe what a route answers: its own answers, and errors that are described once."""
    failures: Json = {str(code): {"$ref": f"#/components/responses/{error_name(code)}"} for code in sorted(errors)}
    return {**{str(code): described for code, described in success.items()}, **failures}


def parameters(*names: str) -> list[JsonValue]:
    """Refer to parameters that are described once."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


PARAMETERS: Final[Json] = {
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": _ID},
        "description": "The resource's id",
    },
    "vid": {
        "name": "vid",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": _ID},
        "description": "The version's meta.versionId",
    },
    "ifNoneExist": {
        "name": "If-None-Exist",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Search criteria; when a resource meets them it is answered instead of a new one",
    },
    "ifNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The version the client has; 304 when it still is the current one",
    },
    "ifModifiedSince": {
        "name": "If-Modified-Since",
        "in": "header",
        "schema": {"type": "string"},
        "description": "When the client read it; 304 when it was not written since. If-None-Match goes first",
    },
    "ifMatch": {
        "name": "If-Match",
        "in": "header",
        "schema": {"type": "string", "pattern": r'^W/"[A-Za-z0-9\-.]{1,64}"$'},
        "description": 'The version this update is based on, such as W/"1"; another current one answers 412',
    },
    "ifNothing": {
        "name": "If-None-Match",
        "in": "header",
        "schema": {"const": "*"},
        "description": "Only create: 412 when the resource is there",
    },
    "prefer": {
        "name": "Prefer",
        "in": "header",
        "schema": {"enum": ["return=representation", "return=minimal", "return=OperationOutcome"]},
        "description": "What the answer's body shall be",
    },
    "handling": {
        "name": "Prefer",
        "in": "header",
        "schema": {"enum": ["handling=lenient", "handling=strict"]},
        "description": "Whether an unknown search parameter is left out with a warning or refused",
    },
}

HEADERS: Final[Json] = {
    "ETag": {"schema": {"type": "string"}, "description": 'The version, as W/"1"'},
    "Last-Modified": {"schema": {"type": "string"}, "description": "meta.lastUpdated as an HTTP date"},
}
LOCATION: Final[Json] = {"Location": {"schema": {"type": "string"}, "description": "URL of the version that was made"}}
