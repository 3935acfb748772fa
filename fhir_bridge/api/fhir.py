"""The FHIR routes: one view for each interaction, for every type that served.py offers it for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, g, request

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with, preference, require_fhir_body, require_plain_encoding
from fhir_bridge.errors import BadParameter, MethodNotAllowed, NoSuchRoute
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest import capability as statement
from fhir_bridge.fhir.rest.openapi import scopes
from fhir_bridge.fhir.rest.served import BY_TYPE, offers
from fhir_bridge.smart.discovery import smart_configuration
from fhir_bridge.verbs.conditional import pairs_of
from fhir_bridge.verbs.everything import encounter_everything
from fhir_bridge.verbs.explain import explain as explain_encounter
from fhir_bridge.verbs.intake import Intake
from fhir_bridge.verbs.read import read as read_row
from fhir_bridge.verbs.search import page as search_page
from fhir_bridge.verbs.search import search as search_rows
from fhir_bridge.verbs.transaction import Transaction
from fhir_bridge.verbs.write import Writer
from fhir_bridge.verbs.write import create as create_row
from fhir_bridge.verbs.write import update as update_row
from fhir_bridge.verbs.write import update_matching as update_matching_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.served import Interaction
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.conditional import Pairs
    from fhir_bridge.verbs.write import Written

routes = Blueprint("fhir", __name__, url_prefix="/fhir")

CHUNK: Final = 64 * 1024
# The methods that a path of a type, and one of an instance, may have.
_METHODS: Final[tuple[dict[Interaction, str], ...]] = (
    {"search-type": "GET", "create": "POST"},
    {"read": "GET", "update": "PUT"},
)
_RENDERING: Final = frozenset({"_format", "_pretty"})


@routes.get("/metadata")
def metadata() -> Response:
    """The CapabilityStatement (no token)."""
    text = write(statement.capability(bridge().base, token_url=f"{bridge().origin}/oauth/token"))
    tag = statement.etag(text)
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status=304, headers={"ETag": tag})
    return respond.body(text, headers={"ETag": tag})


@routes.get("/.well-known/smart-configuration")
def discovery() -> Response:
    """What a SMART client needs to know first (no token)."""
    found = smart_configuration(bridge().origin, tuple(scopes()))
    return respond.plain(found, headers={"Access-Control-Allow-Origin": "*"})


@routes.post("/")
def transaction() -> Response:
    """A transaction Bundle."""
    who = grant()
    with Intake(bridge(), who.tenant) as intake:
        json = _body(intake, "Bundle", limit=bridge().settings.max_transaction_bytes)
        text, keeps = Transaction(bridge(), who, intake.blobs, g.request_id).run(json)
        if keeps:
            intake.keep()
    return respond.body(text)


@routes.get("/<type_>")
def search(type_: str) -> Response:
    """Search by GET."""
    return _search(type_, list(request.args.items(multi=True)))


@routes.post("/<type_>/_search")
def search_by_post(type_: str) -> Response:
    """Search by POST: what was asked stays out of URLs and logs."""
    require_plain_encoding()
    return _search(type_, [*request.args.items(multi=True), *request.form.items(multi=True)])


@routes.get("/_page/<sealed>")
def page(sealed: str) -> Response:
    """A further page of a search."""
    return respond.body(search_page(bridge(), grant(), sealed))


@routes.post("/<type_>")
def create(type_: str) -> Response:
    """Create a resource, unless one meets If-None-Exist or the criteria in the URL."""
    who = grant()
    _require(type_, "create")
    with Intake(bridge(), who.tenant) as intake:
        json = _body(intake, type_, limit=bridge().settings.max_json_bytes)
        return stored(intake, create_row(writer(who, intake), json, unless=unless()))


@routes.get("/<type_>/<id_>")
def read(type_: str, id_: str) -> Response:
    """Read the current version; 304 when the client has it."""
    who = grant()
    _require(type_, "read")
    answered_with()
    row = read_row(bridge(), who, type_, id_)
    if f'W/"{row.vid}"' in request.headers.get("If-None-Match", ""):
        return Response(status=304, headers=respond.versioned(row))
    return respond.row(row, base=bridge().base)


@routes.put("/<type_>/<id_>")
def update(type_: str, id_: str) -> Response:
    """Update a resource, or create it under the EHR's own id."""
    who = grant()
    _require(type_, "update")
    with Intake(bridge(), who.tenant) as intake:
        json = _body(intake, type_, limit=bridge().settings.max_json_bytes)
        return stored(intake, update_row(writer(who, intake), id_, json, expect=expected_version()))


