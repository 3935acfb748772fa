"""The one list of what is served: routes, scopes, search, statements and documents follow it.

Search parameters and their elements are those of FHIR R4 (http://hl7.org/fhir/R4/searchparameter-registry.html).
Every parameter has a number that names it in the key table. A number is never changed
and never used again: stored keys mean what they meant when they were written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Interaction = Literal[
    "create",
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "search-type",
    "history-instance",
    "history-type",
]
SystemInteraction = Literal["transaction", "batch", "search-system", "history-system"]
ParamType = Literal["token", "reference", "date", "string", "uri", "quantity"]

# A parameter writes further keys for some modifiers under its own number plus one of these,
# so numbers of parameters stay below 2,767 and everything fits a SMALLINT.
TEXT: Final = 10_000  # token:text, and string:exact
OF_TYPE: Final = 20_000  # identifier:of-type
IDENTIFIER: Final = 30_000  # reference:identifier
HIGHEST_NUMBER: Final = 2_766

# Compartments are keys too (http://hl7.org/fhir/R4/compartmentdefinition.html).
PATIENT_COMPARTMENT: Final = 1
ENCOUNTER_COMPARTMENT: Final = 2

ANY: Final = ()  # a reference parameter without targets may point at every served type


@dataclass(frozen=True)
class Param:
    """One search parameter: its key number and the elements it looks at.

    A path names elements from the resource root, without its type. `targets` are the
    types a reference may point at: others at the same path are not indexed. `system` is
    the code system of an element of type `code`. A parameter without paths is answered
    by the store itself.
    """

    number: int
    name: str
    type: ParamType
    paths: tuple[str, ...]
    targets: tuple[str, ...] = ANY
    system: str | None = None


@dataclass(frozen=True)
class Operation:
    """One operation beyond the RESTful interactions."""

    name: str
    level: Literal["system", "type", "instance"]
    method: Literal["get", "post"]
    definition: str
    doc: str


@dataclass(frozen=True)
class Served:
    """One resource type and all that can be done with it."""

    type: str
    interactions: tuple[Interaction, ...]
    params: tuple[Param, ...] = ()
    patient: tuple[str, ...] = ()  # elements that put it into a Patient compartment
    encounter: tuple[str, ...] = ()  # elements that put it into an Encounter compartment
    operations: tuple[Operation, ...] = ()

    def param(self, name: str) -> Param | None:
        """Find the search parameter `name`, common ones included; None for a type without search."""
        if "search-type" not in self.interactions:
            return None
        return next((param for param in (*self.params, *COMMON) if param.name == name), None)


def _token(number: int, name: str, *paths: str, system: str | None = None) -> Param:
    return Param(number, name, "token", paths, system=system)


def _date(number: int, name: str, *paths: str) -> Param:
    return Param(number, name, "date", paths)


def _string(number: int, name: str, *paths: str) -> Param:
    return Param(number, name, "string", paths)


def _reference(number: int, name: str, path: str, *targets: str) -> Param:
    return Param(number, name, "reference", (path,), targets=targets)


COMMON: Final = (
    Param(3, "_id", "token", ()),
    Param(4, "_lastUpdated", "date", ()),
    _token(5, "_tag", "meta.tag"),
    _token(6, "_security", "meta.security"),
    Param(7, "_profile", "uri", ("meta.profile",)),
)

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
            _token(100, "identifier", "identifier"),
            _token(101, "status", "status", system=_HL7 + "encounter-status"),
            _token(102, "class", "class"),
            _token(103, "type", "type"),
            _date(104, "date", "period"),
            _reference(105, "patient", "subject", "Patient"),
            _reference(106, "subject", "subject", "Patient", "Group"),
            _reference(107, "participant", "participant.individual", *_PARTICIPANTS),
            Param(108, "length", "quantity", ("length",)),
        ),
        patient=("subject",),
        operations=(
            Operation(
                "explain",
                "type",
                "post",
                "urn:x-fhir-bridge:operation:encounter-explain",
                "What Corti would be told about this Encounter, and by which rules. Stores and sends nothing.",
            ),
            Operation(
                "everything",
                "instance",
                "get",
                "http://hl7.org/fhir/OperationDefinition/Encounter-everything",
                "The Encounter with its Media, Tasks, results and their Provenance as one searchset.",
            ),
        ),
    ),
    Served(
        "Patient",
        _WRITTEN,
        (
            _token(200, "identifier", "identifier"),
            _string(201, "name", *_NAME_PARTS),
            _string(202, "family", "name.family"),
            _string(203, "given", "name.given"),
            _date(204, "birthdate", "birthDate"),
            _token(205, "gender", "gender", system=_HL7 + "administrative-gender"),
        ),
        patient=("link.other",),
    ),
    Served(
        "Practitioner",
        _WRITTEN,
        (
            _token(300, "identifier", "identifier"),
            _string(301, "name", *_NAME_PARTS),
            _string(302, "family", "name.family"),
            _string(303, "given", "name.given"),
        ),
    ),
    Served(
        "Organization",
        _WRITTEN,
        (_token(400, "identifier", "identifier"), _string(401, "name", "name", "alias")),
    ),
    Served(
        "Media",
        _WRITTEN,
        (
            _token(500, "identifier", "identifier"),
            _token(501, "status", "status", system=_HL7 + "event-status"),
            _token(502, "type", "type"),
            _reference(503, "patient", "subject", "Patient"),
            _reference(504, "subject", "subject", *_SUBJECTS),
            _reference(505, "encounter", "encounter", "Encounter"),
            _date(506, "created", "createdDateTime", "createdPeriod"),
        ),
        patient=("subject",),
        encounter=("encounter",),
    ),
    Served("Binary", ("create", "read", "update", "delete", *_HISTORY)),
    Served(
        "Observation",
        _WRITTEN,
        (
            _token(600, "code", "code"),
            _token(601, "category", "category"),
            _token(602, "status", "status", system=_HL7 + "observation-status"),
            _date(
                603,
                "date",
                "effectiveDateTime",
                "effectivePeriod",
                "effectiveInstant",
                "effectiveTiming.event",
                "effectiveTiming.repeat.boundsPeriod",
            ),
            _reference(604, "patient", "subject", "Patient"),
            _reference(605, "subject", "subject", "Patient", "Group", "Device", "Location"),
            _reference(606, "encounter", "encounter", "Encounter"),
            _reference(607, "derived-from", "derivedFrom", *_SOURCES),
            _token(608, "identifier", "identifier"),
        ),
        patient=("subject", "performer"),
        encounter=("encounter",),
    ),
    Served(
        "DocumentReference",
        _WRITTEN,
        (
            _token(700, "identifier", "identifier", "masterIdentifier"),
            _token(701, "status", "status", system=_HL7 + "document-reference-status"),
            _token(702, "type", "type"),
            _token(703, "category", "category"),
            _reference(704, "patient", "subject", "Patient"),
            _reference(705, "subject", "subject", "Patient", "Practitioner", "Group", "Device"),
            _date(706, "date", "date"),
            _reference(707, "encounter", "context.encounter", "Encounter"),
            _reference(708, "author", "author", *_AUTHORS),
            _date(709, "period", "context.period"),
            _reference(710, "related", "context.related"),
        ),
        patient=("subject", "author"),
        encounter=("context.encounter",),
    ),
    Served(
        "Task",
        _WRITTEN,
        (
            _token(800, "status", "status", system=_HL7 + "task-status"),
            _token(801, "code", "code"),
            _reference(802, "focus", "focus"),
            _reference(803, "subject", "for"),
            _reference(804, "patient", "for", "Patient"),
            _reference(805, "encounter", "encounter", "Encounter"),
            _token(806, "identifier", "identifier"),
            _date(807, "authored-on", "authoredOn"),
            _date(808, "modified", "lastModified"),
        ),
        patient=("for", "focus"),
        encounter=("encounter",),
    ),
    Served(
        "Provenance",
        _WRITTEN,
        (
            _reference(900, "target", "target"),
            _date(901, "recorded", "recorded"),
            _reference(902, "agent", "agent.who", *_AUTHORS),
        ),
        patient=("target",),
    ),
    Served(
        "Device",
        _WRITTEN,
        (
            _token(1000, "identifier", "identifier"),
            _token(1001, "type", "type"),
            _string(1002, "device-name", "deviceName.name", "type.coding.display", "type.text"),
        ),
    ),
    # 1100 and up are kept for Composition, 1200 and up for AuditEvent.
)

SYSTEM: Final[tuple[SystemInteraction, ...]] = ("transaction", "history-system")

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
    return param.targets or tuple(BY_TYPE)
