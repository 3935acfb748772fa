"""The tables read from the models, and looking into Json."""

import pytest

from fhir_bridge.fhir.resource import bindings
from fhir_bridge.fhir.resource.shapes import datatype, resource_shape, shape
from fhir_bridge.fhir.resource.tree import each, has, has_choice, only, text


def test_an_element_knows_its_type_cardinality_and_targets():
    elements = resource_shape("Observation").elements

    assert (elements["status"].type, elements["status"].required, elements["status"].many) == ("code", True, False)
    assert (elements["performer"].type, elements["performer"].many) == ("Reference", True)
    assert "Device" not in elements["performer"].targets
    assert elements["subject"].targets == {"Patient", "Group", "Device", "Location"}
    assert elements["focus"].targets == frozenset()
    assert elements["valueBoolean"].path == "value"


@pytest.mark.parametrize("key", sorted([*bindings.REQUIRED, *bindings.MEDIA_TYPES, *bindings.TARGETS]))
def test_every_row_of_the_tables_names_an_element_that_is_there(key):
    owner, _, name = key.partition(".")

    assert datatype(owner).elements[name].type == ("Reference" if key in bindings.TARGETS else "code")


@pytest.mark.parametrize("name", sorted(bindings.NOT_IN_R4))
def test_what_r4_does_not_have_has_no_shape(name):
    assert shape(name) is None


def test_a_datatype_is_no_resource_and_an_unknown_name_nothing():
    assert resource_shape("Period") is None
    assert resource_shape(7) is None
    assert resource_shape("Foo") is None
    with pytest.raises(LookupError):
        datatype("Foo")


def test_json_is_looked_into_without_surprises():
    json = {"a": {"b": "c"}, "d": [{"e": 1}, 7, None], "f": "g", "_h": {}, "valueString": "i", "values": 1}

    assert each(json, "a") == [{"b": "c"}]
    assert each(json, "d") == [{"e": 1}]
    assert each(json, "x") == []
    assert only(json, "a") == {"b": "c"}
    assert only(json, "d") == {}
    assert text(json, "f") == "g"
    assert text(json, "a") is None
    assert has(json, "h")
    assert not has(json, "x")
    assert has_choice(json, "value")
    assert not has_choice({"values": 1, "value": 1}, "value")
