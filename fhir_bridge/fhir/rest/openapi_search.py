"""The routes of searches in the OpenAPI document: of a type, of the whole system and of compartments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest.openapi_interactions import ALWAYS, UNCHANGED, begun, criteria, query
from fhir_bridge.fhir.rest.openapi_parts import FHIR_JSON, content, parameters, reference, responses
from fhir_bridge.fhir.rest.served import COMMON, Served

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.rest.openapi_interactions import Routes

_OPTIONS: Final = {
    "_count": "Matches per page",
    "_sort": "Parameters to order by, - before a name for descending",
    "_total": "none, estimate or accurate",
    "_summary": "true, text, data, count or false",
    "_elements": "Top-level elements to answer with",
    "_include": "Also what the matches refer to: Type:parameter",
    "_revinclude": "Also what refers to the matches: Type:parameter",
}
_PAGE: Final = query("_page", "A further page, as its link names it; all else is in the link")
_FORM: Final = "application/x-www-form-urlencoded"
_FOUND: Final[Json] = {"description": "A searchset Bundle", "content": content(FHIR_JSON, reference("Bundle"))}


def search_routes(rows: Iterable[Served]) -> Routes:
    """Describe how each type, the system and the compartments are searched."""
    searched = [row for row in rows if "search-type" in row.interactions]
    routes = _both("/fhir", _of_all("System"), _common())
    for row in searched:
        begin = begun(row, "search", "s", f"Search {row.type}")
        routes += _both(f"/fhir/{row.type}", begin, [*criteria(row), _PAGE], errors=(410,))
    for name in ("Patient", "Encounter"):
        members = [row for row in searched if (row.patient if name == "Patient" else row.encounter) or row.type == name]
        routes += _both(f"/fhir/{name}/{{id}}/*", _of_all(name), _common(), path="id") if members else []
        for row in members:
            begin = begun(row, f"search{name}", "s", f"Search {row.type} within what belongs to one {name}")
            routes += _both(f"/fhir/{name}/{{id}}/{row.type}", begin, criteria(row), path="id")
    return routes


def _of_all(of: str) -> dict[str, JsonValue]:
    where = "all types" if of == "System" else f"all types within what belongs to one {of}"
    return {
        "operationId": f"searchAllOf{of}",
        "tags": [of],
        "summary": f"Search {where}, of those that the token may search",
        "security": [{"smart": ["system/*.cruds"]}, {"bearer": []}],
    }


def _common() -> list[JsonValue]:
    """Describe what all types can be searched by."""
    every = [query(param.name, f"{param.type}: every resource has it") for param in COMMON]
    return [*every, query("_type", "Only these types, separated by commas")]


def _both(
    path_: str, begin: dict[str, JsonValue], asked: list[JsonValue], *, path: str = "", errors: tuple[int, ...] = ()
) -> Routes:
    """Describe a search by GET, and by POST with its parameters in the body."""
    within = parameters(path) if path else []
    options = [query(name, text) for name, text in _OPTIONS.items()]
    get: Json = {
        **begin,
        "parameters": [*within, *asked, *options, *parameters("handling", "ifNoneMatch")],
        "responses": responses({200: _FOUND, 304: UNCHANGED}, (*ALWAYS, 404, *errors)),
    }
    names = [str(each["name"]) for each in asked if isinstance(each, dict)]
    fields: Json = {name: {"type": "string"} for name in names if name != "_page"}
    form: Json = {"type": "object", "properties": fields, "additionalProperties": {"type": "string"}}
    post: Json = {
        **begin,
        "operationId": f"{begin['operationId']}ByForm",
        "summary": f"{begin['summary']}; the parameters are in the body",
        "parameters": [*within, *parameters("handling")],
        "requestBody": {"content": content(_FORM, form)},
        "responses": responses({200: _FOUND}, (*ALWAYS, 404, 413, 415)),
    }
    return [(path_, "get", get), (f"{path_}/_search", "post", post)]
