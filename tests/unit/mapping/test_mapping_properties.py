"""Whatever valid Encounter an EHR sends becomes words Corti has, or is refused with the element's path."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from mapping_examples import ACT

from fhir_bridge.corti.messages import EncounterStatus, EncounterType, Gender
from fhir_bridge.errors import Invalid, NotMapped
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.mapping.encounter import corti_identifier, interaction_from_encounter
from fhir_bridge.mapping.explain import explanation_of_encounter
from fhir_bridge.mapping.tables import ENCOUNTER_CLASS, ENCOUNTER_STATUS, FIRST_CONSULTATION

at_leisure = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # whatever else the machine does

words = st.from_regex(r"[A-Za-zÀ-ž0-9]([A-Za-zÀ-ž0-9 ~.-]{0,20}[A-Za-z0-9])?", fullmatch=True)
zones = st.sampled_from(["Z", "+14:00", "-12:00", "+05:45"])
moments = st.builds(
    lambda at, zone: at.isoformat(timespec="seconds") + zone,
    st.datetimes(),
    zones,
)
dates = st.dates().map(lambda day: day.isoformat())
times = moments | dates | dates.map(lambda day: day[:7]) | dates.map(lambda day: day[:4])


def some(**elements):
    """An object of some of these elements, at least one."""
    return st.fixed_dictionaries({}, optional=elements).filter(bool)


codings = some(
    system=st.sampled_from([ACT, "urn:house"]), code=words.map(lambda text: text.replace(" ", "-")), display=words
)
concepts = some(text=words, coding=st.lists(codings, min_size=1, max_size=2))
identifiers = some(use=st.sampled_from(["usual", "official", "temp", "old"]), system=st.just("urn:x"), value=words)
names = some(
    use=st.sampled_from(["usual", "official", "old", "maiden"]),
    text=words,
    family=words,
    given=st.lists(words, min_size=1, max_size=2),
)
patients = some(
    identifier=st.lists(identifiers, min_size=1, max_size=2),
    name=st.lists(names, min_size=1, max_size=2),
    gender=st.sampled_from(get_args(Gender)),
    birthDate=dates | dates.map(lambda day: day[:7]),
)


def references(*types):
    literal = st.builds("{}/{}".format, st.sampled_from(types), st.sampled_from(["1", "a-b"]))
    return some(reference=literal | st.just("#in"), identifier=identifiers, display=words)


encounters = st.fixed_dictionaries(
    {
        "resourceType": st.just("Encounter"),
        "id": st.just("e1"),
        "status": st.sampled_from(sorted(ENCOUNTER_STATUS)),
        "class": codings | st.sampled_from([{"system": ACT, "code": code} for code in ENCOUNTER_CLASS]),
    },
    optional={
        "identifier": st.lists(identifiers, min_size=1, max_size=3),
        "type": st.lists(
            concepts
            | st.sampled_from([{"coding": [{"system": r.system, "code": r.code}]} for r in FIRST_CONSULTATION]),
            min_size=1,
            max_size=2,
        ),
        "period": some(start=times, end=times),
        "subject": references("Patient", "Group"),
        "participant": st.lists(some(individual=references("Practitioner", "RelatedPerson")), min_size=1, max_size=2),
        "contained": patients.map(lambda one: [{"resourceType": "Patient", "id": "in"} | one]),
        "reasonCode": st.lists(concepts, min_size=1, max_size=1),
    },
)

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def model(sent):
    """The model of what the whole check lets through, as it is when the mapping sees it."""
    try:
        return model_of(checked(sent))
    except Invalid:
        assume(condition=False)


def unnamed():
    raise AssertionError("refused without naming the element")


@at_leisure
@given(encounters)
def test_a_valid_encounter_becomes_words_corti_has_or_is_refused_with_its_element(sent):
    visit = model(sent)
    try:
        mapped = interaction_from_encounter(visit, identifier=f"{corti_identifier(visit)}~00c0ffee", tenant="default")
    except NotMapped as refused:
        event(f"refused at {refused.at or unnamed()}")
        return
    body = mapped.value.to_json()
    corti = body["encounter"]
    assert corti["identifier"].strip()
    assert corti["status"] in get_args(EncounterStatus)
    assert corti["type"] in get_args(EncounterType)
    assert all(UTC_TIME.fullmatch(one) for one in corti.get("period", {}).values())
    assert corti.get("title", "x").strip()
    if "period" in corti:
        at = [datetime.fromisoformat(one) for one in corti["period"].values()]
        assert at == sorted(at)
        assert at[0].tzinfo == UTC
    if "patient" in body:
        assert body["patient"]["identifier"].strip()
        assert body["patient"].get("gender", "unknown") in get_args(Gender)
    if "assignedUserId" in body:
        UUID(body["assignedUserId"])
    assert all(one.at and one.severity == "warning" for one in mapped.warnings)


@at_leisure
@given(encounters)
def test_the_same_encounter_is_mapped_the_same_way_every_time(sent):
    visit = model(sent)
    try:
        once = interaction_from_encounter(visit, identifier="x", tenant="default")
    except NotMapped:
        return
    assert interaction_from_encounter(model(sent), identifier="x", tenant="default") == once


@at_leisure
@given(encounters)
def test_every_dry_run_is_a_valid_answer(sent):
    try:
        value = explanation_of_encounter(model(sent), tenant="default")
    except NotMapped:
        return
    assert checked(value) == value
