"""The one list of what is served: routes, scopes, search, statements and documents follow it."""

from __future__ import annotations

from typing import Final

from fhir_bridge.fhir.rest.offer import (
    ANY,
    COMMON,
    ENCOUNTER_COMPARTMENT,
    HIGHEST_NUMBER,
    IDENTIFIER,
    OF_TYPE,
    PATIENT_COMPARTMENT,
    TEXT,
    Interaction,
    Param,
    ParamType,
    Served,
    SystemInteraction,
)
from fhir_bridge.fhir.rest.parameters import (
    COMPOSITION,
    DEVICE,
    DOCUMENT_REFERENCE,
    ENCOUNTER,
    MEDIA,
    OBSERVATION,
    ORGANIZATION,
    PATIENT,
    PRACTITIONER,
    TASK,
)
from fhir_bridge.fhir.rest.parameters_records import AUDIT_EVENT, PROVENANCE

__all__ = [
    "ANY",
    "BY_TYPE",
    "COMMON",
    "ENCOUNTER_COMPARTMENT",
    "HIGHEST_NUMBER",
    "IDENTIFIER",
    "NOT_SERVED",
    "OF_TYPE",
    "PATIENT_COMPARTMENT",
    "SERVED",
    "SYSTEM",
    "TEXT",
    "Interaction",
    "Param",
    "ParamType",
    "Served",
    "SystemInteraction",
    "offers",
    "served",
    "targets_of",
]

_HISTORY: Final[tuple[Interaction, ...]] = ("vread", "history-instance", "history-type")
_WRITTEN: Final[tuple[Interaction, ...]] = ("create", "read", "update", "patch", "delete", "search-type", *_HISTORY)

SERVED: Final = (
    Served("Encounter", _WRITTEN, ENCOUNTER, patient=("subject",)),
    Served("Patient", _WRITTEN, PATIENT, patient=("link.other",)),
    Served("Practitioner", _WRITTEN, PRACTITIONER),
    Served("Organization", _WRITTEN, ORGANIZATION),
    Served("Media", _WRITTEN, MEDIA, patient=("subject",), encounter=("encounter",)),
    Served("Binary", ("create", "read", "update", "delete", *_HISTORY)),
    Served("Observation", _WRITTEN, OBSERVATION, patient=("subject", "performer"), encounter=("encounter",)),
    Served(
        "DocumentReference",
        _WRITTEN,
        DOCUMENT_REFERENCE,
        patient=("subject", "author"),
        encounter=("context.encounter",),
    ),
    Served("Task", _WRITTEN, TASK, patient=("for", "focus"), encounter=("encounter",)),
    Served("Provenance", _WRITTEN, PROVENANCE, patient=("target",)),
    Served("Device", _WRITTEN, DEVICE),
    Served(
        "Composition", _WRITTEN, COMPOSITION, patient=("subject", "author", "attester.party"), encounter=("encounter",)
    ),
    Served("AuditEvent", ("read", "search-type"), AUDIT_EVENT, apart=True),
)

# Parameters that FHIR gives every type and that are not served, with the reason.
NOT_SERVED: Final = {
    "_text": "words are not indexed; string parameters and their :contains find text",
    "_content": "words are not indexed; string parameters and their :contains find text",
    "_list": "List is not served",
    "_filter": "parameters, their modifiers, commas, chains and _has say what is wanted",
    "_query": "there are no named queries",
    "_contained": "contained resources are found with the resource that holds them",
    "_containedType": "contained resources are found with the resource that holds them",
}

SYSTEM: Final[tuple[SystemInteraction, ...]] = ("transaction", "batch", "search-system", "history-system")

BY_TYPE: Final = {row.type: row for row in SERVED}


def served(type_: str) -> Served | None:
    """Find what is served of the resource type `type_`."""
    return BY_TYPE.get(type_)


def offers(type_: str, interaction: Interaction) -> bool:
    """Tell whether `interaction` is served for `type_`."""
    row = BY_TYPE.get(type_)
    return row is not None and interaction in row.interactions


def targets_of(param: Param) -> tuple[str, ...]:
    """List the types a reference parameter may point at; all served ones when FHIR says any."""
    return param.targets or tuple(name for name, row in BY_TYPE.items() if not row.apart)
