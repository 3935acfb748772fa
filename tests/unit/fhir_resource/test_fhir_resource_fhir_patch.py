"""FHIRPath Patch: the five operations, the paths they take, and every way in which one cannot be."""

from __future__ import annotations

import copy

import pytest

from fhir_bridge.errors import Malformed, NotSupported, PatchFailed
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.fhir_patch import fhir_patched


def operation(type_: str, path: str | dict | None = None, **parts: object) -> dict:
    """One operation; a part is value[x] with its type, or a list of parts."""
    named = [{"name": "type", "valueCode": type_}]
    named += [{"name": "path", "valueString": path}] if isinstance(path, str) else []
    named += [{"name": "path", **path}] if isinstance(path, dict) else []
    for name, value in parts.items():
        if name == "name":
            named.append({"name": "name", "valueString": value})
        elif isinstance(value, int):
            named.append({"name": name, "valueInteger": value})
        else:
            named.append({"name": name, **({"part": value} if isinstance(value, list) else value)})
    return {"name": "operation", "part": named}


def patch(*operations: dict) -> dict:
    return {"resourceType": "Parameters", "parameter": [*operations]}


@pytest.fixture
def patient(example) -> dict:
    return example("patient")


def test_a_simple_element_is_added_replaced_and_deleted(patient):
    before = copy.deepcopy(patient)

    found = fhir_patched(
        patient,
        patch(
            operation("delete", "Patient.active"),
            operation("replace", "Patient.gender", value={"valueCode": "other"}),
            operation("add", "Patient", name="language", value={"valueCode": "da"}),
        ),
    )

    assert "active" not in found
    assert (found["gender"], found["language"]) == ("other", "da")
    assert patient == before
    assert checked(found)


def test_an_element_that_is_there_is_set_by_add(patient):
    added = operation("add", "Patient", name="birthDate", value={"valueDate": "1974-12-26"})

    found = fhir_patched(patient, patch(added))

    assert found["birthDate"] == "1974-12-26"
    assert "_birthDate" not in found


def test_extensions_of_a_primitive_go_with_it(patient):
    replaced = fhir_patched(
        patient, patch(operation("replace", "Patient.birthDate", value={"valueDate": "1974-12-26"}))
    )
    deleted = fhir_patched(patient, patch(operation("delete", "Patient.birthDate")))

    assert {"birthDate", "_birthDate"} & {*replaced} == {"birthDate"}
    assert not {"birthDate", "_birthDate"} & {*deleted}


def test_lists_are_added_to_begun_and_inserted_into(patient):
    link = [
        {"name": "other", "valueReference": {"reference": "Patient/2"}},
        {"name": "type", "valueCode": "seealso"},
    ]

    found = fhir_patched(
        patient,
        patch(
            operation("add", "Patient", name="identifier", value={"valueIdentifier": {"value": "2"}}),
            operation("add", "Patient", name="photo", value={"valueAttachment": {"title": "first"}}),
            operation("insert", "Patient.photo", index=0, value={"valueAttachment": {"title": "before"}}),
            operation("insert", "Patient.telecom", index=1, value={"valueContactPoint": {"rank": 2}}),
            operation("insert", "Patient.link", index=0, value=link),
        ),
    )

    assert [each.get("value") for each in found["identifier"]] == ["MRN-55017", "2"]
    assert [each["title"] for each in found["photo"]] == ["before", "first"]
    assert found["telecom"][1] == {"rank": 2}
    assert found["link"] == [{"other": {"reference": "Patient/2"}, "type": "seealso"}]
    assert checked(found)


def test_a_list_is_put_into_another_order(patient):
    found = fhir_patched(
        patient,
        patch(
            operation("add", "Patient.name[0]", name="given", value={"valueString": "Eva"}),
            operation("move", "Patient.name[0].given", source=2, destination=0),
        ),
    )

    assert found["name"][0]["given"] == ["Eva", "Anna", "Maria"]
    assert found["name"][0]["_given"][:2] == [None, None]
    assert "extension" in found["name"][0]["_given"][2]


def test_items_of_a_list_keep_their_extensions_beside_them(patient):
    given = "Patient.name[0].given"

    inserted = fhir_patched(patient, patch(operation("insert", given, index=0, value={"valueString": "Eva"})))
    replaced = fhir_patched(patient, patch(operation("replace", f"{given}[1]", value={"valueString": "Mia"})))
    deleted = fhir_patched(patient, patch(operation("delete", f"{given}[0]")))

    assert inserted["name"][0]["_given"] == [None, *patient["name"][0]["_given"]]
    assert replaced["name"][0]["given"] == ["Anna", "Mia"]
    assert "_given" not in replaced["name"][0]
    assert deleted["name"][0]["given"] == ["Maria"]
    assert deleted["name"][0]["_given"] == patient["name"][0]["_given"][1:]


def test_an_item_without_extensions_is_replaced_alone(patient):
    found = fhir_patched(
        patient, patch(operation("replace", "Patient.address[0].line[0]", value={"valueString": "Havn 1"}))
    )

    assert found["address"][0]["line"] == ["Havn 1"]


