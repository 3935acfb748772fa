"""Reading: one resource, one version, and what happened, for every type that served.py offers them for."""

from __future__ import annotations

from flask import Blueprint, Response, request

from fhir_bridge.api import parse, respond, unchanged
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with
from fhir_bridge.verbs.history import history as history_of
from fhir_bridge.verbs.history import vread as vread_row
from fhir_bridge.verbs.part import part_of
from fhir_bridge.verbs.read import read as read_row

routes = Blueprint("reading", __name__, url_prefix="/fhir")


@routes.get("/<type_>/<id_>")
def read(type_: str, id_: str) -> Response:
    """Read the current version, or the part of it that _summary or _elements name; 304 when the client has it."""
    who = grant()
    parse.require(type_, "read")
    row = part_of(read_row(bridge(), who, type_, id_), request.args.items(multi=True))
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
    return unchanged.bundle(history_of(bridge(), who, f"{type_}/{id_}", request.args.items(multi=True)))


@routes.get("/<type_>/_history")
def history_type(type_: str) -> Response:
    """What happened to the resources of a type."""
    who = grant()
    parse.require(type_, "history-type")
    return unchanged.bundle(history_of(bridge(), who, type_, request.args.items(multi=True)))


@routes.get("/_history")
def history_system() -> Response:
    """What happened."""
    who = grant()
    answered_with()
    return unchanged.bundle(history_of(bridge(), who, "", request.args.items(multi=True)))
