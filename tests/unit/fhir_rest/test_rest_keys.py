from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.keys import SearchKey, keys_of, values_at
from fhir_bridge.fhir.rest.served import (
    BY_TYPE,
    ENCOUNTER_COMPARTMENT,
    IDENTIFIER,
    OF_TYPE,
    PATIENT_COMPARTMENT,
    SERVED,
    TEXT,
)

BASE = "https://bridge/fhir"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["2024-02", "Patient/1", "http://x/Patient/1/_history/2", "finished"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                "coding code system value reference identifier type start end text display unit name family".split()  # noqa: SIM905 - a list of words
            ),
            inner,
        )
    ),
    max_leaves=12,
)


def values(json: dict, param: int) -> set[str]:
    return {key.val for key in keys_of(json, base=BASE) if key.param == param}


def number(type_: str, name: str) -> int:
    param = BY_TYPE[type_].param(name)
    assert param is not None
    return param.number


ENCOUNTER = {
    "resourceType": "Encounter",
    "id": "e1",
    "meta": {
        "tag": [{"system": "urn:t", "code": "demo"}],
        "security": [{"code": "R"}],
        "profile": ["http://x/StructureDefinition/visit"],
    },
    "identifier": [
        {"system": "urn:visits", "value": "V|1", "type": {"coding": [{"system": "s", "code": "VN"}], "text": "Visit"}},
        {"value": "bare"},
    ],
    "status": "finished",
    "class": {"system": "urn:act", "code": "AMB", "display": "Ambulatory  Visit"},
    "type": [{"coding": [{"code": "1"}, {"system": "urn:x", "code": "2"}], "text": "Größe"}],
    "subject": {"reference": f"{BASE}/Patient/p1/_history/4", "identifier": {"system": "urn:mrn", "value": "77"}},
    "participant": [
        {"individual": {"reference": "Practitioner/d1"}},
        {"individual": {"reference": "https://other/fhir/Practitioner/d2"}},
        {"period": {"start": "2024"}},
    ],
    "period": {"start": "2024-01-01T10:00:00Z"},
    "length": {"value": Decimal("30.0"), "unit": "minutes", "system": "http://unitsofmeasure.org", "code": "min"},
}


def test_a_token_is_found_by_its_code_and_by_its_system_with_code():
    assert values(ENCOUNTER, number("Encounter", "class")) == {"AMB", "urn:act|AMB"}
    assert values(ENCOUNTER, number("Encounter", "type")) == {"1", "|1", "2", "urn:x|2"}
    assert values(ENCOUNTER, number("Encounter", "identifier")) == {"V\\|1", "urn:visits|V\\|1", "bare", "|bare"}


def test_a_code_is_found_with_the_system_of_its_element():
    assert values(ENCOUNTER, number("Encounter", "status")) == {
        "finished",
        "http://hl7.org/fhir/encounter-status|finished",
    }


def test_words_of_a_token_are_kept_for_text_searches():
    assert values(ENCOUNTER, number("Encounter", "class") + TEXT) == {"ambulatory visit"}
    assert values(ENCOUNTER, number("Encounter", "type") + TEXT) == {"grosse"}
    assert values(ENCOUNTER, number("Encounter", "identifier") + TEXT) == {"visit"}


def test_an_identifier_is_found_by_its_type_too():
    assert values(ENCOUNTER, number("Encounter", "identifier") + OF_TYPE) == {"s|VN|V\\|1"}


def test_a_reference_to_this_server_is_relative_and_unversioned_and_a_foreign_one_stays():
    assert values(ENCOUNTER, number("Encounter", "patient")) == {"Patient/p1"}
    assert values(ENCOUNTER, number("Encounter", "participant")) == {
        "Practitioner/d1",
        "https://other/fhir/Practitioner/d2",
    }


def test_a_reference_is_found_by_the_identifier_it_carries():
    assert values(ENCOUNTER, number("Encounter", "subject") + IDENTIFIER) == {"77", "urn:mrn|77"}


def test_a_group_is_no_patient():
    json = {"resourceType": "Encounter", "subject": {"reference": "Group/1", "type": "Group"}}

    assert values(json, number("Encounter", "patient")) == set()
    assert values(json, number("Encounter", "subject")) == {"Group/1"}


