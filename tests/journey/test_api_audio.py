"""Recordings come in: inline, uploaded before, in a transaction; and what is wrong with some of them."""

import base64
import hashlib

import pytest
from conftest import example, media, wav

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.store import jobs

URN = "urn:uuid:11111111-1111-4111-8111-111111111111"


def blobs(settings) -> list[str]:
    return [path.name for path in (settings.data_dir / "audio").rglob("*") if path.is_file()]


def test_inline_audio_becomes_a_binary_and_the_rest_is_given_back_as_sent(ehr):
    encounter, audio = ehr.encounter(), wav()
    sent = media(encounter, audio, note=[{"text": "second visit"}])

    answer = ehr.post("Media", sent)

    got = answer.json
    assert answer.status == 201
    assert got["status"] == "in-progress"
    assert got["note"] == sent["note"]
    assert got["content"].pop("url").startswith("Binary/")
    digest = base64.b64encode(hashlib.sha1(audio, usedforsecurity=False).digest()).decode()
    assert got["content"] == {"contentType": "audio/wav", "size": len(audio), "hash": digest}


def test_the_audio_is_read_back_raw_in_parts_and_in_fhirs_form(ehr):
    audio = wav()
    url = ehr.post("Media", media(ehr.encounter(), audio)).json["content"]["url"]

    raw = ehr.get(url, Accept="*/*")
    part = ehr.get(url, Range="bytes=44-53")
    fhir = ehr.get(url, Accept="application/fhir+json").json

    assert (raw.raw, raw.headers["Content-Type"]) == (audio, "audio/wav")
    assert (part.status, part.raw) == (206, audio[44:54])
    assert base64.b64decode(fhir["data"]) == audio
    assert fhir["resourceType"] == "Binary"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_another_resource_sent_as_a_binary_is_its_content(ehr, method):
    path = "Binary" if method == "POST" else "Binary/kept-as-sent"
    sent = b' { "resourceType" : "Group", "type": "person" ,  "actual": true }'

    made = ehr.call(method, path, sent, Content_Type="application/fhir+json")
    fhir = ehr.get(f"Binary/{made.json['id']}", Accept="application/fhir+json").json

    assert made.status == 201
    assert fhir["contentType"] == "application/fhir+json"
    assert base64.b64decode(fhir["data"]) == sent


def test_the_name_of_a_file_beside_a_binary_is_no_condition(ehr):
    assert ehr.post("Binary?_filename=visit.wav", wav(), Content_Type="audio/wav").status == 201


def test_audio_lies_encrypted_on_the_disk(ehr, web_settings):
    audio = wav()
    ehr.post("Media", media(ehr.encounter(), audio))

    for path in (web_settings.data_dir / "audio").rglob("*"):
        assert not path.is_file() or audio[100:200] not in path.read_bytes()


def test_the_same_recording_sent_again_is_the_same_media_and_is_kept_once(ehr, web_settings):
    sent = media(ehr.encounter())

    first, second = ehr.post("Media", sent), ehr.post("Media", sent)

    assert (first.status, second.status) == (201, 200)
    assert first.json == second.json
    assert len(blobs(web_settings)) == 1


def test_the_same_recording_with_another_identifier_is_another_media(ehr):
    encounter = ehr.encounter()
    first = ehr.create(media(encounter))
    assert ehr.create(media(encounter, identifier=[{"value": "take-2"}])) != first


def test_the_same_recording_described_otherwise_is_refused(ehr):
    encounter = ehr.encounter()
    ehr.create(media(encounter))

    answer = ehr.post("Media", media(encounter, deviceName="another microphone"))

    assert (answer.status, answer.issue["code"]) == (409, "duplicate")


def test_an_uploaded_binary_is_named_by_a_media(ehr):
    audio = wav()
    uploaded = ehr.post("Binary", audio, Content_Type="audio/wav")
    binary = uploaded.json["id"]

    answer = ehr.post("Media", media(ehr.encounter()) | {"content": {"url": f"Binary/{binary}"}})

    assert (uploaded.status, answer.status) == (201, 201)
    assert answer.json["content"]["url"] == f"Binary/{binary}"
    assert answer.json["content"]["size"] == len(audio)


def test_an_absolute_url_of_this_server_names_its_binary(ehr):
    binary = ehr.post("Binary", wav(), Content_Type="audio/wav").json["id"]
    url = f"http://127.0.0.1:8080/fhir/Binary/{binary}"
    assert ehr.post("Media", media(ehr.encounter()) | {"content": {"url": url}}).status == 201


