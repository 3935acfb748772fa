"""The dry run: what would be sent to Corti, and by which rules (issue section 3, `$explain`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fhir_bridge.fhir.rest.outcome import outcome
from fhir_bridge.mapping.encounter import SUFFIX, corti_identifier, interaction_from_encounter, takes_recordings
from fhir_bridge.mapping.words import clean

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import InteractionDraft, StreamConfig
    from fhir_bridge.errors import Issue
    from fhir_bridge.fhir.resource.models import Encounter, Patient, Practitioner
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.mapping.mapped import Mapped, Rule

# Eight digits are drawn when the interaction is intended (ruling 4); a dry run draws none.
_DIGITS = "0" * 8
_ID_TO_BE = "id-to-be"


def explanation_of_encounter(
    encounter: Encounter,
    patient: Patient | None = None,
    practitioner: Practitioner | None = None,
    *,
    tenant: str,
    config: Mapped[StreamConfig] | None = None,
) -> Json:
    """Answer with Parameters: the exact payloads, each rule with its element and result, and warnings.

    Only the eight digits of the identifier, and the id of an Encounter that has none, are stand-ins.

    Raises:
        NotMapped: what the Encounter itself would be refused with.
    """
    named = encounter if encounter.id else encounter.model_copy(update={"id": _ID_TO_BE})
    identifier = f"{corti_identifier(named)}{SUFFIX}{_DIGITS}"
    mapped = interaction_from_encounter(encounter, patient, practitioner, identifier=identifier, tenant=tenant)
    parts = [_boolean("sent", value=takes_recordings(encounter)), *_mapping("interaction", mapped)]
    warnings = mapped.warnings
    if config is not None:
        parts += _mapping("stream", config)
        warnings += config.warnings
    if warnings:
        parts.append(_outcome(warnings))
    return {"resourceType": "Parameters", "parameter": parts}


def _mapping(name: str, mapped: Mapped[InteractionDraft] | Mapped[StreamConfig]) -> list[JsonValue]:
    payload = json.dumps(mapped.value.to_json(), ensure_ascii=False)
    return [{"name": name, "valueString": clean(payload)}, *(_rule(name, rule) for rule in mapped.rules)]


def _rule(of: str, rule: Rule) -> JsonValue:
    said = (("of", of), ("element", rule.element), ("rule", rule.rule), ("result", rule.result))
    return {"name": "rule", "part": [{"name": name, "valueString": text} for name, text in said]}


def _boolean(name: str, *, value: bool) -> JsonValue:
    return {"name": name, "valueBoolean": value}


def _outcome(warnings: tuple[Issue, ...]) -> JsonValue:
    return {"name": "warnings", "resource": outcome(warnings)}
