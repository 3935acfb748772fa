from __future__ import annotations

import json

import pytest

from fhir_bridge.errors import BadParameter, Malformed, NotSupported
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.inputs import Inputs, inputs_of
from fhir_bridge.fhir.rest.operations import OPERATIONS, definition, operation
from fhir_bridge.fhir.rest.served import BY_TYPE

BASE = "https://bridge/fhir"
EVERYTHING = operation("everything", "instance", "Patient")
VALIDATE = operation("validate", "type", "Patient")


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)
def test_every_definition_is_valid_fhir_under_its_own_url(one):
    json_ = definition(one, base=BASE, types=BY_TYPE)

    checked(read(json.dumps(json_)), of="OperationDefinition")
    assert json_["url"] == one.url(BASE) == f"{BASE}/OperationDefinition/{json_['id']}"
    assert set(json_.get("resource", [])) == {type_ for type_ in BY_TYPE if one.is_for(type_)}


def test_ids_are_given_once():
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)


def test_one_name_at_one_level_of_a_type_is_one_operation():
    for type_ in BY_TYPE:
        offered = [(one.name, level) for one in OPERATIONS if one.is_for(type_) for level in one.levels]
        assert len(offered) == len(set(offered))


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)
def test_get_is_for_what_changes_nothing_and_takes_primitives_alone(one):
    takes_resource = any(part.name == "resource" for part in one.takes)

    assert ("GET" in one.methods) is not (one.changes or takes_resource)
    assert "POST" in one.methods


def test_an_operation_is_found_at_its_level_only():
    assert operation("everything", "type", "Patient") is None
    assert operation("everything", "instance", "Practitioner") is None
    assert operation("nothing", "system", None) is None


def parameters(*parts) -> dict:
    return {"resourceType": "Parameters", "parameter": list(parts)}


def test_parameters_come_from_the_url_and_from_the_body():
    body = parameters({"name": "_type", "valueCode": "Task"}, {"name": "_count", "valueInteger": 5})

    given = inputs_of(EVERYTHING, [("_type", "Media"), ("_since", ""), ("_format", "json")], body)

    assert given.all("_type") == ("Media", "Task")
    assert (given.one("_count"), given.one("_since")) == ("5", None)
    assert given.resource is None


def test_a_resource_comes_as_the_body_or_in_parameters():
    patient = {"resourceType": "Patient"}

    alone = inputs_of(VALIDATE, [("mode", "create")], patient)
    within = inputs_of(VALIDATE, [], parameters({"name": "resource", "resource": patient}))

    assert alone == Inputs((("mode", "create"),), patient)
    assert within.resource == patient
    assert inputs_of(VALIDATE, [], {"resourceType": "Parameters"}) == Inputs()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"resourceType": "Patient"}, NotSupported),
        (parameters({"name": "start", "valueDate": "2024"}), NotSupported),
        (parameters({"name": "_count", "valueInteger": 1}, {"name": "_count", "valueInteger": 2}), BadParameter),
        (parameters("text"), Malformed),
        (parameters({"valueCode": "Task"}), Malformed),
        (parameters({"name": "_type"}), Malformed),
        (parameters({"name": "_type", "valueCode": "Task", "valueString": "Task"}), Malformed),
        (parameters({"name": "_type", "valueCoding": {"code": "Task"}}), Malformed),
        ({"resourceType": "Parameters", "parameter": {"name": "_type"}}, Malformed),
    ],
)
def test_what_an_operation_does_not_take_is_refused(body, error):
    with pytest.raises(error) as caught:
        inputs_of(EVERYTHING, [], body)

    assert caught.value.at.startswith("Parameters.parameter")


def test_what_is_needed_is_asked_for():
    with pytest.raises(BadParameter, match="resource"):
        inputs_of(operation("explain", "type", "Encounter"), [], None)


def test_two_resources_at_once_are_refused():
    part = {"name": "resource", "resource": {"resourceType": "Patient"}}
    with pytest.raises(BadParameter, match="One resource"):
        inputs_of(VALIDATE, [], parameters(part, part))


def test_a_boolean_is_read_as_fhir_writes_it():
    assert inputs_of(VALIDATE, [], parameters({"name": "mode", "valueBoolean": True})).one("mode") == "true"