def test_a_primitive_that_has_only_extensions_is_an_element_too(patient):
    absent = {"extension": [{"url": "urn:x-why", "valueCode": "masked"}]}
    patient["name"][0]["given"], patient["name"][0]["_given"] = [None, "Maria"], [absent]
    patient["_gender"] = absent
    del patient["gender"]

    found = fhir_patched(
        patient,
        patch(
            operation("replace", "Patient.gender", value={"valueCode": "female"}),
            operation("replace", "Patient.name.given.first()", value={"valueString": "Anna"}),
        ),
    )

    assert found["gender"] == "female"
    assert "_gender" not in found
    assert found["name"][0]["given"] == ["Anna", "Maria"]


def test_value_x_is_meant_by_its_name_and_has_the_type_of_what_is_given(example):
    fact = example("observation-fact")
    quantity = {"valueQuantity": {"value": 3}}

    replaced = fhir_patched(fact, patch(operation("replace", "Observation.value", value=quantity)))
    by_full_name = fhir_patched(
        fact, patch(operation("replace", "Observation.valueString", value={"valueString": "New"}))
    )
    added = fhir_patched(fact, patch(operation("add", "Observation", name="value", value=quantity)))
    deleted = fhir_patched(fact, patch(operation("delete", "Observation.value")))

    assert [name for name in replaced if name.startswith("value")] == ["valueQuantity"]
    assert by_full_name["valueString"] == "New"
    assert added == replaced
    assert not [name for name in deleted if name.startswith("value")]


def test_an_element_without_a_type_of_value_is_given_by_its_parts(patient):
    parts = [
        {"name": "relationship", "valueCodeableConcept": {"text": "aunt"}},
        {"name": "relationship", "valueCodeableConcept": {"text": "friend"}},
        {"name": "name", "valueHumanName": {"family": "Holm"}},
        {"name": "telecom", "part": [{"name": "system", "valueCode": "phone"}, {"name": "value", "valueString": "1"}]},
    ]

    found = fhir_patched(patient, patch(operation("add", "Patient", name="contact", value=parts)))

    assert found["contact"][1] == {
        "relationship": [{"text": "aunt"}, {"text": "friend"}],
        "name": {"family": "Holm"},
        "telecom": [{"system": "phone", "value": "1"}],
    }


def test_a_resource_is_contained_by_add_and_reached_by_a_path(patient):
    given = {"resource": {"resourceType": "Organization", "id": "o", "name": "Ward"}}
    refers = operation("replace", "Patient.managingOrganization.reference", value={"valueString": "#o"})

    found = fhir_patched(
        patient,
        patch(
            operation("add", "Patient", name="contained", value=given),
            operation("replace", "Patient.contained[0].name", value={"valueString": "Clinic"}),
            refers,
        ),
    )

    assert found["contained"] == [{"resourceType": "Organization", "id": "o", "name": "Clinic"}]
    assert checked(found)


@pytest.mark.parametrize(
    "path",
    [
        "Patient.name[0].family",
        "Patient.name.first().family",
        "Patient.name.last().family",
        "Patient.name.family",
        "Patient.name.where(use = 'official').family",
        "Patient.name.where( use='official'  and family = 'Berg' ).family",
        "Patient.name.where(use='official')[0].family.last()",
    ],
)
def test_each_way_to_name_a_place_is_understood(patient, path: str):
    found = fhir_patched(patient, patch(operation("replace", path, value={"valueString": "Holm"})))

    assert found["name"][0]["family"] == "Holm"


def test_a_place_is_named_by_a_quoted_text_a_boolean_or_the_url_of_an_extension(patient):
    patient["name"][0]["text"] = r"O'Brien \ Berg"
    patient["extension"] = [{"url": "urn:a", "valueString": "1"}, {"url": "urn:b", "valueString": "2"}]

    found = fhir_patched(
        patient,
        patch(
            operation("delete", r"Patient.name.where(text = 'O\'Brien \\ Berg').family"),
            operation("delete", "Patient.communication.where(preferred = true).preferred"),
            operation("delete", "Patient.extension('urn:a')"),
            operation("replace", "Patient.identifier.where(type.coding.code = 'MR').value", value={"valueString": "x"}),
            operation("delete", "Patient.name.where(use = 'nickname')"),
            operation("delete", "Patient.maritalStatus.coding"),
            operation("delete", "Patient.photo"),
        ),
    )

    assert "family" not in found["name"][0]
    assert "preferred" not in found["communication"][0]
    assert [each["url"] for each in found["extension"]] == ["urn:b"]
    assert found["identifier"][0]["value"] == "x"