def test_the_type_written_beside_a_reference_decides_when_its_text_does_not():
    group = {"reference": "urn:uuid:1", "type": "Group", "identifier": {"value": "g"}}
    json = {"resourceType": "Encounter", "subject": group}

    assert values(json, number("Encounter", "patient")) == set()
    assert values(json, number("Encounter", "patient") + IDENTIFIER) == set()
    assert values(json, number("Encounter", "subject")) == {"urn:uuid:1"}


def test_an_open_period_has_no_end():
    keys = [key for key in keys_of(ENCOUNTER) if key.param == number("Encounter", "date")]

    assert keys == [SearchKey(number("Encounter", "date"), "20240101100000000000", encode.LATEST)]


@pytest.mark.parametrize(
    ("period", "low", "high"),
    [
        ({"end": "2024"}, encode.EARLIEST, "20241231235959999999"),
        ({"start": "2023", "end": "2024-01"}, "20230101000000000000", "20240131235959999999"),
        ({"start": "never", "end": "2024-01"}, encode.EARLIEST, "20240131235959999999"),
    ],
)
def test_a_period_is_one_range(period: dict, low: str, high: str):
    keys = keys_of({"resourceType": "Encounter", "period": period})

    assert [(key.val, key.high) for key in keys] == [(low, high)]


def test_a_period_without_dates_has_no_key():
    assert keys_of({"resourceType": "Encounter", "period": {"extension": []}}) == ()


def test_of_two_ranges_with_one_beginning_the_longer_one_counts():
    events = {"event": ["2024-01-01", "2024", "2024-01"]}

    keys = keys_of({"resourceType": "Observation", "effectiveTiming": events})

    assert [key.high for key in keys] == ["20241231235959999999"]


def test_a_quantity_is_found_without_its_unit_and_with_its_code_unit_or_system():
    thirty = encode.number(Decimal(30))

    assert values(ENCOUNTER, number("Encounter", "length")) == {
        "||" + thirty,
        "minutes||" + thirty,
        "min||" + thirty,
        "http://unitsofmeasure.org|min||" + thirty,
    }
    assert values({"resourceType": "Encounter", "length": {"value": 30}}, 108) == {"||" + thirty}


@pytest.mark.parametrize("length", [{"code": "min"}, "30", {"value": "30"}, {"value": True}])
def test_a_quantity_without_number_has_no_key(length: object):
    assert keys_of({"resourceType": "Encounter", "length": length}) == ()


def test_meta_is_searched_on_every_type():
    assert values(ENCOUNTER, 5) == {"demo", "urn:t|demo"}
    assert values(ENCOUNTER, 6) == {"R", "|R"}
    assert values(ENCOUNTER, 7) == {"http://x/StructureDefinition/visit"}


def test_a_name_is_found_by_every_part_folded_and_exactly():
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "Størmer", "given": ["Åse", "Li"], "text": ""}],
    }

    assert values(patient, number("Patient", "name")) == {"størmer", "ase", "li"}
    assert values(patient, number("Patient", "given")) == {"ase", "li"}
    assert values(patient, number("Patient", "given") + TEXT) == {"Åse", "Li"}


def test_a_resource_is_in_its_own_compartment_and_in_those_it_names():
    patient = {"resourceType": "Patient", "id": "p1", "link": [{"other": {"reference": "Patient/p2"}}]}
    media = {
        "resourceType": "Media",
        "id": "m",
        "subject": {"reference": "Patient/p1", "identifier": {"value": "7"}},
        "encounter": {"reference": "Encounter/e1"},
    }

    assert values(patient, PATIENT_COMPARTMENT) == {"Patient/p1", "Patient/p2"}
    assert values(media, PATIENT_COMPARTMENT) == {"Patient/p1"}
    assert values(media, PATIENT_COMPARTMENT + IDENTIFIER) == set()
    assert values(media, ENCOUNTER_COMPARTMENT) == {"Encounter/e1"}
    assert values(ENCOUNTER, ENCOUNTER_COMPARTMENT) == {"Encounter/e1"}
    assert values({"resourceType": "Patient"}, PATIENT_COMPARTMENT) == set()


