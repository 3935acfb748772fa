from __future__ import annotations

from uuid import UUID

import pytest
from mapping_examples import ACT, LOINC, encounter, example, patient, practitioner

from fhir_bridge.errors import NotMapped
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.mapping.encounter import corti_identifier, interaction_from_encounter, takes_recordings

SNOMED = "http://snomed.info/sct"


def mapped(of=None, *others, **changes):
    return interaction_from_encounter(of or encounter(**changes), *others, identifier="VN-1~00c0ffee", tenant="default")


def body(*args, **changes):
    return mapped(*args, **changes).value.to_json()


def warned(result):
    return [(one.at, one.code) for one in result.warnings]


def test_a_whole_encounter_becomes_corti_s_words():
    result = mapped(
        model_of(example("encounter-ambulatory")), model_of(example("patient")), model_of(example("practitioner"))
    )

    sent = result.value.to_json()
    UUID(sent.pop("assignedUserId"))
    assert sent == {
        "encounter": {
            "identifier": "VN-1~00c0ffee",
            "status": "in-progress",
            "type": "outpatient",
            "period": {"startedAt": "2026-04-17T07:03:00Z"},
            "title": "Check-up",
        },
        "patient": {
            "identifier": "MRN-55017",
            "name": "Anna Maria Berg",
            "gender": "female",
            "birthDate": "1974-12-25",
        },
    }
    assert result.warnings == ()
    assert {rule.element for rule in result.rules} >= {"Encounter.status", "Encounter.class", "Patient.identifier"}


# --- identifier --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifiers", "value"),
    [
        ([{"value": "a"}, {"use": "usual", "value": "b"}, {"use": "official", "value": "c"}], "c"),
        ([{"value": "a"}, {"use": "usual", "value": "b"}], "b"),
        ([{"system": "urn:x"}, {"value": " a  1 "}, {"use": "secondary", "value": "b"}], "a 1"),
        ([{"use": "official", "value": " "}], "e1"),
        (None, "e1"),
    ],
)
def test_the_identifier_is_the_official_else_the_usual_else_the_first_else_the_id(identifiers, value):
    assert corti_identifier(encounter(identifier=identifiers)) == value


def test_an_encounter_without_any_name_is_refused():
    with pytest.raises(NotMapped) as refused:
        corti_identifier(encounter(id=None))

    assert refused.value.at == "Encounter.identifier"


# --- status and class --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "corti", "recordings"),
    [
        ("planned", "planned", True),
        ("arrived", "in-progress", True),
        ("triaged", "in-progress", True),
        ("in-progress", "in-progress", True),
        ("onleave", "on-hold", True),
        ("finished", "completed", True),
        ("cancelled", "cancelled", False),
        ("entered-in-error", "deleted", False),
        ("unknown", "planned", True),
    ],
)
def test_each_status_of_r4_has_its_word_at_corti(status, corti, recordings):
    assert body(status=status)["encounter"]["status"] == corti
    assert takes_recordings(encounter(status=status)) is recordings


def test_a_status_without_a_word_is_refused_with_its_element():
    with pytest.raises(NotMapped) as refused:
        mapped(status="completed")

    assert refused.value.at == "Encounter.status"


@pytest.mark.parametrize(
    ("code", "corti"),
    [
        ("AMB", "outpatient"),
        ("EMER", "emergency"),
        ("IMP", "inpatient"),
        ("ACUTE", "inpatient"),
        ("NONAC", "inpatient"),
        ("OBSENC", "inpatient"),
        *((code, "consultation") for code in ("SS", "PRENC", "VR", "HH", "FLD")),
    ],
)
def test_each_class_has_its_type(code, corti):
    result = mapped(**{"class": {"system": ACT, "code": code}})

    assert result.value.encounter.type == corti
    assert result.warnings == ()


@pytest.mark.parametrize(
    "coding", [{"system": ACT, "code": "VIDEO"}, {"system": "urn:house", "code": "EMER"}, {"display": "walk-in"}]
)
def test_a_class_of_another_code_is_a_consultation_with_a_warning(coding):
    result = mapped(**{"class": coding})

    assert result.value.encounter.type == "consultation"
    assert warned(result) == [("Encounter.class", "code-invalid")]


