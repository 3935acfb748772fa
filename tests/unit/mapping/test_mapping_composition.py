from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.narrative import fault_in
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.composition import composition_from_facts, div_of
from fhir_bridge.mapping.tables_results import FACT_GROUPS

AT = "2026-11-22T08:15:00.000Z"


def fact(group: str | None = "plan", n: int = 1, **changes) -> dict:
    codings = [{"system": systems.FACT_GROUP, "code": group}] if group else [{"code": "x"}]
    seen = {"resourceType": "Observation", "id": f"f{n}", "status": "preliminary", "code": {"coding": codings}}
    return seen | {"valueString": f"about {group}"} | changes


def note(*facts, subject=None) -> dict:
    made = composition_from_facts(facts, "e1", subject=subject, at=AT)
    return checked(read(json.dumps(made)), of="Composition")


def test_there_is_a_section_for_each_group_in_the_order_of_the_table():
    facts = [fact(group, n) for n, group in enumerate(reversed([*FACT_GROUPS, "a-group-of-tomorrow"]))]

    sections = note(*facts)["section"]

    assert [one["code"]["coding"][-1]["code"] for one in sections] == [*FACT_GROUPS, "a-group-of-tomorrow"]
    loincs = {one["code"]["coding"][-1]["code"]: one["code"]["coding"][0]["code"] for one in sections}
    assert all(loincs[row.key] == row.loinc for row in FACT_GROUPS.values() if row.loinc)
    assert sections[-1]["title"] == "A group of tomorrow"


def test_a_section_holds_its_facts_as_entries_and_as_words():
    [section] = note(fact("plan", 1, valueString="rest"), fact("plan", 2, valueString='a < b & "c"'))["section"]

    assert section["entry"] == [{"reference": "Observation/f1"}, {"reference": "Observation/f2"}]
    assert section["text"]["div"] == (
        '<div xmlns="http://www.w3.org/1999/xhtml"><ul><li>rest</li><li>a &lt; b &amp; &quot;c&quot;</li></ul></div>'
    )


def test_the_note_says_that_it_is_unreviewed_work_of_ai():
    made = note(fact(), subject={"reference": "Patient/p"})

    assert made["status"] == "preliminary"
    assert made["meta"]["security"][0]["code"] == "AIAST"
    assert made["author"] == [{"reference": "Device/corti-ambient"}]
    assert made["subject"] == {"reference": "Patient/p"}
    assert made["date"] == AT


def test_what_was_withdrawn_is_left_out_and_without_facts_there_are_no_sections():
    assert "section" not in note(fact(status="entered-in-error"), fact(status="cancelled"))
    assert "subject" not in note()


def test_an_encounter_has_one_note_whatever_is_found():
    assert note(fact())["id"] == note()["id"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"valueQuantity": {"value": 120, "unit": "mmHg"}}, "120 mmHg"),
        ({"valueCodeableConcept": {"text": "cough"}}, "cough"),
        ({"valueCodeableConcept": {"coding": [{"code": "1"}, {"display": "Cough"}]}}, "Cough"),
        ({"valueBoolean": False}, "false"),
        ({"valueInteger": 3}, "3"),
        ({"valueString": " "}, "Without words"),
        ({}, "Without words"),
    ],
)
def test_a_fact_that_an_ehr_amended_is_shown_as_it_is_now(value, words):
    amended = {name: element for name, element in fact().items() if name != "valueString"} | value
    made = composition_from_facts([amended], "e1", subject=None, at=AT)
    assert f"<li>{words}</li>" in made["section"][0]["text"]["div"]


def test_a_fact_without_a_group_is_among_the_others():
    assert note(fact(None))["section"][0]["code"]["coding"] == [
        {"system": systems.FACT_GROUP, "code": "other", "display": "Other"}
    ]


@given(st.lists(st.text()))
def test_nothing_that_was_said_becomes_markup(lines):
    div = div_of(["x", *lines])

    assert fault_in(div) is None
    assert div.count("<li>") == len(lines) + 1
