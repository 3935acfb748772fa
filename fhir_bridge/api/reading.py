"""Reading: one resource, one version, what happened, and searches, for every type that served.py offers them for."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, request

from fhir_bridge.api import parse, respond
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with, preference, require_plain_encoding
from fhir_bridge.verbs import paging
from fhir_bridge.verbs.everything import page as everything_page
from fhir_bridge.verbs.history import history as history_of
from fhir_bridge.verbs.history import page as history_page
from fhir_bridge.verbs.history import vread as vread_row
from fhir_bridge.verbs.read import read as read_row
from fhir_bridge.verbs.search import page as search_page
from fhir_bridge.verbs.search import search as search_rows

routes = Blueprint("reading", __name__, url_prefix="/fhir")

LARGEST_FORM: Final = 256 * 1024  # forms are read whole, and before the token is
_FURTHER: Final = {"search": search_page, "history": history_page, "everything": everything_page}


@routes.get("/<type_>/<id_>")
def read(type_: str, id_: str) -> Response:
    """Read the current version; 304 when the client has it."""
    who = grant()
    parse.require(type_, "read")
    answered_with()
    row = read_row(bridge(), who, type_, id_)
    if f'W/"{row.vid}"' in request.headers.get("If-None-Match", ""):
        return Response(status=304, headers=respond.versioned(row))
    return respond.row(row, base=bridge().base)


@routes.get("/<type_>/<id_>/_history/<vid>")
def vread(type_: str, id_: str, vid: str) -> Response:
    """Read one version."""
    who = grant()
    parse.require(type_, "vread")
    return respond.row(vread_row(bridge(), who, type_, id_, vid=vid), base=bridge().base)


@routes.get("/<type_>/<id_>/_history")
def history_instance(type_: str, id_: str) -> Response:
    """What happened to one resource."""
    who = grant()
    parse.require(type_, "history-instance")
    return respond.body(history_of(bridge(), who, f"{type_}/{id_}", request.args.items(multi=True)))


@routes.get("/<type_>/_history")
def history_type(type_: str) -> Response:
    """What happened to the resources of a type."""
    who = grant()
    parse.require(type_, "history-type")
    return respond.body(history_of(bridge(), who, type_, request.args.items(multi=True)))


@routes.get("/_history")
def history_system() -> Response:
    """What happened."""
    return respond.body(history_of(bridge(), grant(), "", request.args.items(multi=True)))


@routes.get("/<type_>")
def search(type_: str) -> Response:
    """Search by GET, or a further page of such a search."""
    if "_page" in request.args:
        return page(request.args["_page"])
    return _search(type_, list(request.args.items(multi=True)))


@routes.post("/<type_>/_search")
def search_by_post(type_: str) -> Response:
    """Search by POST: what was asked stays out of URLs and logs."""
    require_plain_encoding()
    request.max_content_length = LARGEST_FORM
    return _search(type_, [*request.args.items(multi=True), *request.form.items(multi=True)])


@routes.get("/_page/<sealed>")
def page(sealed: str) -> Response:
    """A further page of a search."""
    who = grant()
    place = paging.opened(bridge(), who, sealed)
    return respond.body(_FURTHER[place.of](bridge(), who, place))


def _search(type_: str, pairs: list[tuple[str, str]]) -> Response:
    who = grant()
    parse.require(type_, "search-type")
    strict = preference("handling") == "strict"
    return respond.body(search_rows(bridge(), who, type_, pairs, strict=strict))