def test_a_class_without_system_is_read_as_act_code_with_a_warning():
    result = mapped(**{"class": {"code": "EMER"}})

    assert result.value.encounter.type == "emergency"
    assert warned(result) == [("Encounter.class.system", "incomplete")]


@pytest.mark.parametrize(
    ("class_", "system", "code", "corti"),
    [
        ("AMB", SNOMED, "185387006", "first_consultation"),
        ("VR", "http://www.ama-assn.org/go/cpt", "99203", "first_consultation"),
        ("EMER", SNOMED, "185387006", "emergency"),
        ("IMP", SNOMED, "185387006", "inpatient"),
        ("AMB", "urn:house", "185387006", "outpatient"),
        ("AMB", SNOMED, "185349003", "outpatient"),
    ],
)
def test_a_first_consultation_is_told_by_the_type_but_not_over_an_emergency(class_, system, code, corti):
    changes = {"class": {"system": ACT, "code": class_}, "type": [{"coding": [{"system": system, "code": code}]}]}

    assert body(**changes)["encounter"]["type"] == corti


# --- title ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"type": [{"coding": [{"code": "1"}]}, {"text": "Knee\n review"}]}, "Knee review"),
        ({"type": [{"coding": [{"code": "1"}, {"display": "Check-up"}]}]}, "Check-up"),
        ({"serviceType": {"text": "Cardiology"}, "reasonCode": [{"text": "Cough"}]}, "Cardiology"),
        ({"reasonCode": [{"text": "Cough"}]}, "Cough"),
        ({}, None),
    ],
)
def test_the_title_is_the_first_text_of_type_service_or_reason(changes, title):
    assert mapped(**changes).value.encounter.title == title


# --- period ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "sent"),
    [
        ("2026-11-22T08:15:00+01:00", "2026-11-22T07:15:00Z"),
        ("2026-11-22T23:30:00.250-05:00", "2026-11-23T04:30:00.250000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.5-01:00", "2017-01-01T01:00:00Z"),
    ],
)
def test_times_arrive_in_utc_whatever_their_zone(start, sent):
    result = mapped(period={"start": start})

    assert result.value.encounter.period.started_at == sent
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("period", "started", "ended"),
    [
        ({"start": "2026", "end": "2026"}, "2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z"),
        ({"start": "2024-02", "end": "2024-02"}, "2024-02-01T00:00:00Z", "2024-02-29T23:59:59Z"),
        ({"start": "2026-12", "end": "2026-12"}, "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z"),
        ({"start": "2026-11-22", "end": "2026-11-22"}, "2026-11-22T00:00:00Z", "2026-11-22T23:59:59Z"),
    ],
)
def test_a_partial_date_is_its_first_or_last_second_with_a_warning(period, started, ended):
    result = mapped(status="finished", period=period)

    sent = result.value.encounter.period
    assert (sent.started_at, sent.ended_at) == (started, ended)
    assert warned(result) == [("Encounter.period.start", "incomplete"), ("Encounter.period.end", "incomplete")]


def test_a_partial_end_is_read_in_the_zone_of_the_start():
    sent = body(status="finished", period={"start": "2026-11-22T20:00:00-10:00", "end": "2026-11-22"})

    assert sent["encounter"]["period"] == {"startedAt": "2026-11-23T06:00:00Z", "endedAt": "2026-11-23T09:59:59Z"}


def test_the_end_is_sent_only_when_the_encounter_is_finished():
    period = {"start": "2026-11-22T08:15:00Z", "end": "2026-11-22T08:45:00Z"}

    assert body(status="finished", period=period)["encounter"]["period"]["endedAt"] == "2026-11-22T08:45:00Z"
    assert "endedAt" not in body(status="in-progress", period=period)["encounter"]["period"]
    assert "endedAt" not in body(status="finished", period={"start": period["start"]})["encounter"]["period"]


def test_an_end_before_the_start_is_not_sent():
    result = mapped(status="finished", period={"start": "2026-11-22T08:15:00Z", "end": "2026-11-21"})

    assert result.value.encounter.period.ended_at is None
    assert ("Encounter.period.end", "value") in warned(result)


def test_a_period_without_start_is_not_sent():
    result = mapped(period={"end": "2026-11-22T08:15:00Z"})

    assert result.value.encounter.period is None
    assert warned(result) == [("Encounter.period.start", "incomplete")]
    assert mapped(period={"_start": {"id": "x"}}).value.encounter.period is None


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60Z"])
def test_a_time_utc_cannot_write_is_refused(start):
    with pytest.raises(NotMapped) as refused:
        mapped(period={"start": start})

    assert refused.value.at == "Encounter.period.start"


