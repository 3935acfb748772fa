"""What FHIR says and Corti's word for it: one row a code, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.mapping import systems

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import EncounterStatus, EncounterType, Gender

_STATUS_PAGE: Final = "http://hl7.org/fhir/R4/valueset-encounter-status.html"
_CLASS_PAGE: Final = "http://hl7.org/fhir/R4/v3/ActEncounterCode/vs.html"


@dataclass(frozen=True)
class StatusRow:
    """An R4 Encounter.status; `records` tells whether recordings are taken for it (rulings 1 and 2)."""

    code: str
    corti: EncounterStatus
    source: str
    records: bool = True


@dataclass(frozen=True)
class ClassRow:
    """An R4 Encounter.class from v3-ActCode."""

    code: str
    display: str
    corti: EncounterType
    source: str


@dataclass(frozen=True)
class CodeRow:
    """A code that means one thing to the bridge."""

    system: str
    code: str
    display: str
    source: str


@dataclass(frozen=True)
class GenderRow:
    """An administrative gender; Corti has the same four words."""

    code: str
    corti: Gender
    source: str


@dataclass(frozen=True)
class LanguageRow:
    """A language tag and the one Corti knows it by."""

    tag: str
    corti: str
    source: str


# Ruling 13.
ENCOUNTER_STATUS: Final = {
    row.code: row
    for row in (
        StatusRow("planned", "planned", _STATUS_PAGE),
        StatusRow("arrived", "in-progress", _STATUS_PAGE),
        StatusRow("triaged", "in-progress", _STATUS_PAGE),
        StatusRow("in-progress", "in-progress", _STATUS_PAGE),
        StatusRow("onleave", "on-hold", _STATUS_PAGE),
        StatusRow("finished", "completed", _STATUS_PAGE),
        StatusRow("cancelled", "cancelled", _STATUS_PAGE, records=False),
        StatusRow("entered-in-error", "deleted", _STATUS_PAGE, records=False),
        StatusRow("unknown", "planned", _STATUS_PAGE),
    )
}

# Ruling 13. A code outside this table is a consultation with a warning: the binding is extensible.
ENCOUNTER_CLASS: Final = {
    row.code: row
    for row in (
        ClassRow("AMB", "ambulatory", "outpatient", _CLASS_PAGE),
        ClassRow("EMER", "emergency", "emergency", _CLASS_PAGE),
        ClassRow("IMP", "inpatient encounter", "inpatient", _CLASS_PAGE),
        ClassRow("ACUTE", "inpatient acute", "inpatient", _CLASS_PAGE),
        ClassRow("NONAC", "inpatient non-acute", "inpatient", _CLASS_PAGE),
        ClassRow("OBSENC", "observation encounter", "inpatient", _CLASS_PAGE),
        ClassRow("SS", "short stay", "consultation", _CLASS_PAGE),
        ClassRow("PRENC", "pre-admission", "consultation", _CLASS_PAGE),
        ClassRow("VR", "virtual", "consultation", _CLASS_PAGE),
        ClassRow("HH", "home health", "consultation", _CLASS_PAGE),
        ClassRow("FLD", "field", "consultation", _CLASS_PAGE),
    )
}

# Codings of Encounter.type that make an outpatient visit or a consultation a first one.
# An emergency and an inpatient stay keep their type: Corti has one word only.
_CPT_PAGE: Final = "https://www.ama-assn.org/go/cpt"
FIRST_CONSULTATION: Final = (
    CodeRow(systems.SNOMED, "185387006", "New patient consultation", "http://snomed.info/id/185387006"),
    CodeRow(systems.CPT, "99202", "New patient office visit, straightforward", _CPT_PAGE),
    CodeRow(systems.CPT, "99203", "New patient office visit, low complexity", _CPT_PAGE),
    CodeRow(systems.CPT, "99204", "New patient office visit, moderate complexity", _CPT_PAGE),
    CodeRow(systems.CPT, "99205", "New patient office visit, high complexity", _CPT_PAGE),
)
CAN_BE_FIRST: Final[frozenset[EncounterType]] = frozenset({"outpatient", "consultation"})

# Who Corti's assigned user is: the first participant with one of these types, in this order.
_PARTICIPATION_PAGE: Final = "http://hl7.org/fhir/R4/v3/ParticipationType/cs.html"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PARTICIPATION: Final = (
    CodeRow(_PARTICIPATION, "PPRF", "primary performer", _PARTICIPATION_PAGE),
    CodeRow(_PARTICIPATION, "ATND", "attender", _PARTICIPATION_PAGE),
    CodeRow(_PARTICIPATION, "SPRF", "secondary performer", _PARTICIPATION_PAGE),
    CodeRow(_PARTICIPATION, "CON", "consultant", _PARTICIPATION_PAGE),
)

# Which of several identifiers or names is meant, best first. None is "no use given".
IDENTIFIER_USES: Final[tuple[str | None, ...]] = ("official", "usual")
NAME_USES: Final[tuple[str | None, ...]] = ("official", "usual", None, "temp", "nickname", "anonymous", "maiden", "old")

_GENDER_PAGE: Final = "http://hl7.org/fhir/R4/valueset-administrative-gender.html"
GENDERS: Final = {
    row.code: row
    for row in (
        GenderRow("male", "male", _GENDER_PAGE),
        GenderRow("female", "female", _GENDER_PAGE),
        GenderRow("other", "other", _GENDER_PAGE),
        GenderRow("unknown", "unknown", _GENDER_PAGE),
    )
}

_PRONOUNS_PAGE: Final = "https://terminology.hl7.org/ValueSet-pronouns.html"
PRONOUNS: Final = {
    row.code: row
    for row in (
        CodeRow(systems.LOINC, "LA29518-0", "he/him", _PRONOUNS_PAGE),
        CodeRow(systems.LOINC, "LA29519-8", "she/her", _PRONOUNS_PAGE),
        CodeRow(systems.LOINC, "LA29520-6", "they/them", _PRONOUNS_PAGE),
    )
}

# Corti's documented languages; what is not here is sent as it is, with a warning (ruling 16).
_LANGUAGE_PAGE: Final = "https://github.com/corticph/corti-examples"
_REGISTRY: Final = "https://www.iana.org/assignments/language-subtag-registry"
LANGUAGES: Final = {
    row.tag: row
    for row in (
        *(
            LanguageRow(tag, tag, _LANGUAGE_PAGE)
            for tag in "ar da de de-CH en en-GB en-US es fr gsw-CH hu it nl no pt sv".split()  # noqa: SIM905 - one row a word
        ),
        LanguageRow("nb", "no", _REGISTRY),
        LanguageRow("nn", "no", _REGISTRY),
        LanguageRow("gsw", "gsw-CH", _REGISTRY),
    )
}
