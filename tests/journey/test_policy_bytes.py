"""Bytes and words of a recording are for those who may read what they belong to."""

from __future__ import annotations

import pytest
from conftest import media, wav

from fhir_bridge.mapping.origin import result_id
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.token import Place, issue
from fhir_bridge.store import resources, results
from fhir_bridge.store.results import MediaKey, SegmentRow
from fhir_bridge.verbs.record import new_version


@pytest.fixture
def recording(ehr):
    return ehr.post("Media", media(ehr.encounter())).json


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/Binary.r system/Media.r", 200),
        ("system/*.r", 200),
        ("system/Binary.r", 403),
        ("system/Binary.r system/Media.s", 403),
        ("system/Media.r", 403),
        ("system/Binary.r system/Media.r?status=completed", 404),
        ("system/Binary.r system/Media.r?status=in-progress", 200),
    ],
)
def test_the_bytes_of_a_recording_take_the_right_to_read_its_media(new_ehr, recording, scope, status):
    assert recording["status"] == "in-progress"
    assert new_ehr(scope).get(recording["content"]["url"], Accept="audio/wav").status == status


@pytest.mark.parametrize(
    ("context", "scope", "status"),
    [
        (None, "system/Binary.r", 200),
        ("Patient/only-in-the-ehr", "system/Binary.r", 403),
        ("Patient/only-in-the-ehr", "system/Binary.r system/Patient.r", 200),
        ("Condition/only-in-the-ehr", "system/Binary.r", 200),
        ("https://elsewhere.example/Patient/1", "system/Binary.r", 200),
    ],
)
def test_an_uploaded_binary_belongs_to_its_security_context(ehr, new_ehr, context, scope, status):
    headers = {"Content-Type": "audio/wav"} | ({"X-Security-Context": context} if context else {})
    id_ = ehr.post("Binary", wav(), **headers).json["id"]
    assert new_ehr(scope).get(f"Binary/{id_}", Accept="audio/wav").status == status


@pytest.mark.parametrize("scope", ["system/Binary.r", "system/Binary.r system/Media.c system/Encounter.rs"])
def test_a_recording_is_not_listened_to_again_by_who_may_not_read_it(ehr, new_ehr, recording, scope):
    """Were it taken for a Media of their own, they would get its words."""
    visit = ehr.encounter()
    sent = media(visit, content={"contentType": "audio/wav", "url": recording["content"]["url"]})
    assert new_ehr(scope).post("Media", sent).status == 403
    limited = new_ehr("system/Binary.r system/Media.cr?status=completed system/Encounter.rs")
    refused = limited.post("Media", sent)
    assert (refused.status, refused.issue["code"]) == (422, "not-found")


def test_a_document_leads_to_the_words_of_its_own_recording_only(ehr, bridge, recording):
    """An EHR may edit a DocumentReference; naming another recording in it must not open that one's transcript."""
    of = MediaKey("default", recording["id"])
    own, other = result_id(recording["id"], "transcript"), "a-document-of-the-ehr"

    def fill(conn):
        results.add_segments(conn, of, [SegmentRow(1, 0, 0, 900, None, 0, "what the patient said")])
        document = {
            "resourceType": "DocumentReference",
            "status": "current",
            "content": [{"attachment": {"url": f"Binary/{own}.text"}}],
            "context": {"related": [{"reference": f"Media/{recording['id']}"}]},
        }
        resources.put(conn, "default", tuple(new_version({**document, "id": id_}) for id_ in (own, other)))

    bridge.store.write(fill)
    assert b"what the patient said" in ehr.get(f"Binary/{own}.text", Accept="text/plain").raw
    assert ehr.get(f"Binary/{other}.text", Accept="text/plain").status == 404


@pytest.mark.parametrize(
    ("patient", "scope", "status"),
    [
        ("p1", "patient/*.rs", 200),
        ("p1", "patient/Binary.r patient/Media.r", 200),
        ("p1", "patient/Binary.r patient/Media.s", 404),
        ("p1", "patient/Binary.r?_id=x patient/Media.r", 404),
        ("p2", "patient/*.rs", 404),
        (None, "patient/*.rs", 404),
        ("p1", "patient/Media.r", 403),
    ],
)
def test_the_app_of_a_patient_hears_the_recordings_of_that_patient(ehr, app, patient, scope, status):
    visit = ehr.encounter(subject={"reference": "Patient/p1"})
    recording = ehr.post("Media", media(visit, subject={"reference": "Patient/p1"})).json
    key = app.extensions["fhir-bridge-tokens"].keys()[0]
    place = Place("http://127.0.0.1:8080", "http://127.0.0.1:8080/fhir")
    token = issue(Grant("default", ehr.name, scope, patient=patient), key, place=place, seconds=300)
    asked = [{"request": {"method": "GET", "url": recording["content"]["url"], "ifNoneMatch": 'W/"1"'}}]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": asked}

    answer = ehr.get(recording["content"]["url"], Accept="audio/wav", Authorization=f"Bearer {token}")
    known = ehr.post("", bundle, Authorization=f"Bearer {token}").json["entry"][0]["response"]["status"]

    assert answer.status == status
    assert known.startswith("304" if status == 200 else str(status))


def test_words_take_the_right_to_read_binaries_too(new_ehr):
    assert new_ehr("system/DocumentReference.r").get("Binary/nothing.text").status == 403
    assert new_ehr("system/DocumentReference.r system/Binary.r").get("Binary/nothing.text").status == 404


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("system/*.rs", True),
        ("system/Binary.rs", False),
        ("system/Binary.rs system/Media.rs", False),
        ("system/*.rs?_lastUpdated=gt2020", False),
    ],
)
def test_which_binaries_there_are_is_for_whoever_may_read_all_they_belong_to(new_ehr, recording, scope, told):
    limited = new_ehr(scope)
    binary = recording["content"]["url"]
    assert limited.get(f"{binary}/_history").status == (200 if told else 404)
    assert bool(limited.get("Binary/_history").json.get("entry")) == told
    types = {one["resourceType"] for one in limited.get("_history").found}
    assert ("Binary" in types) == told
