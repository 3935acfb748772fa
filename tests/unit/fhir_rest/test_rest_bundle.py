from __future__ import annotations

import json

import pytest
from fhir.resources.R4B.bundle import Bundle

from fhir_bridge.errors import Issue
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read as strictly
from fhir_bridge.fhir.rest.bundle import (
    Done,
    Entry,
    Past,
    collection,
    document,
    history,
    searchset,
    transaction_response,
)
from fhir_bridge.fhir.rest.outcome import outcome

BASE = "https://bridge/fhir"
PATIENT = '{"resourceType":"Patient","id":"1"}'
DEVICE = '{"resourceType":"Device","id":"2"}'


def read(text: str) -> dict:
    found = json.loads(text)
    Bundle.model_validate(found)
    checked(strictly(text))
    return found


def test_a_searchset_holds_the_stored_text_as_it_is():
    body = '{"resourceType":"Patient","id":"1","extension":[{"url":"urn:x","valueDecimal":1.10}]}'

    text = searchset([Entry("Patient", "1", body)], base=BASE, links={"self": f"{BASE}/Patient?"}, total=1)

    assert body in text
    assert read(text) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": f"{BASE}/Patient?"}],
        "entry": [{"fullUrl": f"{BASE}/Patient/1", "resource": json.loads(body), "search": {"mode": "match"}}],
    }


def test_matches_includes_and_warnings_are_told_apart():
    warnings = outcome([Issue("not-supported", "foo is not a search parameter", severity="warning")])
    entries = [Entry("Patient", "1", PATIENT), Entry("Device", "2", DEVICE, mode="include")]

    found = read(searchset(entries, base=BASE + "/", links={"self": "s", "next": "n"}, outcome=warnings))

    assert [entry["search"]["mode"] for entry in found["entry"]] == ["match", "include", "outcome"]
    assert "fullUrl" not in found["entry"][2]
    assert "total" not in found
    assert [link["relation"] for link in found["link"]] == ["self", "next"]


def test_an_empty_result_has_no_entry_at_all():
    assert "entry" not in read(searchset([], base=BASE, links={"self": "s"}, total=0))


def test_a_base_with_signs_that_json_escapes_stays_readable():
    found = json.loads(searchset([Entry("Patient", "1", PATIENT)], base='https://a"b', links={}))

    assert found["entry"][0]["fullUrl"] == 'https://a"b/Patient/1'


def test_a_document_begins_with_its_composition_and_identifies_itself():
    subject = '"subject":{"reference":"Patient/1"},"author":[{"display":"x"}],"title":"Visit"'
    body = f'{{"resourceType":"Composition","status":"final","type":{{"text":"note"}},"date":"2026",{subject}}}'
    composition = ("urn:uuid:6f1c2d1e-0000-4000-8000-000000000001", body)
    own = "6f1c2d1e-0000-4000-8000-000000000002"

    found = read(document(composition, [Entry("Patient", "1", PATIENT)], base=BASE, id_=own, at="2026-11-22T08:15:00Z"))

    assert [entry["fullUrl"] for entry in found["entry"]] == [composition[0], f"{BASE}/Patient/1"]
    assert found["identifier"]["value"] == f"urn:uuid:{own}"
    assert found["timestamp"] == "2026-11-22T08:15:00Z"


def test_a_history_shows_each_version_with_its_request_and_deletions_without_resource():
    versions = [
        Past("Patient", "1", 3, "2026-11-22T08:15:02.000Z", "DELETE"),
        Past("Patient", "1", 2, "2026-11-22T08:15:01.000Z", "PUT", PATIENT),
        Past("Patient", "1", 1, "2026-11-22T08:15:00.000Z", "POST", PATIENT, is_new=True),
    ]

    found = read(history(versions, base=BASE, links={"self": "s"}, total=3))

    assert [entry["request"] for entry in found["entry"]] == [
        {"method": "DELETE", "url": "Patient/1"},
        {"method": "PUT", "url": "Patient/1"},
        {"method": "POST", "url": "Patient"},
    ]
    assert [entry["response"]["status"] for entry in found["entry"]] == ["204 No Content", "200 OK", "201 Created"]
    assert found["entry"][1]["response"]["etag"] == 'W/"2"'
    assert found["entry"][1]["response"]["lastModified"] == "2026-11-22T08:15:01.000Z"
    assert "resource" not in found["entry"][0]


def test_a_transaction_is_answered_entry_by_entry():
    results = [
        Done(201, "Patient/1/_history/1", 'W/"1"', "2026-11-22T08:15:00.000Z", PATIENT),
        Done(
            200, "Device/2/_history/1", outcome=outcome([Issue("informational", "As it was", severity="information")])
        ),
    ]

    found = read(transaction_response(results))

    assert found["type"] == "transaction-response"
    assert found["entry"][0] == {
        "resource": json.loads(PATIENT),
        "response": {
            "status": "201 Created",
            "location": "Patient/1/_history/1",
            "etag": 'W/"1"',
            "lastModified": "2026-11-22T08:15:00.000Z",
        },
    }
    assert found["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("type_", ["transaction-response", "batch-response"])
def test_an_empty_transaction_is_an_empty_answer(type_: str):
    assert read(transaction_response([], type_=type_)) == {"resourceType": "Bundle", "type": type_}


def test_a_collection_names_where_each_resource_lives():
    found = read(collection([Entry("Patient", "1", PATIENT), Entry("Device", "2", DEVICE)], base=BASE))

    assert found["type"] == "collection"
    assert [entry["fullUrl"] for entry in found["entry"]] == [f"{BASE}/Patient/1", f"{BASE}/Device/2"]
    assert "search" not in found["entry"][0]
