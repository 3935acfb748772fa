"""Operations: $everything and $explain."""

from __future__ import annotations

from flask import Blueprint, Response

from fhir_bridge.api import parse, respond
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.verbs.everything import encounter_everything
from fhir_bridge.verbs.explain import explain as explain_encounter
from fhir_bridge.verbs.intake import Intake

routes = Blueprint("operations", __name__, url_prefix="/fhir")


@routes.get("/Encounter/<id_>/$everything")
def everything(id_: str) -> Response:
    """All that belongs to an Encounter."""
    return respond.body(encounter_everything(bridge(), grant(), id_))


@routes.post("/Encounter/$explain")
def explain() -> Response:
    """The dry run of an Encounter."""
    who = grant()
    with Intake(bridge(), who.tenant) as intake:
        json = parse.body(intake, "Encounter", limit=bridge().settings.max_json_bytes)
    return respond.body(write(explain_encounter(bridge(), who, json)))