def test_the_last_year_has_an_end_too():
    sent = body(status="finished", period={"start": "9998", "end": "9998"})

    assert sent["encounter"]["period"]["endedAt"] == "9998-12-31T23:59:59Z"


# --- patient -----------------------------------------------------------------------------


def test_the_reference_alone_names_the_patient():
    subject = {"reference": "Patient/p1", "identifier": {"value": "MRN-1"}, "display": "Anna Berg"}

    assert body(subject=subject)["patient"] == {"identifier": "MRN-1", "name": "Anna Berg"}
    assert body(subject={"reference": "Patient/p1"})["patient"] == {"identifier": "Patient/p1"}


def test_a_contained_patient_is_read():
    inside = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "7"}], "name": [{"text": "Anna Berg"}]}

    sent = body(contained=[inside], subject={"reference": "#p"})

    assert sent["patient"] == {"identifier": "7", "name": "Anna Berg"}


def test_a_patient_without_identifier_is_known_by_its_reference_or_id():
    assert body(None, patient(id="p9"), subject={"reference": "Patient/p9"})["patient"]["identifier"] == "Patient/p9"
    assert body(None, patient(id="p9"))["patient"] == {"identifier": "Patient/p9"}
    named = patient(identifier=[{"system": "urn:x"}])
    assert body(None, named, subject={"identifier": {"value": "5"}, "display": "A"})["patient"] == {
        "identifier": "5",
        "name": "A",
    }


@pytest.mark.parametrize(
    "subject", [{"display": "Anna Berg"}, {"reference": "#gone", "identifier": {"system": "urn:x"}}]
)
def test_a_patient_nobody_can_name_is_left_out_with_a_warning(subject):
    result = mapped(subject=subject)

    assert result.value.patient is None
    assert warned(result) == [("Encounter.subject", "incomplete")]
    assert warned(mapped(None, patient())) == [("Encounter.subject", "incomplete")]


def test_without_subject_there_is_no_patient_and_no_warning():
    result = mapped()

    assert result.value.patient is None
    assert result.warnings == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": {"reference": "Group/g1"}},
        {"subject": {"type": "Group", "identifier": {"value": "g"}}},
        {
            "subject": {"reference": "#g"},
            "contained": [{"resourceType": "Group", "id": "g", "type": "person", "actual": True}],
        },
    ],
)
def test_a_group_is_refused(changes):
    with pytest.raises(NotMapped) as refused:
        mapped(**changes)

    assert refused.value.at == "Encounter.subject"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ([{"use": "old", "text": "Old"}, {"family": "Free"}, {"use": "official", "text": "Official"}], "Official"),
        ([{"use": "old", "text": "Old"}, {"family": "Free", "given": ["A", "B"]}], "A B Free"),
        ([{"prefix": ["Dr."], "family": "Holm", "suffix": ["PhD"]}], "Dr. Holm PhD"),
        ([{"use": "official", "period": {"start": "2020"}}, {"use": "maiden", "text": "Maiden"}], "Maiden"),
        ([{"use": "official"}], None),
        (None, None),
    ],
)
def test_one_name_is_chosen_by_its_use(names, name):
    changes = {"name": names} if names else {}

    assert mapped(None, patient(id="p", **changes)).value.patient.name == name


@pytest.mark.parametrize("gender", ["male", "female", "other", "unknown"])
def test_the_four_genders_are_the_same_words(gender):
    assert mapped(None, patient(id="p", gender=gender)).value.patient.gender == gender


def test_another_gender_code_is_refused():
    with pytest.raises(NotMapped) as refused:
        mapped(None, patient(id="p", gender="m"))

    assert refused.value.at == "Patient.gender"


def test_a_day_of_birth_is_never_made_up():
    result = mapped(None, patient(id="p", birthDate="1974-12"))

    assert result.value.patient.birth_date is None
    assert warned(result) == [("Patient.birthDate", "not-supported")]


# --- pronouns ----------------------------------------------------------------------------


def pronouns(**extension):
    url = "http://hl7.org/fhir/StructureDefinition/individual-pronouns"
    return mapped(None, patient(id="p", extension=[{"url": "urn:other", "valueString": "x"}, {"url": url} | extension]))


