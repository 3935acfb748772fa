"""Searching: types, compartments and the whole system, by GET and by POST, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, request

from fhir_bridge.api import later, parse, unchanged
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with, preference, require_plain_encoding
from fhir_bridge.errors import UnsupportedMediaType
from fhir_bridge.verbs import paging
from fhir_bridge.verbs.everything import page as everything_page
from fhir_bridge.verbs.history import page as history_page
from fhir_bridge.verbs.search import page as search_page
from fhir_bridge.verbs.search import search as search_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import JsonValue

routes = Blueprint("searching", __name__, url_prefix="/fhir")

LARGEST_FORM: Final = 256 * 1024  # forms are read whole
_FORM: Final = "application/x-www-form-urlencoded"
_FURTHER: Final = {"search": search_page, "history": history_page, "everything": everything_page}
Pairs = list[tuple[str, str]]


@routes.get("")
def system() -> Response:
    """Search several types."""
    return _search("", _query)


@routes.post("/_search")
def system_by_post() -> Response:
    """Search several types with the parameters in the body."""
    return _search("", _form)


@routes.get("/<type_>")
def search(type_: str) -> Response:
    """Search by GET, or a further page of such a search."""
    if "_page" in request.args:
        return page(request.args["_page"])
    return _search(type_, _query)


@routes.post("/<type_>/_search")
def search_by_post(type_: str) -> Response:
    """Search by POST: what was asked stays out of URLs and logs."""
    return _search(type_, _form)


@routes.get("/<type_>/<id_>/<member_type>")
def compartment(type_: str, id_: str, member_type: str) -> Response:
    """Search one type, or with * all, within what belongs to a Patient or an Encounter."""
    return _search(f"{type_}/{id_}/{member_type}", _query)


@routes.post("/<type_>/<id_>/<member_type>/_search")
def compartment_by_post(type_: str, id_: str, member_type: str) -> Response:
    """Search within a compartment with the parameters in the body."""
    return _search(f"{type_}/{id_}/{member_type}", _form)


@routes.get("/_page/<string:sealed>")
def page(sealed: str) -> Response:
    """A further page of a search."""
    who = grant()
    place = paging.opened(bridge(), who, sealed)
    return unchanged.bundle(_FURTHER[place.of](bridge(), who, place))


def _query() -> Pairs:
    return list(request.args.items(multi=True))


def _form() -> Pairs:
    """Read the parameters of the body and of the URL.

    Raises:
        UnsupportedMediaType: a body of another kind: ignored, it would find everything.
    """
    require_plain_encoding()
    request.max_content_length = LARGEST_FORM
    if request.mimetype not in {_FORM, ""} or (not request.mimetype and request.content_length):
        raise UnsupportedMediaType(f"Send the parameters of a search as {_FORM}")
    return [*_query(), *request.form.items(multi=True)]


def _search(path: str, asked: Callable[[], Pairs]) -> Response:
    """Search; who asks is settled before what is asked is read."""
    who = grant()
    answered_with()
    if path and "/" not in path:
        parse.require(path, "search-type")
    strict = preference("handling") == "strict"
    if later.wanted():
        pairs: list[JsonValue] = [[name, value] for name, value in asked()]
        return later.accepted(who, "search", {"path": path, "pairs": pairs, "strict": strict})
    return unchanged.bundle(search_rows(bridge(), who, path, asked(), strict=strict))
