"""The whole check: every finding at once, each with its code and its element."""

import copy
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import BridgeError, Invalid, Malformed
from fhir_bridge.fhir.resource.check import MAX_ISSUES, checked
from fhir_bridge.fhir.resource.models import json_of, model_of
from fhir_bridge.fhir.resource.reader import Number, read
from fhir_bridge.fhir.resource.writer import write

EXAMPLES = Path(__file__).parents[2] / "examples"
READ = {path.stem: read(path.read_bytes()) for path in EXAMPLES.glob("*.json")}


def findings(json, **options):
    with pytest.raises(BridgeError) as caught:
        checked(json, **options)
    assert caught.value.status == 400
    return [(issue.code, issue.at) for issue in caught.value.issues]


def texts(json):
    with pytest.raises(BridgeError) as caught:
        checked(json)
    return " ".join(issue.text for issue in caught.value.issues)


def test_every_example_is_valid_and_comes_back_as_it_was(any_example):
    before = copy.deepcopy(any_example)

    assert checked(any_example) is any_example
    assert checked(any_example, of=any_example["resourceType"]) == before


def test_all_findings_are_told_at_once(example):
    json = example(
        "encounter-ambulatory",
        status="completed",
        subject={"reference": "Observation/1"},
        period={"start": "2026-02-30", "end": 5},
        identifier={"value": "a"},
        pateint=1,
    )
    del json["class"]

    assert findings(json) == [
        ("structure", "Encounter.identifier"),
        ("code-invalid", "Encounter.status"),
        ("value", "Encounter.subject"),
        ("value", "Encounter.period.start"),
        ("structure", "Encounter.period.end"),
        ("structure", "Encounter.pateint"),
        ("required", "Encounter.class"),
    ]


def test_only_structure_is_malformed_and_the_text_counts_the_rest(example):
    with pytest.raises(Malformed) as one:
        checked(example("device", foo=1))
    with pytest.raises(Invalid) as two:
        checked(example("device", foo=1, status="off"))

    assert one.value.text == "Device.foo is or has an element that Device does not have in R4"
    assert two.value.text.endswith("(and 1 more)")


def test_findings_have_a_limit(example):
    notes = [{"foo": 1}] * (2 * MAX_ISSUES)

    assert len(findings(example("media-url", note=notes))) == MAX_ISSUES


@pytest.mark.parametrize("kind", [None, 7, "Foo", "Period", "Resource", "DomainResource", "SubscriptionTopic"])
def test_what_is_no_r4_resource_type_is_refused(kind):
    assert findings({"resourceType": kind}) == [("structure", "resourceType")]


def test_another_type_than_the_one_asked_for_is_refused(example):
    assert findings(example("device"), of="Media") == [("structure", "resourceType")]


@pytest.mark.parametrize(
    ("member", "code", "at"),
    [
        ({"period": []}, "structure", "Encounter.period"),
        ({"period": "2026"}, "structure", "Encounter.period"),
        ({"participant": ["a"]}, "structure", "Encounter.participant[0]"),
        ({"statusHistory": [{"status": "arrived"}]}, "required", "Encounter.statusHistory[0].period"),
        ({"class_fhir": {"code": "AMB"}}, "structure", "Encounter"),
        ({"fhir_comments": "a"}, "structure", "Encounter"),
        ({"_period": {"id": "a"}}, "structure", "Encounter.period"),
        ({"_status": [{"id": "a"}]}, "structure", "Encounter.status"),
        ({"_status": "a"}, "structure", "Encounter.status"),
        ({"_status": {"value": "a"}}, "structure", "Encounter.status.value"),
        ({"subject": {"resourceType": "Reference", "display": "a"}}, "structure", "Encounter.subject.resourceType"),
        ({"id": "a" * 65}, "value", "Encounter.id"),
        ({"language": "en "}, "value", "Encounter.language"),
        ({"language": True}, "structure", "Encounter.language"),
        ({"contained": [{"id": "a"}]}, "structure", "Encounter.contained[0]"),
        ({"contained": ["a"]}, "structure", "Encounter.contained[0]"),
        ({"text": {"status": "generated", "div": "<p>a</p>"}}, "invariant", "Encounter.text.div"),
        ({"meta": {"tag": [None]}}, "structure", "Encounter.meta.tag[0]"),
    ],
)
def test_what_has_the_wrong_shape_or_form_is_told_with_its_element(example, member, code, at):
    assert (code, at) in findings(example("encounter-ambulatory") | member)


