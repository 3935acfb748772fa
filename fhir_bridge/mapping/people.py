"""Patients and practitioners in Corti's words: identifier, name, pronouns, and the terms their names add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.corti.messages import CortiPatient
from fhir_bridge.errors import NotMapped
from fhir_bridge.fhir.resource.models import Patient, Practitioner
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.tables import GENDERS, IDENTIFIER_USES, NAME_USES, PARTICIPATION, PRONOUNS
from fhir_bridge.mapping.times import text_of_time
from fhir_bridge.mapping.words import one_line, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fhir_bridge.corti.messages import Gender
    from fhir_bridge.fhir.resource.models import (
        CodeableConcept,
        Encounter,
        HumanName,
        Identifier,
        Media,
        Model,
        Reference,
    )
    from fhir_bridge.mapping.mapped import Notes


def preferred(identifiers: Sequence[Identifier] | None) -> Identifier | None:
    """Choose the official identifier, else the usual one, else the first that has a value."""
    valued = [one for one in identifiers or () if said(one.value)]
    chosen = (one for use in IDENTIFIER_USES for one in valued if one.use == use)
    return next(chosen, valued[0] if valued else None)


def words_of(concept: CodeableConcept | None) -> str | None:
    """Return what a concept says to a reader: its text, else its first display."""
    if concept is None:
        return None
    return said(concept.text) or next((shown for one in concept.coding or () if (shown := said(one.display))), None)


def contained_in(resource: Encounter | Media, reference: Reference | None) -> Model | None:
    """Return the contained resource a reference points at."""
    wanted = reference.reference if reference else None
    return next((one for one in resource.contained or () if f"#{one.id}" == wanted), None)


def _literal(reference: Reference | None) -> str | None:
    """Return a reference that means something outside its resource."""
    text = said(reference.reference) if reference else None
    return None if text is None or text.startswith("#") else text


# --- the patient -----------------------------------------------------------------------------


def patient_of(encounter: Encounter, patient: Patient | None, notes: Notes) -> CortiPatient | None:
    """Describe the patient from the Patient resource, a contained one, or the reference alone."""
    subject = encounter.subject
    contained = contained_in(encounter, subject)
    _refuse_group(subject, contained)
    resource = patient or (contained if isinstance(contained, Patient) else None)
    identifier = _patient_identifier(resource, subject, notes)
    if identifier is None:
        return None
    display = said(subject.display) if subject else None
    if resource is None:
        notes.rule("Encounter.subject.display", "name as displayed; there is no Patient resource", display or "none")
        return CortiPatient(identifier, name=display)
    name = full_name(resource.name) or display
    notes.rule("Patient.name", "official name, else usual, else by the table of uses", name or "none")
    return CortiPatient(
        identifier,
        name=name,
        gender=_gender(resource, notes),
        birth_date=_birth_date(resource, notes),
        pronouns=_pronouns(resource, notes),
    )


def _refuse_group(subject: Reference | None, contained: Model | None) -> None:
    types = {*(subject.reference or "").split("/")[-2:-1], subject.type} if subject else set()
    if "Group" in types or (contained is not None and contained.get_resource_type() == "Group"):
        raise NotMapped("Corti has one patient per interaction and no word for a Group", at="Encounter.subject")


def _patient_identifier(patient: Patient | None, subject: Reference | None, notes: Notes) -> str | None:
    """Name the patient; without a name for it Corti takes no patient at all (corti-api 2)."""
    if patient is not None and (own := preferred(patient.identifier)):
        return _ruled(notes, "Patient.identifier", "official, else usual, else first", one_line(own.value or ""))
    if subject is not None and subject.identifier and (value := said(subject.identifier.value)):
        return _ruled(notes, "Encounter.subject.identifier", "identifier of the reference", value)
    if literal := _literal(subject):
        return _ruled(notes, "Encounter.subject.reference", "the reference itself", literal)
    if patient is not None and patient.id:
        return _ruled(notes, "Patient.id", "no identifier: the resource's own reference", f"Patient/{patient.id}")
    if patient is not None or subject is not None:
        text = "The patient is not sent: Corti needs an identifier; give Patient.identifier or subject.identifier"
        notes.warn(text, at="Encounter.subject", code="incomplete")
    return None


def _ruled(notes: Notes, element: str, rule: str, result: str) -> str:
    notes.rule(element, rule, result)
    return result


def _gender(patient: Patient, notes: Notes) -> Gender | None:
    if patient.gender is None:
        return None
    row = GENDERS.get(patient.gender)
    if row is None:
        raise NotMapped("Corti knows the genders male, female, other and unknown", at="Patient.gender")
    notes.rule("Patient.gender", "same code", row.corti)
    return row.corti


def _birth_date(patient: Patient, notes: Notes) -> str | None:
    """Give a whole date only: a day of birth is never made up."""
    if patient.birthDate is None:
        return None
    text = text_of_time(patient.birthDate)
    if isinstance(patient.birthDate, str):
        notes.warn("The birth date is not sent: Corti needs year, month and day", at="Patient.birthDate")
        return None
    notes.rule("Patient.birthDate", "same date", text)
    return text


def _pronouns(patient: Patient, notes: Notes) -> str | None:
    """Read the extension individual-pronouns; pronouns are never concluded from a gender."""
    for extension in patient.extension or ():
        if extension.url != systems.PRONOUNS_EXTENSION:
            continue
        concepts = [extension.valueCodeableConcept]
        concepts += [part.valueCodeableConcept for part in extension.extension or () if part.url == "value"]
        for concept in concepts:
            if concept is not None and (pronouns := _pronouns_in(concept)):
                notes.rule("Patient.extension(individual-pronouns)", "text, else table, else display", pronouns)
                return pronouns
        notes.warn("The pronouns are not sent: the extension holds no text", at="Patient.extension")
    return None


def _pronouns_in(concept: CodeableConcept) -> str | None:
    codes = [(one.system, one.code or "") for one in concept.coding or ()]
    known = (PRONOUNS[code].display for system, code in codes if system == systems.LOINC and code in PRONOUNS)
    return said(concept.text) or next(known, None) or words_of(concept)


# --- names -------------------------------------------------------------------------------------


def full_name(names: Sequence[HumanName] | None) -> str | None:
    """Choose one name by its use and write it out as text."""
    by_use = (name for use in NAME_USES for name in names or () if name.use == use)
    return next((text for name in by_use if (text := _text_of_name(name))), None)


def _text_of_name(name: HumanName) -> str | None:
    parts = (*(name.prefix or ()), *(name.given or ()), name.family, *(name.suffix or ()))
    return said(name.text) or said(" ".join(part for part in parts if part))


def name_terms(names: Iterable[HumanName]) -> Iterator[str]:
    """Give each part of each name as a term a recogniser should know."""
    for name in names:
        parts = [*(name.given or ()), name.family]
        if not any(parts):
            parts = (name.text or "").split()
        yield from (part for part in parts if part)


# --- the clinician -----------------------------------------------------------------------------


def assigned_user(encounter: Encounter, practitioner: Practitioner | None, notes: Notes, tenant: str) -> str | None:
    """Name the clinician by a UUID made from tenant and identifier or reference; the same one every time.

    Corti wants a UUID (corti-api 2) and an EHR's practitioners rarely have one. Tenants may
    share Corti credentials: `Practitioner/1` of one is not that of another.
    """
    individual = responsible(encounter)
    contained = contained_in(encounter, individual)
    resource = practitioner or (contained if isinstance(contained, Practitioner) else None)
    named = preferred(resource.identifier) if resource else None
    named = named or (individual.identifier if individual else None)
    if named is not None and said(named.value):
        user = systems.uuid5_of("user", tenant, named.system or "", one_line(named.value or ""))
        return _ruled(notes, "Practitioner.identifier", "UUID made from tenant, system and value", user)
    if literal := _literal(individual) or (resource and resource.id and f"Practitioner/{resource.id}"):
        user = systems.uuid5_of("user", tenant, "", literal)
        return _ruled(notes, "Encounter.participant.individual", "UUID made from tenant and reference", user)
    if individual is not None:
        text = "No clinician is sent: the participant has neither identifier nor reference"
        notes.warn(text, at="Encounter.participant.individual", code="incomplete")
    return None


def responsible(encounter: Encounter) -> Reference | None:
    """Choose the clinician in charge: who performs, else attends, else the first; no relatives."""
    present = [
        (concept_codes(one.type), one.individual)
        for one in encounter.participant or ()
        if one.individual and not _is_relative(one.individual)
    ]
    ranked = (who for row in PARTICIPATION for codes, who in present if (row.system, row.code) in codes)
    return next(ranked, present[0][1] if present else None)


def _is_relative(reference: Reference) -> bool:
    return reference.type == "RelatedPerson" or "RelatedPerson/" in (reference.reference or "")


def concept_codes(concepts: Sequence[CodeableConcept] | None) -> set[tuple[str | None, str | None]]:
    """Return all (system, code) of some concepts."""
    return {(coding.system, coding.code) for one in concepts or () for coding in one.coding or ()}
