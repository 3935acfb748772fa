from __future__ import annotations

import base64
import io
import json
import re
import wave
from typing import TYPE_CHECKING

import pytest
import yaml

from fhir_bridge.errors import BridgeError
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.openapi import document, scopes
from fhir_bridge.fhir.rest.openapi_parts import ERRORS, EXAMPLES, error_name, schema
from fhir_bridge.fhir.rest.served import SERVED

if TYPE_CHECKING:
    from collections.abc import Iterator


ONE = {
    "create": ("", "post"),
    "read": ("/{id}", "get"),
    "vread": ("/{id}/_history/{vid}", "get"),
    "update": ("/{id}", "put"),
    "patch": ("/{id}", "patch"),
    "delete": ("/{id}", "delete"),
    "search-type": ("", "get"),
    "history-instance": ("/{id}/_history", "get"),
    "history-type": ("/_history", "get"),
}
BOTH = ("get", "post")
MATCHING = {"update": "put", "patch": "patch", "delete": "delete"}


@pytest.fixture(scope="module")
def api() -> dict:
    return document("https://bridge")


def routes(api: dict) -> Iterator[tuple[str, str, dict]]:
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            yield path, method, route


# What belongs to one Patient, and to one Encounter.
MEMBERS = {
    "Patient": (
        "Encounter",
        "Patient",
        "Media",
        "Observation",
        "DocumentReference",
        "Task",
        "Provenance",
        "Composition",
    ),
    "Encounter": ("Encounter", "Media", "Observation", "DocumentReference", "Task", "Composition"),
}


def test_every_interaction_and_operation_has_its_route(api: dict):
    expected = {
        ("/fhir", "post"),
        *((f"/oauth/{name}", "post") for name in ("authorize", "token", "introspect", "revoke", "launch")),
        ("/oauth/authorize", "get"),
        ("/oauth/jwks", "get"),
        ("/fhir/_page/{id}", "get"),
        ("/fhir/_history", "get"),
        *((path, "get") for path in ("/fhir/metadata", "/fhir/.well-known/smart-configuration", "/metrics")),
        *((path, "get") for path in ("/health/live", "/health/ready")),
        ("/fhir/OperationDefinition/{id}", "get"),
        ("/fhir/Binary/{id}", "patch"),
        *(("/fhir/_async/{id}", method) for method in ("get", "delete")),
        ("/fhir/_async/{id}/{number}", "get"),
        *((f"/fhir{at}/$export", method) for at in ("", "/Patient") for method in BOTH),
        ("/fhir/Encounter/$explain", "post"),
        *((f"/fhir/{type_}/{{id}}/$everything", method) for type_ in ("Encounter", "Patient") for method in BOTH),
        *((f"/fhir/{type_}/{{id}}/$document", method) for type_ in ("Encounter", "Composition") for method in BOTH),
        *((f"/fhir/Media/{{id}}/${name}", "post") for name in ("retry", "cancel")),
        *((f"/fhir/{type_}/{{id}}/$erase", "post") for type_ in ("Encounter", "Patient")),
        *((f"/fhir/{row.type}{at}/$validate", "post") for row in SERVED for at in ("", "/{id}")),
        ("/fhir", "get"),
        ("/fhir/_search", "post"),
    }
    for name, members in MEMBERS.items():
        for member in (*members, "*"):
            path = f"/fhir/{name}/{{id}}/{member}"
            expected |= {(path, "get"), (f"{path}/_search", "post")}
    for row in SERVED:
        for interaction in row.interactions:
            tail, method = ONE[interaction]
            expected.add((f"/fhir/{row.type}{tail}", method))
        if "search-type" in row.interactions:
            expected.add((f"/fhir/{row.type}/_search", "post"))
            expected |= {(f"/fhir/{row.type}", MATCHING[each]) for each in row.interactions if each in MATCHING}

    assert {(path, method) for path, method, _ in routes(api)} == expected


def test_every_search_offers_every_parameter_of_its_type(api: dict):
    for row in SERVED:
        if "search-type" in row.interactions:
            offered = {param.get("name") for param in api["paths"][f"/fhir/{row.type}"]["get"]["parameters"]}
            assert {param.name for param in row.params} | {"_id", "_count", "_revinclude"} <= offered


def test_every_reference_within_the_document_leads_somewhere(api: dict):
    for found in set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(api))):
        part = api
        for step in found.split("/"):
            part = part[step]


def test_every_path_parameter_is_described_and_operation_ids_are_unique(api: dict):
    ids = [route["operationId"] for _, _, route in routes(api)]

    assert len(ids) == len(set(ids))
    for path, _, route in routes(api):
        described = any(
            "id" in (param.get("name"), param.get("$ref", "")[-2:]) for param in route.get("parameters", [])
        )
        assert described is ("{id}" in path), path