@routes.put("/<type_>")
def update_matching(type_: str) -> Response:
    """Update the one resource that meets the criteria in the URL, or create it."""
    who = grant()
    _require(type_, "update")
    with Intake(bridge(), who.tenant) as intake:
        json = _body(intake, type_, limit=bridge().settings.max_json_bytes)
        written = update_matching_row(writer(who, intake), json, criteria(), expect=expected_version())
        return stored(intake, written)


@routes.get("/Encounter/<id_>/$everything")
def everything(id_: str) -> Response:
    """All that belongs to an Encounter."""
    return respond.body(encounter_everything(bridge(), grant(), id_))


@routes.post("/Encounter/$explain")
def explain() -> Response:
    """The dry run of an Encounter."""
    who = grant()
    with Intake(bridge(), who.tenant) as intake:
        json = _body(intake, "Encounter", limit=bridge().settings.max_json_bytes)
    return respond.body(write(explain_encounter(bridge(), who, json)))


def writer(who: Grant, intake: Intake) -> Writer:
    """Return who writes in this request."""
    return Writer(bridge(), who, intake.blobs, g.request_id)


def stored(intake: Intake, written: Written) -> Response:
    """Keep the audio of what was written, and answer with it."""
    if written.keeps_audio:
        intake.keep()
    return respond.row(written.row, base=bridge().base, status=201 if written.is_new else 200, hints=written.hints)


def criteria() -> Pairs:
    """Return the criteria in the URL of a conditional interaction."""
    return tuple((name, value) for name, value in request.args.items(multi=True) if name not in _RENDERING)


def unless() -> Pairs:
    """Return the condition of a create: If-None-Exist, or fhirpy's form, criteria in the URL."""
    return (*pairs_of(request.headers.get("If-None-Exist", "")), *criteria())


def expected_version() -> int | None:
    """Return the version that If-Match names (http.html#concurrency)."""
    tag = request.headers.get("If-Match")
    if tag is None:
        return None
    version = tag.strip().removeprefix("W/").strip('"')
    if not version.isascii() or not version.isdigit():
        raise BadParameter('If-Match names a version, such as W/"3"')
    return int(version)


def stream() -> Iterator[bytes]:
    """Yield the request's body as it arrives."""
    while chunk := request.stream.read(CHUNK):
        yield chunk


def _search(type_: str, pairs: list[tuple[str, str]]) -> Response:
    who = grant()
    _require(type_, "search-type")
    strict = preference("handling") == "strict"
    return respond.body(search_rows(bridge(), who, type_, pairs, strict=strict))


def _body(intake: Intake, type_: str, *, limit: int) -> Json:
    require_fhir_body()
    return intake.json(stream(), limit=limit, of=type_)


def _require(type_: str, interaction: Interaction) -> None:
    if type_ not in BY_TYPE:
        raise NoSuchRoute("This resource type is not served here: see /fhir/metadata")
    if not offers(type_, interaction):
        beside = next(level for level in _METHODS if interaction in level)
        allow = tuple(method for each, method in beside.items() if offers(type_, each))
        raise MethodNotAllowed(f"{type_} has no {interaction} here: see /fhir/metadata", allow=allow)