@pytest.mark.parametrize(
    ("concept", "sent"),
    [
        ({"text": "xe/xem", "coding": [{"system": LOINC, "code": "LA29518-0"}]}, "xe/xem"),
        ({"coding": [{"system": LOINC, "code": "LA29518-0", "display": "he/him/his/his/himself"}]}, "he/him"),
        ({"coding": [{"system": LOINC, "code": "LA29519-8"}]}, "she/her"),
        ({"coding": [{"system": "urn:house", "code": "LA29519-8", "display": "hon"}]}, "hon"),
    ],
)
def test_pronouns_are_read_from_their_extension(concept, sent):
    nested = pronouns(
        extension=[
            {"url": "period", "valuePeriod": {"start": "2020"}},
            {"url": "value", "valueCodeableConcept": concept},
        ]
    )

    assert nested.value.patient.pronouns == sent
    assert pronouns(valueCodeableConcept=concept).value.patient.pronouns == sent


def test_pronouns_without_words_are_left_out_with_a_warning():
    result = pronouns(extension=[{"url": "value", "valueCodeableConcept": {"coding": [{"system": LOINC}]}}])

    assert result.value.patient.pronouns is None
    assert warned(result) == [("Patient.extension", "not-supported")]


# --- the clinician -----------------------------------------------------------------------


def participant(reference, code=None, **more):
    system = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
    kind = {"type": [{"coding": [{"system": system, "code": code}]}]} if code else {}
    return {"individual": reference, **kind, **more}


def user(*people, given=None, **changes):
    return mapped(None, None, given, participant=list(people), **changes).value.assigned_user_id


def test_the_assigned_user_is_the_same_uuid_every_time():
    one = user(participant({"reference": "Practitioner/1"}))

    assert UUID(one).version == 5
    assert one == user(participant({"reference": "Practitioner/1", "display": "Dr. Holm"}))
    assert one != user(participant({"reference": "Practitioner/2"}))


def test_the_same_reference_or_identifier_in_another_tenant_is_another_user():
    visit = encounter(participant=[participant({"reference": "Practitioner/1"})])
    known = practitioner(identifier=[{"system": "urn:x", "value": "7"}])

    for given in (None, known):
        users = [
            interaction_from_encounter(visit, None, given, identifier="x", tenant=tenant).value.assigned_user_id
            for tenant in ("north", "south")
        ]
        assert len(set(users)) == 2


def test_the_identifier_names_the_user_before_the_reference():
    by_identifier = user(participant({"reference": "Practitioner/1", "identifier": {"system": "urn:x", "value": "7"}}))

    assert by_identifier == user(given=practitioner(identifier=[{"system": "urn:x", "value": "7"}]))
    assert by_identifier != user(given=practitioner(identifier=[{"system": "urn:y", "value": "7"}]))
    inside = {"resourceType": "Practitioner", "id": "d", "identifier": [{"system": "urn:x", "value": "7"}]}
    assert by_identifier == user(participant({"reference": "#d"}), contained=[inside])
    assert user(given=practitioner(id="1")) == user(participant({"reference": "Practitioner/1"}))


def test_the_primary_performer_goes_before_the_attender_and_the_first():
    ranked = user(
        participant({"reference": "RelatedPerson/9"}, "PPRF"),
        participant({"reference": "Practitioner/1"}),
        participant({"reference": "Practitioner/2"}, "ATND"),
        participant({"reference": "Practitioner/3"}, "PPRF"),
    )

    assert ranked == user(participant({"reference": "Practitioner/3"}))
    first = user(participant({"reference": "Practitioner/1"}), participant({"reference": "Practitioner/2"}))
    assert first == user(participant({"reference": "Practitioner/1"}))


def test_relatives_and_empty_participants_are_no_clinicians():
    relative = participant({"type": "RelatedPerson", "display": "Mother"})

    assert user(relative, {"type": [{"text": "nurse"}]}) is None


def test_a_clinician_nobody_can_name_is_left_out_with_a_warning():
    result = mapped(participant=[participant({"display": "Dr. Holm"})])

    assert result.value.assigned_user_id is None
    assert warned(result) == [("Encounter.participant.individual", "incomplete")]
    assert mapped(None, None, practitioner()).value.assigned_user_id is None
