"""Encounter/$explain: what Corti would be told, and by which rules. Nothing is stored or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import Encounter, Patient, Practitioner, model_of
from fhir_bridge.mapping.explain import explanation_of_encounter
from fhir_bridge.mapping.people import responsible
from fhir_bridge.verbs.case import Case
from fhir_bridge.verbs.policy import allowed

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.models import Model
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.bridge import Bridge


def explain(bridge: Bridge, grant: Grant, json: Json) -> Json:
    """Answer with Parameters: the exact payload, each rule with its element and result, and warnings.

    Raises:
        Invalid: no valid Encounter. NotMapped: what creating it would be refused with.
    """
    allowed(grant, ("Encounter",), "c")
    sent = json if json.get("id") else {**json, "id": "dry-run"}
    model = model_of(checked(sent, of="Encounter"))
    assert isinstance(model, Encounter)  # noqa: S101 - checked says so
    case = Case(bridge, grant, sent, "POST")
    patient = _named(case, "Patient", model.subject.reference if model.subject else None)
    doctor = responsible(model)
    practitioner = _named(case, "Practitioner", doctor.reference if doctor else None)
    return explanation_of_encounter(
        model,
        patient if isinstance(patient, Patient) else None,
        practitioner if isinstance(practitioner, Practitioner) else None,
        tenant=grant.tenant,
    )


def _named(case: Case, type_: str, reference: str | None) -> Model | None:
    """What a reference names, if it is here and the Grant may read it; the mapping works without it too."""
    if not case.grant.scopes_for(type_, "r"):
        return None
    json = case.referenced(reference, allowed(case.grant, (type_,), "r"))
    return model_of(json) if json is not None else None