def test_a_name_that_cannot_be_an_element_is_not_repeated(example):
    json = example("patient") | {"Anna Berg": 1}

    assert findings(json) == [("structure", "Patient")]
    assert "Anna" not in texts(json)


def test_a_choice_is_given_once_and_with_a_type_r4_has(example):
    assert findings(example("observation-fact", valueInteger=1)) == [("structure", "Observation.value")]
    assert findings(example("observation-fact", _valueInteger={"id": "a"})) == [("structure", "Observation.value")]
    assert (
        findings(example("media-url", extension=[{"url": "a", "valueCodeableReference": {"concept": {"text": "b"}}}]))
        == [("structure", "Media.extension[0].valueCodeableReference"), ("invariant", "Media.extension[0]")][:1]
    )


def test_a_required_choice_is_missed(example):
    assert ("required", "Task.input[0].value") in findings(example("task", input=[{"type": {"text": "a"}}]))


def test_a_primitive_may_be_absent_if_an_extension_says_why(example):
    json = example("observation-fact")
    del json["status"]
    json["_status"] = {
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"},
        ]
    }

    assert checked(json) is json


def test_a_place_holder_is_no_value_and_no_finding(example):
    json = example("patient", name=[{"given": [None, "Maria"], "_given": [{"id": "a"}, None]}])

    assert json_of(model_of(checked(json))) == json


@pytest.mark.parametrize("kind", ["audio/wav", "text/plain; charset=utf-8", "application/fhir+json"])
def test_a_media_type_is_a_grammar(example, kind):
    assert checked(example("media-url", content={"contentType": kind, "url": "Binary/1"}))
    assert findings(example("media-url", content={"contentType": "wav", "url": "Binary/1"})) == [
        ("code-invalid", "Media.content.contentType")
    ]


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ({"reference": "Device/1"}, "value"),
        ({"reference": "https://ehr.example/fhir/Device/1/_history/2"}, "value"),
        ({"reference": "Device?identifier=a"}, "value"),
        ({"reference": "#gone"}, "invariant"),
        ({"reference": "12345"}, "value"),
        ({"reference": "Foo/1"}, "value"),
        ({"reference": "Patient/1", "type": "Group"}, "value"),
        ({"type": "Device", "display": "a"}, "value"),
        ({"reference": "#"}, "value"),
    ],
)
def test_a_reference_that_cannot_be_meant_is_refused(example, reference, code):
    json = example("encounter-ambulatory", subject=reference)

    assert findings(json) == [(code, "Encounter.subject")]


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Patient/1"},
        {"reference": "Patient/1/_history/2"},
        {"reference": "https://ehr.example/fhir/Group/1"},
        {"reference": "https://ehr.example/other?x"},
        {"reference": "urn:uuid:1d0a5a0c-7f3e-4f65-8a53-5f5f0c3b9a22", "type": "Patient"},
        {"reference": "Patient?identifier=a|b"},
        {"identifier": {"value": "a"}, "type": "Patient"},
        {"reference": "Patient/1", "type": "http://hl7.org/fhir/StructureDefinition/Patient"},
        {"type": "urn:a:logical-model", "display": "a"},
        {"display": "a"},
    ],
)
def test_a_reference_that_can_be_meant_is_taken(example, reference):
    assert checked(example("encounter-ambulatory", subject=reference))


def test_a_fact_is_not_performed_by_a_device_nor_about_an_organization(example):
    device = [{"reference": "Device/1"}]

    assert findings(example("observation-fact", performer=device)) == [("value", "Observation.performer[0]")]
    assert findings(example("observation-fact", subject={"reference": "Organization/1"})) == [
        ("value", "Observation.subject")
    ]