def test_every_status_an_error_can_have_is_described_with_an_example(api: dict):
    reached_by_no_declared_route = {405}
    at_corti_only = {502, 504}
    statuses = (
        {error.status for error in every_error(BridgeError) if error.__module__ == "fhir_bridge.errors"}
        - reached_by_no_declared_route
        - at_corti_only
    )

    assert statuses | {416} == set(ERRORS)
    for status in ERRORS:
        described = api["components"]["responses"][error_name(status)]
        checked(read(json.dumps(described["content"]["application/fhir+json"]["example"])))


def every_error(error: type[BridgeError]) -> Iterator[type[BridgeError]]:
    yield error
    for narrower in error.__subclasses__():
        yield from every_error(narrower)


def test_a_route_that_needs_a_token_says_which_scope_and_tells_of_401_and_403(api: dict):
    known = api["components"]["securitySchemes"]["smart"]["flows"]["clientCredentials"]
    assert known["tokenUrl"] == "https://bridge/oauth/token"
    for path, _, route in routes(api):
        if route["security"]:
            (scope,) = route["security"][0]["smart"]
            assert scope == "launch" or re.fullmatch(r"system/(\w+|\*)\.[cruds]+", scope)
            assert {"401", "403"} <= set(route["responses"]), path
        else:
            assert "403" not in route["responses"], path


def test_scopes_are_those_of_what_is_served():
    listed = scopes()

    assert "system/Encounter.cruds" in listed
    assert "system/Observation.cruds" in listed
    assert "system/Binary.crud" in listed
    assert "system/*.cruds" in listed


@pytest.mark.parametrize("type_", EXAMPLES)
def test_every_example_is_valid_and_names_no_person(type_: str):
    text = json.dumps(EXAMPLES[type_])

    checked(read(text))
    assert not re.search("Patient|Practitioner|name|birth", text)


def test_the_recording_in_the_examples_is_a_readable_wav_file():
    body = base64.b64decode(EXAMPLES["Media"]["content"]["data"])

    with wave.open(io.BytesIO(body)) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (1, 8000, 80)


def test_the_example_recording_belongs_to_the_example_visit():
    assert EXAMPLES["Media"]["encounter"]["identifier"] == EXAMPLES["Encounter"]["identifier"][0]


def test_a_schema_tells_types_cardinality_and_closed_codes(api: dict):
    encounter = api["components"]["schemas"]["Encounter"]

    assert encounter["required"] == ["resourceType", "status", "class"]
    assert "finished" in encounter["properties"]["status"]["enum"]
    assert encounter["properties"]["identifier"]["type"] == "array"
    assert encounter["properties"]["period"]["title"] == "Period"
    assert api["components"]["schemas"]["Patient"]["properties"]["active"] == {"type": "boolean"}
    assert api["components"]["schemas"]["Media"]["properties"]["frames"] == {"type": "integer"}


def test_an_answer_to_a_write_is_the_resource_or_what_prefer_wants_in_its_place(api: dict):
    for method, path, status in (("post", "", "201"), ("put", "/{id}", "200"), ("patch", "/{id}", "200")):
        told = api["paths"][f"/fhir/Encounter{path}"][method]["responses"][status]
        either = told["content"]["application/fhir+json"]["schema"]["anyOf"]
        assert [one["$ref"].rpartition("/")[2] for one in either] == ["Encounter", "OperationOutcome"]
        assert "Location" in told["headers"]


def test_summaries_put_the_right_article_before_a_type(api: dict):
    told = " ".join(route["summary"] for path in api["paths"].values() for route in path.values())
    assert not re.search(r"\ba [AEIO]|\ban [^aeiouAEIO]", told)
    assert "Replace an Encounter," in told
    assert "Delete a Media;" in told


def test_what_is_no_resource_has_no_schema():
    with pytest.raises(LookupError):
        schema("Recording")


def test_the_server_is_where_the_document_came_from(api: dict):
    assert api["servers"] == [{"url": "https://bridge"}]
    assert document()["servers"] == [{"url": "/"}]
    assert (
        document()["components"]["securitySchemes"]["smart"]["flows"]["clientCredentials"]["tokenUrl"] == "/oauth/token"
    )
    assert api["openapi"].startswith("3.1.")


def test_the_document_as_yaml_has_no_anchors_and_is_the_same(api: dict):
    text = yaml.safe_dump(api, sort_keys=False, allow_unicode=True)

    assert not re.search(r"[&*]id\d{3}", text)
    assert yaml.safe_load(text) == api
