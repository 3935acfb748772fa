"""Bytes and words of a recording are for those who may read what they belong to."""

from __future__ import annotations

import pytest
from conftest import media, wav

from fhir_bridge.mapping.origin import result_id
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
