"""An Encounter as a Corti interaction (issue section 3, rulings 1, 4 and 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.corti.messages import CortiEncounter, EncounterPeriod, InteractionDraft
from fhir_bridge.errors import NotMapped
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.mapped import Mapped, Notes
from fhir_bridge.mapping.people import assigned_user, concept_codes, patient_of, preferred, words_of
from fhir_bridge.mapping.tables import CAN_BE_FIRST, ENCOUNTER_CLASS, ENCOUNTER_STATUS, FIRST_CONSULTATION
from fhir_bridge.mapping.times import Moment, moment_of, rfc3339, zone_of
from fhir_bridge.mapping.words import code_of, one_line

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import Literal

    from fhir_bridge.corti.messages import EncounterStatus, EncounterType
    from fhir_bridge.fhir.resource.models import Encounter, Patient, Practitioner
    from fhir_bridge.mapping.tables import StatusRow
    from fhir_bridge.mapping.times import FhirTime

SUFFIX = "~"


def corti_identifier(encounter: Encounter) -> str:
    """Return the readable value of what Corti will know the Encounter by (ruling 4: the caller adds `~` and digits).

    Raises:
        NotMapped: the Encounter has neither an identifier nor an id.
    """
    if own := preferred(encounter.identifier):
        return one_line(own.value or "")
    if encounter.id is None:
        raise NotMapped("Corti needs an identifier: give Encounter.identifier or an id", at="Encounter.identifier")
    return encounter.id


def takes_recordings(encounter: Encounter) -> bool:
    """Tell whether an interaction is created and Media are accepted (rulings 1 and 2)."""
    return _status_row(encounter).records


def interaction_from_encounter(
    encounter: Encounter,
    patient: Patient | None = None,
    practitioner: Practitioner | None = None,
    *,
    identifier: str,
    tenant: str,
) -> Mapped[InteractionDraft]:
    """Map an Encounter to the body of create; the same tree patches the interaction after PUT or PATCH.

    `practitioner` is the resource of the clinician in charge (`people.responsible`), where there is one.

    Raises:
        NotMapped: Corti has no word for an element, which is named.
    """
    notes = Notes()
    notes.rule("Encounter.identifier", "official, else usual, else first, else id; made unique", identifier)
    status = _status(encounter, notes)
    corti = CortiEncounter(
        identifier,
        status=status,
        type=_type(encounter, notes),
        period=_period(encounter, notes, open_ended=status != "completed"),
        title=_title(encounter, notes),
    )
    person = patient_of(encounter, patient, notes)
    return notes.mapped(InteractionDraft(corti, person, assigned_user(encounter, practitioner, notes, tenant)))


def _status_row(encounter: Encounter) -> StatusRow:
    row = ENCOUNTER_STATUS.get(encounter.status or "")
    if row is None:
        raise NotMapped("Corti has no word for this status; use one of Encounter.status in R4", at="Encounter.status")
    return row


def _status(encounter: Encounter, notes: Notes) -> EncounterStatus:
    row = _status_row(encounter)
    notes.rule("Encounter.status", f"table of statuses: {row.code}", row.corti)
    return row.corti


def _type(encounter: Encounter, notes: Notes) -> EncounterType:
    by_class = _type_of_class(encounter, notes)
    found = concept_codes(encounter.type)
    first = next((row for row in FIRST_CONSULTATION if (row.system, row.code) in found), None)
    if first is None or by_class not in CAN_BE_FIRST:
        return by_class
    notes.rule("Encounter.type", f"table of first consultations: {first.code}", "first_consultation")
    return "first_consultation"


def _type_of_class(encounter: Encounter, notes: Notes) -> EncounterType:
    coding = encounter.class_fhir
    row = ENCOUNTER_CLASS.get(coding.code or "") if coding.system in {None, systems.ACT_CODE} else None
    if row is None:
        text = "Corti has no encounter type for this class; sent as consultation. Use a code of v3-ActCode"
        notes.warn(text, at="Encounter.class", code="code-invalid")
        notes.rule("Encounter.class", "not in the table of classes", "consultation")
        return "consultation"
    if coding.system is None:
        notes.warn("The class names no system; read as v3-ActCode", at="Encounter.class.system", code="incomplete")
    notes.rule("Encounter.class", f"table of classes: {row.code}", row.corti)
    return row.corti


def _title(encounter: Encounter, notes: Notes) -> str | None:
    for element, concepts in (
        ("Encounter.type", encounter.type),
        ("Encounter.serviceType", [encounter.serviceType]),
        ("Encounter.reasonCode", encounter.reasonCode),
    ):
        for concept in concepts or ():
            if (words := words_of(concept)) and (title := code_of(words)):
                notes.rule(element, "title: the first text or display of type, serviceType, reasonCode", title)
                return title
    return None


# --- the period --------------------------------------------------------------------------------


def _period(encounter: Encounter, notes: Notes, *, open_ended: bool) -> EncounterPeriod | None:
    period = encounter.period
    if period is None or (period.start is None and period.end is None):
        return None
    if period.start is None:
        text = "The period is not sent: Corti needs its start"
        notes.warn(text, at="Encounter.period.start", code="incomplete")
        return None
    start = _instant(period.start, "start", zone_of(period.end), notes)
    end = None if open_ended or period.end is None else _instant(period.end, "end", zone_of(period.start), notes)
    if period.end is not None and open_ended:
        notes.rule("Encounter.period.end", "sent only when the Encounter is finished", "not sent")
    if end is not None and end.at < start.at:
        notes.warn("The end is not sent: it lies before the start", at="Encounter.period.end", code="value")
        end = None
    return EncounterPeriod(rfc3339(start.at), rfc3339(end.at) if end else None)


def _instant(value: FhirTime, edge: Literal["start", "end"], zone: tzinfo, notes: Notes) -> Moment:
    element = f"Encounter.period.{edge}"
    moment = moment_of(value, edge, zone)
    if moment is None:
        raise NotMapped("Corti takes instants of the years 1 to 9999 in UTC", at=element)
    if moment.partial:
        which = "first" if edge == "start" else "last"
        text = f"A date without time: its {which} second is sent, in the zone of the other end or UTC"
        notes.warn(text, at=element, code="incomplete")
        notes.rule(element, f"partial date: {which} second in the zone of the other end, else UTC", rfc3339(moment.at))
    else:
        notes.rule(element, "the same instant in UTC", rfc3339(moment.at))
    return moment