def test_a_foreign_patient_of_the_same_id_is_another_compartment():
    media = {"resourceType": "Media", "subject": {"reference": "https://other/fhir/Patient/p1"}}

    assert values(media, PATIENT_COMPARTMENT) == {"https://other/fhir/Patient/p1"}


def test_a_boolean_is_a_token():
    json = {"resourceType": "Device", "type": [True, False]}

    assert values(json, number("Device", "type")) == {"true", "false"}


@pytest.mark.parametrize(
    ("element", "died"),
    [
        ({}, "false"),
        ({"deceasedBoolean": False}, "false"),
        ({"deceasedBoolean": True}, "true"),
        ({"deceasedDateTime": "2026-03"}, "true"),
    ],
)
def test_every_patient_is_dead_or_not(element: dict, died: str):
    assert values({"resourceType": "Patient", **element}, number("Patient", "deceased")) == {died}


@pytest.mark.parametrize("json", [{}, {"resourceType": "Claim", "id": "1"}, {"resourceType": 7}])
def test_what_is_not_served_has_no_keys(json: dict):
    assert keys_of(json) == ()


@pytest.mark.parametrize(
    "element",
    [
        {"identifier": [{"system": "urn:s"}, 7]},
        {"type": [{"coding": ["1", {"display": ""}]}]},
        {"subject": {"identifier": {"system": "urn:s"}, "display": "somebody"}},
        {"subject": "Patient/1"},
        {"meta": {"profile": [1, {}]}},
        {"period": 2024},
        {"period": "never"},
    ],
)
def test_an_element_that_says_nothing_has_no_key(element: dict):
    assert keys_of({"resourceType": "Encounter", **element}) == ()


def test_an_identifier_type_without_code_does_not_hide_the_value():
    json = {"resourceType": "Encounter", "identifier": [{"value": "v", "type": {"coding": [{"system": "s"}, "x"]}}]}

    assert {key.val for key in keys_of(json)} == {"v", "|v"}


def test_elements_are_found_in_every_repetition():
    json = {"a": [{"b": [1, 2]}, {"b": 3}, "x", {"c": 4}]}

    assert list(values_at(json, "a.b")) == [1, 2, 3]


@given(st.sampled_from(SERVED), st.data())
def test_keys_never_fail_and_always_fit_the_table(row, drawn):
    names = {path.split(".")[0] for param in row.params for path in param.paths} | {
        "meta",
        "link",
        "performer",
        "author",
    }
    json = drawn.draw(st.dictionaries(st.sampled_from(sorted(names)), JSON)) | {"resourceType": row.type}

    keys = keys_of(json, base=BASE)

    assert list(keys) == sorted(keys, key=lambda key: key[:2])
    assert len({key[:2] for key in keys}) == len(keys)
    for key in keys:
        assert 0 < key.param < 2**15
        assert len(key.val) <= 3 * encode.BOUND


def test_a_phone_number_is_found_as_one_and_not_as_an_email_address():
    sent = [{"system": "phone", "value": "555"}, {"system": "email", "value": "a@example.org"}, {"value": "9"}, "x"]
    patient = {"resourceType": "Patient", "telecom": sent, "address": [{"use": "home"}]}

    assert "555" in values(patient, number("Patient", "phone"))
    assert not values(patient, number("Patient", "phone")) & {"a@example.org", "9"}
    assert "a@example.org" in values(patient, number("Patient", "email"))
    assert "home" in values(patient, number("Patient", "address-use"))
    assert values({"resourceType": "Patient", "telecom": {"system": "phone"}}, number("Patient", "phone")) == set()


def test_a_pair_of_code_and_value_is_found_in_an_observation_and_in_its_components():
    pulse = {"code": {"coding": [{"code": "8867-4"}]}, "valueQuantity": {"value": Decimal(61)}}
    combo = number("Observation", "combo-code-value-quantity")

    whole = values({"resourceType": "Observation", **pulse}, combo)
    assert whole
    assert values({"resourceType": "Observation", "component": [pulse]}, combo) == whole


def test_an_identifier_whose_value_is_no_text_is_found_by_nothing():
    patient = {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:x", "value": 5}]}

    assert not [key for key in keys_of(patient, base=BASE) if key.param in {200, IDENTIFIER}]
