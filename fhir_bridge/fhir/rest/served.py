"""The one list of what is served: routes, scopes, search, statements and documents follow it.

Search parameters and their elements are those of FHIR R4 (http://hl7.org/fhir/R4/searchparameter-registry.html).
Every parameter has a number that names it in the key table. A number is never changed
and never used again: stored keys mean what they meant when they were written.
"""

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
    date,
    reference,
    string,
    token,
)

__all__ = [
    "ANY",
    "BY_TYPE",
    "COMMON",
    "ENCOUNTER_COMPARTMENT",
    "HIGHEST_NUMBER",
    "IDENTIFIER",
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
_HL7 = "http://hl7.org/fhir/"
_NAME_PARTS = ("name.family", "name.given", "name.text", "name.prefix", "name.suffix")
_SUBJECTS = ("Patient", "Practitioner", "PractitionerRole", "Group", "Device", "Specimen", "Location")
_PARTICIPANTS = ("Practitioner", "PractitionerRole", "RelatedPerson")
_AUTHORS = ("Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson")
_SOURCES = ("DocumentReference", "ImagingStudy", "Media", "QuestionnaireResponse", "Observation", "MolecularSequence")

SERVED: Final = (
    Served(
        "Encounter",
        _WRITTEN,
        (
            token(100, "identifier", "identifier"),
            token(101, "status", "status", system=_HL7 + "encounter-status"),
            token(102, "class", "class"),
            token(103, "type", "type"),
            date(104, "date", "period"),
            reference(105, "patient", "subject", "Patient"),
            reference(106, "subject", "subject", "Patient", "Group"),
            reference(107, "participant", "participant.individual", *_PARTICIPANTS),
            Param(108, "length", "quantity", ("length",)),
        ),
        patient=("subject",),
    ),
    Served(
        "Patient",
        _WRITTEN,
        (
            token(200, "identifier", "identifier"),
            string(201, "name", *_NAME_PARTS),
            string(202, "family", "name.family"),
            string(203, "given", "name.given"),
            date(204, "birthdate", "birthDate"),
            token(205, "gender", "gender", system=_HL7 + "administrative-gender"),
        ),
        patient=("link.other",),
    ),
    Served(
        "Practitioner",
        _WRITTEN,
        (
            token(300, "identifier", "identifier"),
            string(301, "name", *_NAME_PARTS),
            string(302, "family", "name.family"),
            string(303, "given", "name.given"),
        ),
    ),
    Served(
        "Organization",
        _WRITTEN,
        (token(400, "identifier", "identifier"), string(401, "name", "name", "alias")),
    ),
    Served(
        "Media",
        _WRITTEN,
        (
            token(500, "identifier", "identifier"),
            token(501, "status", "status", system=_HL7 + "event-status"),
            token(502, "type", "type"),
            reference(503, "patient", "subject", "Patient"),
            reference(504, "subject", "subject", *_SUBJECTS),
            reference(505, "encounter", "encounter", "Encounter"),
            date(506, "created", "createdDateTime", "createdPeriod"),
        ),
        patient=("subject",),
        encounter=("encounter",),
    ),
    Served("Binary", ("create", "read", "update", "delete", *_HISTORY)),
    Served(
        "Observation",
        _WRITTEN,
        (
            token(600, "code", "code"),
            token(601, "category", "category"),
            token(602, "status", "status", system=_HL7 + "observation-status"),
            date(
                603,
                "date",
                "effectiveDateTime",
                "effectivePeriod",
                "effectiveInstant",
                "effectiveTiming.event",
                "effectiveTiming.repeat.boundsPeriod",
            ),
            reference(604, "patient", "subject", "Patient"),
            reference(605, "subject", "subject", "Patient", "Group", "Device", "Location"),
            reference(606, "encounter", "encounter", "Encounter"),
            reference(607, "derived-from", "derivedFrom", *_SOURCES),
            token(608, "identifier", "identifier"),
        ),
        patient=("subject", "performer"),
        encounter=("encounter",),
    ),
    Served(
        "DocumentReference",
        _WRITTEN,
        (
            token(700, "identifier", "identifier", "masterIdentifier"),
            token(701, "status", "status", system=_HL7 + "document-reference-status"),
            token(702, "type", "type"),
            token(703, "category", "category"),
            reference(704, "patient", "subject", "Patient"),
            reference(705, "subject", "subject", "Patient", "Practitioner", "Group", "Device"),
            date(706, "date", "date"),
            reference(707, "encounter", "context.encounter", "Encounter"),
            reference(708, "author", "author", *_AUTHORS),
            date(709, "period", "context.period"),
            reference(710, "related", "context.related"),
        ),
        patient=("subject", "author"),
        encounter=("context.encounter",),
    ),
    Served(
        "Task",
        _WRITTEN,
        (
            token(800, "status", "status", system=_HL7 + "task-status"),
            token(801, "code", "code"),
            reference(802, "focus", "focus"),
            reference(803, "subject", "for"),
            reference(804, "patient", "for", "Patient"),
            reference(805, "encounter", "encounter", "Encounter"),
            token(806, "identifier", "identifier"),
            date(807, "authored-on", "authoredOn"),
            date(808, "modified", "lastModified"),
        ),
        patient=("for", "focus"),
        encounter=("encounter",),
    ),
    Served(
        "Provenance",
        _WRITTEN,
        (
            reference(900, "target", "target"),
            date(901, "recorded", "recorded"),
            reference(902, "agent", "agent.who", *_AUTHORS),
        ),
        patient=("target",),
    ),
    Served(
        "Device",
        _WRITTEN,
        (
            token(1000, "identifier", "identifier"),
            token(1001, "type", "type"),
            string(1002, "device-name", "deviceName.name", "type.coding.display", "type.text"),
        ),
    ),
    Served(
        "Composition",
        _WRITTEN,
        (
            token(1100, "identifier", "identifier"),
            token(1101, "status", "status", system=_HL7 + "composition-status"),
            token(1102, "type", "type"),
            token(1103, "category", "category"),
            date(1104, "date", "date"),
            reference(1105, "patient", "subject", "Patient"),
            reference(1106, "subject", "subject"),
            reference(1107, "encounter", "encounter", "Encounter"),
            reference(1108, "author", "author", *_AUTHORS),
            string(1109, "title", "title"),
        ),
        patient=("subject", "author", "attester.party"),
        encounter=("encounter",),
    ),
    Served(
        "AuditEvent",
        ("read", "search-type"),
        (
            token(1200, "action", "action", system=_HL7 + "audit-event-action"),
            date(1201, "date", "recorded"),
            reference(1202, "agent", "agent.who", *_AUTHORS),
            reference(1203, "patient", "entity.what", "Patient"),
            reference(1204, "entity", "entity.what"),
            token(1205, "outcome", "outcome", system="http://terminology.hl7.org/CodeSystem/audit-event-outcome"),
            token(1206, "subtype", "subtype"),
            token(1207, "type", "type"),
            reference(1208, "source", "source.observer", *_AUTHORS),
            string(1209, "address", "agent.network.address"),
        ),
        apart=True,
    ),
)

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