def test_a_binary_in_fhirs_form_keeps_its_content(ehr):
    sent = {"resourceType": "Binary", "contentType": "text/x-thing", "data": base64.b64encode(b"hello").decode()}
    id_ = ehr.create(sent)

    answer = ehr.get(f"Binary/{id_}")

    assert (answer.raw, answer.headers["Content-Type"]) == (b"hello", "text/x-thing")
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_binary_is_put_under_the_ehrs_id_and_its_content_does_not_change(ehr):
    first = ehr.put("Binary/rec-1", b"words", Content_Type="text/plain", X_Security_Context="Encounter/e1")

    assert first.status == 201
    assert first.json["securityContext"] == {"reference": "Encounter/e1"}
    assert ehr.put("Binary/rec-1", b"words", Content_Type="text/plain").status == 200
    assert ehr.put("Binary/rec-1", b"other", Content_Type="text/plain").status == 422
    sent = {"resourceType": "Binary", "id": "rec-1", "contentType": "text/plain", "data": "d29yZHM="}
    assert ehr.put("Binary/rec-1", sent).status == 200


def test_encounter_and_recording_come_in_one_transaction(ehr, bridge):
    entries = [
        {
            "resource": media("x", encounter={"reference": URN}),
            "request": {"method": "POST", "url": "Media"},
        },
        {
            "fullUrl": URN,
            "resource": example("encounter-ambulatory"),
            "request": {"method": "POST", "url": "Encounter"},
        },
    ]
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    answer = ehr.post("", sent)
    again = ehr.post("", sent)

    recording, encounter = answer.found
    assert [entry["response"]["status"] for entry in answer.json["entry"]] == ["201 Created", "201 Created"]
    assert recording["encounter"] == {"reference": f"Encounter/{encounter['id']}"}
    assert again.ids == answer.ids
    assert [entry["response"]["status"] for entry in again.json["entry"]] == ["200 OK", "200 OK"]
    found = bridge.store.read(lambda conn: jobs.of_encounter(conn, "default", encounter["id"]))
    assert [job.kind for job in found] == ["interaction", "media"]


SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9999 RTP/AVP 0\n"


@pytest.mark.parametrize(
    ("audio", "declared"),
    [
        (b"not audio at all, just words", "audio/wav"),
        (SDP, "audio/wav"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"\0" * 500, None),
    ],
)
def test_what_is_no_audio_is_refused_at_once(ehr, web_settings, audio, declared):
    content = {"data": base64.b64encode(audio).decode()} | ({"contentType": declared} if declared else {})

    answer = ehr.post("Media", media(ehr.encounter()) | {"content": content})

    assert (answer.status, answer.issue["code"]) == (422, "value")
    assert answer.issue["expression"] == ["Media.content.data"]
    assert blobs(web_settings) == []


@pytest.mark.parametrize(
    ("change", "status", "code", "at"),
    [
        ({"content": {"contentType": "audio/mpeg", "data": "WAV"}}, 422, "value", "Media.content.contentType"),
        ({"content": {"contentType": "audio/wav"}}, 422, "business-rule", "Media.content.url"),
        ({"content": {"url": "https://elsewhere.example/a.wav"}}, 422, "business-rule", "Media.content.url"),
        ({"content": {"url": "Binary/none"}}, 422, "not-found", "Media.content.url"),
        ({"content": {"data": "@@@@"}}, 400, "value", "Media.content.data"),
        ({"content": {"data": ""}}, 400, "structure", "Media.content.data"),
        ({"encounter": None}, 422, "business-rule", "Media.encounter"),
        ({"encounter": {"reference": "Encounter/none"}}, 422, "not-found", "Media.encounter"),
        ({"encounter": {"identifier": {"value": "none"}}}, 422, "not-found", "Media.encounter"),
        ({"encounter": {"display": "that one"}}, 422, "not-found", "Media.encounter"),
        ({"status": "final"}, 400, "code-invalid", "Media.status"),
        (
            {"extension": [{"url": "urn:x-fhir-bridge:transport", "valueCode": "pigeon"}]},
            422,
            "not-supported",
            "Media.extension[0]",
        ),
    ],
)
def test_a_media_that_cannot_be_says_which_element(ehr, change, status, code, at):
    sent = media(ehr.encounter()) | change
    if sent["content"].get("data") == "WAV":
        sent["content"]["data"] = base64.b64encode(wav()).decode()

    answer = ehr.post("Media", {name: value for name, value in sent.items() if value is not None})

    assert (answer.status, answer.issue["code"], answer.issue.get("expression")) == (status, code, [at])


