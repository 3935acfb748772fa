from __future__ import annotations

from dataclasses import replace

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.capability import OAUTH, capability, etag
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.fhir.rest.served import BY_TYPE, SERVED

BASE = "https://bridge/fhir"
URLS = {name: f"https://bridge/oauth/{name}" for name in OAUTH}


@pytest.fixture
def statement() -> dict:
    return capability(BASE, oauth=URLS)


def resources(statement: dict) -> dict[str, dict]:
    return {entry["type"]: entry for entry in statement["rest"][0]["resource"]}


def test_the_statement_is_valid_fhir_of_version_4_0_1(statement: dict):
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["kind"] == "instance"
    assert statement["implementation"]["url"] == BASE
    CapabilityStatement.model_validate(statement)
    checked(read(write(statement)))


def test_each_type_declares_exactly_what_is_served(statement: dict):
    found = resources(statement)

    assert list(found) == [*BY_TYPE, "OperationDefinition"]
    assert found["OperationDefinition"]["interaction"] == [{"code": "read"}]
    for row in SERVED:
        assert [one["code"] for one in found[row.type]["interaction"]] == list(row.interactions)
        assert found[row.type]["updateCreate"] is ("update" in row.interactions)
        assert found[row.type]["readHistory"] is ("vread" in row.interactions)
        assert found[row.type]["conditionalRead"] == "full-support"


def test_only_what_is_searched_is_written_by_criteria(statement: dict):
    patient, binary = resources(statement)["Patient"], resources(statement)["Binary"]
    by_criteria = ("conditionalCreate", "conditionalUpdate", "conditionalDelete")

    assert [patient[name] for name in by_criteria] == [True, True, "single"]
    assert [binary[name] for name in by_criteria] == [False, False, "not-supported"]


def test_every_declared_parameter_is_one_that_a_search_understands(statement: dict):
    sample = {"date": "2024", "quantity": "1", "composite": "a$2024"}
    for type_, entry in resources(statement).items():
        for param in entry.get("searchParam", []):
            parse(type_, [(param["name"], sample.get(param["type"], "1"))], strict=True)


def test_every_declared_include_is_one_that_a_search_understands(statement: dict):
    for type_, entry in resources(statement).items():
        for include in entry.get("searchInclude", []):
            assert parse(type_, [("_include", include)], strict=True).includes
        for include in entry.get("searchRevInclude", []):
            assert parse(type_, [("_revinclude", include)], strict=True).revincludes


def test_a_type_that_is_not_searched_declares_nothing_to_search_by(statement: dict):
    binary = resources(statement)["Binary"]

    assert not {"searchParam", "searchInclude", "searchRevInclude"} & set(binary)


def test_operations_are_declared_with_their_definition(statement: dict):
    declared = {
        operation["name"]: operation["definition"] for operation in resources(statement)["Encounter"]["operation"]
    }

    assert declared == {
        "explain": f"{BASE}/OperationDefinition/Encounter-explain",
        "everything": f"{BASE}/OperationDefinition/Encounter-everything",
        "document": f"{BASE}/OperationDefinition/Encounter-document",
        "erase": f"{BASE}/OperationDefinition/Encounter-erase",
        "validate": f"{BASE}/OperationDefinition/Resource-validate",
    }


def uris(statement: dict) -> dict[str, str]:
    (extension,) = statement["rest"][0]["security"]["extension"]
    return {part["url"]: part["valueUri"] for part in extension["extension"]}


def test_security_is_smart_and_tells_where_tokens_come_from(statement: dict):
    security = statement["rest"][0]["security"]

    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert security["cors"] is True
    assert uris(statement) == URLS
    assert URLS.keys() == {"authorize", "token", "introspect", "revoke"}


def test_patch_formats_are_told_as_soon_as_a_type_is_patched(statement: dict):
    kept = replace(BY_TYPE["Encounter"], interactions=("search-type",))

    told = capability(BASE, oauth=URLS, rows=(kept,))

    assert "patchFormat" not in told
    assert statement["patchFormat"] == ["application/json-patch+json", "application/fhir+json"]
    assert resources(told)["Encounter"]["conditionalRead"] == "not-supported"


def test_the_same_statement_has_the_same_etag_and_another_has_another():
    one, same, other = (write(capability(base, oauth=URLS)) for base in (BASE, BASE, "https://b/fhir"))

    assert one == same
    assert etag(one) == etag(same) != etag(other)
    assert etag(one).startswith('W/"')
