"""Parts of a resource, still valid and marked as parts."""

import pytest

from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.subset import elements, is_subset, summary
from fhir_bridge.fhir.resource.tree import only


@pytest.mark.parametrize("mode", ["true", "data"])
def test_a_part_of_an_example_is_valid_and_marked(any_example, mode):
    part = summary(any_example, mode)

    assert checked(part) is part
    assert is_subset(part)
    assert not is_subset(any_example)


def test_a_summary_keeps_what_the_definition_marks_on_every_level(example):
    part = summary(example("encounter-ambulatory"), "true")

    assert {"text", "period", "statusHistory", "serviceProvider", "language"}.isdisjoint(part)
    assert part["participant"][0].keys() == {"type", "individual"}
    assert part["subject"]["display"] == "Anna Berg"


def test_a_summary_of_a_document_has_no_inline_data(example):
    attachment = summary(example("documentreference-transcript"), "true")["content"][0]["attachment"]

    assert "data" not in attachment
    assert attachment["title"] == "Transcript"


def test_an_extension_beside_a_kept_primitive_is_kept(example):
    part = summary(example("patient"), "true")

    assert part["_birthDate"] == example("patient")["_birthDate"]
    assert part["name"][0]["_given"][0] is None


def test_a_part_with_nothing_left_inside_keeps_what_was_there():
    part = summary({"resourceType": "Bundle", "type": "collection", "link": [{"id": "a"}]}, "true")

    assert part["link"] == [{"id": "a"}]


def test_text_is_the_narrative_and_what_must_be_there(example):
    part = summary(example("encounter-ambulatory"), "text")

    assert part.keys() == {"resourceType", "id", "meta", "text", "status", "class"}


def test_data_is_everything_but_the_narrative(example):
    whole = example("encounter-ambulatory")

    assert summary(whole, "data").keys() == whole.keys() - {"text"}


def test_elements_are_named_with_or_without_their_type(example):
    whole = example("observation-fact")

    assert elements(whole, ["effective"]) == elements(whole, {"effectiveDateTime"})
    assert elements(whole, ["effective"]).keys() == {
        "resourceType",
        "id",
        "meta",
        "status",
        "code",
        "effectiveDateTime",
    }


def test_what_changes_the_meaning_of_a_patient_is_always_there(example):
    assert elements(example("patient"), ["name"]).keys() == {
        "resourceType",
        "id",
        "meta",
        "active",
        "name",
        "deceasedBoolean",
    }


def test_a_required_choice_stays():
    part = summary(
        {"resourceType": "Task", "status": "draft", "intent": "order", "input": [{"type": {}, "valueString": "a"}]},
        "true",
    )

    assert part.keys() == {"resourceType", "status", "intent", "meta"}


def test_contained_resources_stay_as_long_as_something_names_them(example):
    contained = [{"resourceType": "Patient", "id": "p"}]
    whole = example("encounter-ambulatory", contained=contained, subject={"reference": "#p"})

    assert summary(whole, "true")["contained"] == contained
    assert "contained" not in elements(whole, ["period"])


def test_a_part_is_marked_once(example):
    part = summary(example("device"), "true")

    assert summary(part, "true") == part
    assert only(part, "meta")["tag"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    ]


def test_an_unknown_type_has_no_parts():
    assert summary({"resourceType": "Foo", "a": 1}, "true")["a"] == 1