def test_a_media_names_its_encounter_by_identifier(ehr):
    ehr.create(example("encounter-ambulatory", identifier=[{"system": "urn:visits", "value": "7"}]))
    reference = {"identifier": {"system": "urn:visits", "value": "7"}}
    assert ehr.post("Media", media("x", encounter=reference)).status == 201
    assert ehr.post("Media", media("x", wav(0.3), encounter={"identifier": {"value": "7"}})).status == 201


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_an_encounter_that_never_was_takes_no_recording(ehr, status):
    answer = ehr.post("Media", media(ehr.encounter(status=status)))
    assert (answer.status, answer.issue["code"]) == (422, "business-rule")


def test_a_finished_encounter_takes_recordings(ehr):
    assert ehr.post("Media", media(ehr.encounter(status="finished"))).status == 201


def test_media_for_another_tenants_encounter_is_refused_like_an_unknown_one(ehr, other_ehr):
    foreign, unknown = media(other_ehr.encounter()), media("nobody")

    answers = [ehr.post("Media", sent) for sent in (foreign, unknown)]

    assert [answer.status for answer in answers] == [422, 422]
    assert answers[0].issue["details"] == answers[1].issue["details"]


def test_the_recording_of_a_media_stays_and_its_description_may_change(ehr):
    encounter = ehr.encounter()
    made = ehr.post("Media", media(encounter)).json

    described = ehr.put(f"Media/{made['id']}", made | {"deviceName": "desk microphone", "status": "completed"})
    other_audio = ehr.put(f"Media/{made['id']}", media(encounter, id=made["id"]))
    moved = ehr.put(f"Media/{made['id']}", made | {"encounter": {"reference": f"Encounter/{ehr.encounter()}"}})

    assert described.json["deviceName"] == "desk microphone"
    assert described.json["status"] == "in-progress"
    assert described.json["content"] == made["content"]
    assert (other_audio.status, moved.status) == (422, 422)


@pytest.mark.parametrize("body", [b"", b" "])
def test_an_empty_body_is_refused(ehr, body):
    assert ehr.post("Media", body, Content_Type="application/fhir+json").status == 400
    assert ehr.post("Binary", b"", Content_Type="audio/wav").status == 400


@pytest.fixture
def strict_limits(web_settings):
    limits = {"max_inline_audio_bytes": 1000, "max_binary_bytes": 1000, "max_json_bytes": 3000}
    return web_settings.model_copy(update=limits)


def test_bodies_over_their_limit_are_refused_and_leave_nothing(ehr, strict_limits, web_settings):
    encounter, token = ehr.encounter(), ehr.token
    small = create_app(strict_limits)
    ehr.http = small.test_client()
    assert token

    inline = ehr.post("Media", media(encounter))
    raw = ehr.post("Binary", bytes(1001), Content_Type="audio/wav")
    long = ehr.post("Patient", example("patient", name=[{"text": "x" * 3000}]))

    assert [(each.status, each.issue["code"]) for each in (inline, raw, long)] == [(413, "too-long")] * 3
    assert inline.issue["expression"] == ["Media.content.data"]
    assert blobs(web_settings) == []
    small.extensions["fhir-bridge"].store.close()


def test_below_the_disk_watermark_nothing_new_is_accepted(ehr, web_settings):
    assert ehr.token
    full = create_app(web_settings.model_copy(update={"min_free_bytes": 2**62}))
    ehr.http = full.test_client()

    answer = ehr.post("Patient", example("patient"))
    ready = ehr.http.get("/health/ready")

    assert (answer.status, answer.issue["code"], answer.headers["Retry-After"]) == (507, "no-store", "60")
    assert (ready.status_code, ready.json["checks"]["disk"]) == (503, "down")
    full.extensions["fhir-bridge"].store.close()


def test_recordings_posted_at_the_same_time_are_one_each(ehr, bridge):
    encounter = ehr.encounter()
    made = {ehr.create(media(encounter, wav(0.1, pitch=pitch))) for pitch in (5.0, 6.0, 7.0)}
    found = bridge.store.read(lambda conn: jobs.of_encounter(conn, "default", encounter))
    assert {job.media for job in found if job.media} == made
    assert clock.now().timestamp() * 1000 >= found[-1].created_ms