def test_targets_are_known_inside_the_body_too(example):
    person = {"resourceType": "Practitioner", "id": "p"}
    json = example("encounter-ambulatory", contained=[person], subject={"reference": "#p"})
    bundle = example("bundle-transaction")
    bundle["entry"][1]["resource"]["subject"]["reference"] = bundle["entry"][2]["fullUrl"]

    assert findings(json) == [("value", "Encounter.subject")]
    assert findings(bundle) == [("value", "Bundle.entry[1].resource.subject")]


@pytest.mark.parametrize(
    ("patient", "key"),
    [
        ({"id": "p", "contained": [{"resourceType": "Device", "id": "d"}]}, "dom-2"),
        ({"id": "q"}, "dom-3"),
        ({"gender": "male"}, "dom-3"),
        ({"id": "p", "meta": {"versionId": "1"}}, "dom-4"),
        ({"id": "p", "meta": {"security": [{"code": "R"}]}}, "dom-5"),
    ],
)
def test_contained_resources_have_their_rules(example, patient, key):
    json = example(
        "encounter-ambulatory", contained=[{"resourceType": "Patient"} | patient], subject={"reference": "#p"}
    )

    assert key in texts(json)


def test_a_contained_resource_may_refer_to_its_container(example):
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": "#"}],
        "recorded": "2026-04-17T09:00:00Z",
        "agent": [{"who": {"display": "a"}}],
    }

    assert checked(example("encounter-ambulatory", contained=[provenance]))


def test_a_bundle_is_checked_down_to_its_entries_unless_they_are_left_for_later(example):
    bundle = example("bundle-transaction")
    bundle["entry"][1]["resource"]["status"] = "bogus"

    assert findings(bundle) == [("code-invalid", "Bundle.entry[1].resource.status")]
    assert checked(bundle, entries=False) is bundle


def test_what_only_the_model_refuses_is_told_in_the_same_form():
    old = {"name": "a", "valueUuid": "urn:uuid:c757873d-ec9a-1326-a141-556f43239520"}

    assert findings({"resourceType": "Parameters", "parameter": [old]}) == [
        ("value", "Parameters.parameter[0].valueUuid")
    ]


def test_numbers_are_taken_in_every_json_form(example):
    for duration in (1, Number("1.50"), Number("1e2"), Number("12345678901234567890")):
        assert checked(example("media-url", duration=duration))


ODD = st.sampled_from([None, True, 0, -1, 2**40, Number("1.5"), "", "x", " ", "#", "a b", "2026-13-01", "\x01", [], {}])
VALUES = ODD | st.lists(ODD, max_size=2) | st.dictionaries(st.sampled_from(["id", "reference", "extension"]), ODD)


def mutate(tree, where, value):
    """Walk down `where` (numbers taken modulo what is there) and change what is found."""
    node, size = tree, len(where)
    for depth, turn in enumerate(where):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[turn % len(keys)]
        if depth == size - 1 or not isinstance(node[key], (dict, list)):
            if turn % 7 == 0:
                del node[key]
            elif turn % 7 == 1 and isinstance(node, dict):
                node["_" + key] = value
            elif turn % 7 == 2 and isinstance(node, dict):
                node[key + "x"] = value
            else:
                node[key] = value
            return
        node = node[key]


@given(
    st.sampled_from(sorted(READ)),
    st.lists(st.tuples(st.lists(st.integers(0, 500), min_size=1, max_size=8), VALUES), min_size=1, max_size=3),
)
def test_a_changed_example_is_taken_or_refused_and_never_breaks(name, changes):
    tree = copy.deepcopy(READ[name])
    for where, value in changes:
        mutate(tree, where, copy.deepcopy(value))

    with suppress(Malformed, Invalid):
        taken = checked(read(write(tree)))
        json_of(model_of(taken))
    with suppress(Malformed, Invalid):
        checked(tree)
