"""X-Provenance: where something comes from, stored with it (http://hl7.org/fhir/R4/provenance.html#header)."""

from __future__ import annotations

import json

import pytest
from conftest import example, media

SENT = {
    "resourceType": "Provenance",
    "agent": [{"who": {"reference": "Practitioner/dr-1", "display": "Dr Öz"}}],
}


def header(**changes):
    # As a client sends it: UTF-8, which WSGI shows as Latin-1.
    return {"X_Provenance": json.dumps(SENT | changes, ensure_ascii=False).encode().decode("latin-1")}


def test_a_create_stores_it_about_what_was_created(ehr):
    id_ = ehr.post("Patient", example("patient"), **header()).json["id"]

    found = ehr.get(f"Provenance?target=Patient/{id_}").found

    assert [one["target"] for one in found] == [[{"reference": f"Patient/{id_}"}]]
    assert found[0]["agent"] == SENT["agent"]
    assert found[0]["recorded"]


def test_a_time_that_was_sent_is_kept(ehr):
    ehr.put("Patient/p", example("patient", id="p"), **header(recorded="2026-01-02T03:04:05Z", id="mine"))

    found = ehr.get("Provenance?target=Patient/p").found

    assert found[0]["recorded"] == "2026-01-02T03:04:05Z"
    assert found[0]["id"] != "mine"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_update_stores_it_in_the_same_commit(ehr, method):
    ehr.put("Patient/p", example("patient", id="p"))
    patch = [{"op": "replace", "path": "/gender", "value": "other"}]
    body = example("patient", id="p", gender="other") if method == "PUT" else patch
    kind = {"Content_Type": "application/json-patch+json"} if method == "PATCH" else {}

    answer = ehr.call(method, "Patient/p", body, **header(), **kind)

    assert answer.status == 200
    assert answer.json["resourceType"] == "Patient"
    told = ehr.get("Provenance?target=Patient/p").found
    assert told[0]["meta"]["lastUpdated"] == answer.json["meta"]["lastUpdated"]


def test_a_recording_keeps_its_answer(ehr):
    visit = ehr.encounter()

    answer = ehr.post("Media", media(visit), **header())

    assert (answer.status, answer.json["resourceType"]) == (201, "Media")
    assert len(ehr.get(f"Provenance?target=Media/{answer.json['id']}").found) == 1


def test_a_transaction_stores_one_about_all_it_wrote(ehr):
    entries = [
        {"resource": example(name, id=name, identifier=None), "request": {"method": "PUT", "url": f"{type_}/{name}"}}
        for name, type_ in (("patient", "Patient"), ("organization", "Organization"))
    ]

    assert ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}, **header()).status == 200

    (told,) = ehr.get("Provenance").found
    assert {one["reference"] for one in told["target"]} == {"Patient/patient", "Organization/organization"}


def test_where_nothing_is_written_there_is_none(ehr):
    sent = example("encounter-ambulatory")
    ehr.post("Encounter", sent)

    assert ehr.post("Encounter", sent, **header()).status == 200
    assert ehr.post("Encounter", example("encounter-ambulatory", status="finished"), **header()).status == 409
    assert ehr.get("Provenance").found == []


@pytest.mark.parametrize(
    ("changes", "status", "code", "at"),
    [
        ({"target": [{"reference": "Patient/x"}]}, 400, "invalid", "Provenance.target"),
        ({"resourceType": "Patient"}, 400, "structure", "resourceType"),
        ({"agent": None}, 400, "structure", "Provenance.agent"),
        ({"agent": [{"who": {"reference": "Encounter/x"}}]}, 400, "value", "Provenance.agent[0].who"),
        ({"colour": "blue"}, 400, "structure", "Provenance.colour"),
    ],
)
def test_one_that_is_wrong_is_refused_and_nothing_is_written(ehr, changes, status, code, at):
    answer = ehr.put("Patient/p", example("patient", id="p"), **header(**changes))

    assert (answer.status, answer.issue["code"], answer.issue["expression"]) == (status, code, [at])
    assert b"blue" not in answer.raw
    assert ehr.get("Patient/p").status == 404


def test_one_that_is_no_json_is_refused(ehr):
    assert ehr.put("Patient/p", example("patient", id="p"), X_Provenance="{").status == 400


def test_it_takes_the_right_to_create_provenance(new_ehr):
    weak = new_ehr("system/Patient.cruds")

    answer = weak.put("Patient/p", example("patient", id="p"), **header())

    assert (answer.status, answer.issue["code"]) == (403, "forbidden")
    assert "Provenance.c" in answer.headers["WWW-Authenticate"]
    assert weak.get("Patient/p").status == 404
    assert weak.put("Patient/p", example("patient", id="p")).status == 201
