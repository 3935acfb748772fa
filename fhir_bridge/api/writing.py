"""Writing: create, update, patch and delete, by id or by condition, and Bundles of these."""

from __future__ import annotations

from flask import Blueprint, Response, g

from fhir_bridge.api import later, parse, respond
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with
from fhir_bridge.verbs.bundles.run import run as run_bundle
from fhir_bridge.verbs.delete import delete as delete_row
from fhir_bridge.verbs.delete import delete_matching as delete_matching_row
from fhir_bridge.verbs.intake import Intake
from fhir_bridge.verbs.patch import patch as patch_row
from fhir_bridge.verbs.patch import patch_matching as patch_matching_row
from fhir_bridge.verbs.write import Writer
from fhir_bridge.verbs.write import create as create_row
from fhir_bridge.verbs.write import update as update_row
from fhir_bridge.verbs.write import update_matching as update_matching_row

routes = Blueprint("writing", __name__, url_prefix="/fhir")


@routes.post("/<type_>")
@later.awaited
def create(type_: str) -> Response:
    """Create a resource, unless one meets If-None-Exist or the criteria in the URL."""
    who = grant()
    parse.require(type_, "create")
    parse.require_room(who, type_)
    with Intake(bridge(), who.tenant) as intake:
        json = parse.body(intake, type_, limit=bridge().settings.max_json_bytes, who=who)
        return parse.stored(intake, create_row(parse.writer(who, intake), json, unless=parse.unless()))


@routes.put("/<type_>/<id_>")
@later.awaited
def update(type_: str, id_: str) -> Response:
    """Update a resource, or create it under the EHR's own id."""
    who = grant()
    parse.require(type_, "update")
    with Intake(bridge(), who.tenant) as intake:
        json = parse.body(intake, type_, limit=bridge().settings.max_json_bytes, who=who)
        return parse.stored(intake, update_row(parse.writer(who, intake), id_, json, expect=parse.expected_version()))


@routes.put("/<type_>")
def update_matching(type_: str) -> Response:
    """Update the one resource that meets the criteria in the URL, or create it."""
    who = grant()
    parse.require(type_, "update")
    with Intake(bridge(), who.tenant) as intake:
        json = parse.body(intake, type_, limit=bridge().settings.max_json_bytes, who=who)
        written = update_matching_row(
            parse.writer(who, intake), json, parse.criteria(), expect=parse.expected_version()
        )
        return parse.stored(intake, written)


@routes.patch("/<type_>/<id_>")
def patch(type_: str, id_: str) -> Response:
    """Change a resource by JSON Patch or FHIRPath Patch."""
    who = grant()
    parse.require(type_, "patch")
    with Intake(bridge(), who.tenant) as intake:
        change = parse.change(intake)
        return parse.stored(
            intake, patch_row(parse.writer(who, intake), type_, id_, change, expect=parse.expected_version())
        )


@routes.patch("/<type_>")
def patch_matching(type_: str) -> Response:
    """Change the one resource that meets the criteria in the URL."""
    who = grant()
    parse.require(type_, "patch")
    with Intake(bridge(), who.tenant) as intake:
        change = parse.change(intake)
        by, expect = parse.writer(who, intake), parse.expected_version()
        return parse.stored(intake, patch_matching_row(by, type_, parse.criteria(), change, expect=expect))


@routes.delete("/<type_>/<id_>")
def delete(type_: str, id_: str) -> Response:
    """Delete a resource."""
    who = grant()
    parse.require(type_, "delete")
    delete_row(Writer(bridge(), who, {}, g.request_id), type_, id_, expect=parse.expected_version())
    return respond.deleted()


@routes.delete("/<type_>")
def delete_matching(type_: str) -> Response:
    """Delete the one resource that meets the criteria in the URL."""
    who = grant()
    parse.require(type_, "delete")
    by = Writer(bridge(), who, {}, g.request_id)
    delete_matching_row(by, type_, parse.criteria(), expect=parse.expected_version())
    return respond.deleted()


@routes.post("")
@later.awaited
def bundle() -> Response:
    """A batch or transaction Bundle."""
    who = grant()
    answered_with()
    with Intake(bridge(), who.tenant) as intake:
        json = parse.body(intake, "Bundle", limit=bridge().settings.max_transaction_bytes, who=who)
        text = run_bundle(parse.writer(who, intake), json, returns=respond.returns(), keep=intake.keep)
    return respond.body(text)