@pytest.mark.parametrize(
    "path",
    [
        "Patient.name.exists()",
        "Patient.name | Patient.telecom",
        "Patient.name.where(use != 'official')",
        "Patient.name.where(use = 'official' or use = 'usual')",
        "Patient.name[-1]",
        "Patient.name.",
        "Patient..name",
        "Patient.name where",
        "Patient.extension(urn:a)",
        "Patient" + ".contact" * 65,
    ],
)
def test_more_of_fhirpath_is_not_read(patient, path: str):
    with pytest.raises(NotSupported) as refused:
        fhir_patched(patient, patch(operation("delete", path)))

    assert refused.value.at == "Parameters.parameter[0]"


@pytest.mark.parametrize(
    "wrong",
    [
        operation("delete", "Encounter.status"),
        operation("delete", "'Patient'.name"),
        operation("delete", "Patient"),
        operation("delete", "Patient[0]"),
        operation("delete", "Patient.name[0].given"),
        operation("replace", "Patient.photo", value={"valueAttachment": {"title": "x"}}),
        operation("replace", "Patient.colour", value={"valueCode": "blue"}),
        operation("replace", "Patient.gender.coding", value={"valueCode": "blue"}),
        operation("replace", "Patient.name[0].given", value={"valueString": "x"}),
        operation("replace", "Patient.deceased", value={"valueString": "x"}),
        operation("add", "Patient", name="colour", value={"valueCode": "blue"}),
        operation("add", "Patient.gender", name="coding", value={"valueCode": "blue"}),
        operation("add", "Patient.photo", name="title", value={"valueString": "x"}),
        operation("add", "Patient", name="contained", value=[{"name": "id", "valueString": "x"}]),
        operation("add", "Patient", name="contact", value=[{"name": "colour", "valueCode": "blue"}]),
        operation("insert", "Patient.photo", index=1, value={"valueAttachment": {"title": "x"}}),
        operation("insert", "Patient.name", index=-1, value={"valueHumanName": {"text": "x"}}),
        operation("insert", "Patient.gender", index=0, value={"valueCode": "male"}),
        operation("insert", "Patient.name[0]", index=0, value={"valueHumanName": {"text": "x"}}),
        operation("insert", "Patient", index=0, value={"valueHumanName": {"text": "x"}}),
        operation("insert", "Patient.photo.extension", index=0, value={"valueString": "x"}),
        operation("move", "Patient.name", source=0, destination=1),
        operation("move", "Patient.name", source=-1, destination=0),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(patient, wrong: dict):
    fits = operation("delete", "Patient.photo")

    with pytest.raises(PatchFailed) as refused:
        fhir_patched(patient, patch(fits, wrong))

    assert (refused.value.status, refused.value.at) == (422, "Parameters.parameter[1]")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "operation", "part": [{"name": "path", "valueString": "Patient.name"}]},
        {"name": "change", "part": [{"name": "type", "valueCode": "delete"}]},
        {"name": "operation", "valueString": "delete"},
        operation("destroy", "Patient.name"),
        operation("delete"),
        operation("delete", path={"valueInteger": 1}),
        operation("replace", "Patient.gender"),
        operation("add", "Patient", value={"valueCode": "male"}),
        operation("insert", "Patient.name", value={"valueHumanName": {"text": "x"}}),
        operation("insert", "Patient.name", index={"valueBoolean": True}, value={"valueHumanName": {"text": "x"}}),
        operation("move", "Patient.name", source=0),
    ],
)  # fmt: skip
def test_what_is_no_operation_is_malformed(patient, wrong: dict):
    with pytest.raises(Malformed) as refused:
        fhir_patched(patient, patch(wrong))

    assert refused.value.at == "Parameters.parameter[0]"


@pytest.mark.parametrize("count", [0, 501])
def test_a_patch_has_some_operations_and_not_too_many(patient, count: int):
    parameters = patch(*[operation("delete", "Patient.photo")] * count)
    if not count:
        del parameters["parameter"]

    with pytest.raises(Malformed):
        fhir_patched(patient, parameters)


def test_what_is_not_parameters_is_malformed(patient):
    with pytest.raises(Malformed):
        fhir_patched(patient, patient)


def test_what_a_patch_leaves_is_read_like_a_body_that_was_sent(patient):
    first = operation("add", "Patient", name="extension", value=nested(10))
    deeper = operation("add", "Patient" + ".extension" * 11, name="extension", value=nested(13))
    deepest = operation("add", "Patient" + ".extension" * 25, name="extension", value=nested(13))
    beyond = operation("add", "Patient" + ".extension" * 39, name="extension", value=nested(13))
    far_beyond = operation("add", "Patient" + ".extension" * 53, name="extension", value=nested(13))

    fhir_patched(patient, patch(first, deeper, deepest))
    with pytest.raises(PatchFailed):
        fhir_patched(patient, patch(first, deeper, deepest, beyond, far_beyond))


def nested(levels: int) -> list[dict]:
    """Parts of an extension with an extension, and so on."""
    url = {"name": "url", "valueUri": "urn:x"}
    parts = [url, {"name": "value", "valueString": "x"}]
    for _ in range(levels):
        parts = [url, {"name": "extension", "part": parts}]
    return parts
