from __future__ import annotations

import re
import time
import uuid

import pytest
import requests
from conftest import config

from fhir_bridge.sandbox import numbers
from fhir_bridge.sandbox.shapes import FACT_GROUPS

Z = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FULL = {
    "assignedUserId": "0b0f4a52-7e5c-4b8f-9c77-2f4f6a3a0001",
    "encounter": {
        "identifier": "enc-7",
        "status": "in-progress",
        "type": "consultation",
        "period": {"startedAt": "2026-11-22T09:15:00+01:00"},
        "title": "Knee pain review",
    },
    "patient": {"identifier": "MRN-0001", "name": "Example Patient", "gender": "female", "birthDate": "1971-04-09"},
}


def test_an_interaction_is_created_read_patched_and_deleted(call):
    created = call("POST", "/interactions/", json=FULL)
    path = f"/interactions/{created.json()['interactionId']}"

    read = call("GET", path).json()
    patched = call(
        "PATCH",
        path,
        json={
            "encounter": {
                "status": "completed",
                "period": {"startedAt": "2026-11-22T08:15:00Z", "endedAt": "2026-11-22T08:45:00Z"},
            }
        },
    )
    empty = call("PATCH", path, json={})
    deleted = call("DELETE", path)

    assert created.status_code == 201
    assert "tenant-name=base" in created.json()["websocketUrl"]
    assert read["encounter"]["period"] == {"startedAt": "2026-11-22T08:15:00.000Z"}
    assert read["patient"] == FULL["patient"]
    assert Z.fullmatch(read["createdAt"])
    assert patched.json()["endedAt"] == "2026-11-22T08:45:00.000Z"
    assert patched.json()["encounter"]["title"] == "Knee pain review"
    assert empty.status_code == 200
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert call("GET", path).status_code == 404


@pytest.mark.parametrize("status", ["planned", "in-progress", "on-hold", "completed", "cancelled", "deleted"])
def test_every_status_is_taken(call, status):
    body = {"encounter": {"identifier": status, "status": status, "type": "emergency"}}

    assert call("POST", "/interactions/", json=body).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "encounter"),
        ({"encounter": {"identifier": "x", "status": "planned"}}, "encounter.type"),
        ({"encounter": {"identifier": "x", "status": "arrived", "type": "consultation"}}, "encounter.status"),
        ({"encounter": {"identifier": "", "status": "planned", "type": "consultation"}}, "encounter.identifier"),
        ({**FULL, "patient": {"name": "nobody"}}, "patient.identifier"),
        ({**FULL, "assignedUserId": "me"}, "assignedUserId"),
        (
            {**FULL, "encounter": {**FULL["encounter"], "period": {"startedAt": "2026-11-22T08:15:00"}}},
            "encounter.period.startedAt",
        ),
    ],
)
def test_a_body_without_its_shape_is_400_and_names_the_field(call, body, field):
    answer = call("POST", "/interactions/", json=body)

    assert answer.status_code == 400
    assert set(answer.json()) == {"requestid", "status", "type", "detail", "validationErrors"}
    assert answer.json()["validationErrors"][0]["field"] == field


def test_a_body_that_is_no_json_object_is_400(call):
    assert call("POST", "/interactions/", data=b"[1]").status_code == 400
    assert call("POST", "/interactions/", data=b"{").status_code == 400


def test_unknown_members_are_ignored_unless_switched(call, sandbox):
    body = {
        **FULL,
        "encounter": {
            **FULL["encounter"],
            "period": {"startedAt": "2026-11-22T08:15:00Z", "startedAtTzoffset": "+00:00"},
        },
    }

    assert call("POST", "/interactions/", json=body).status_code == 201
    sandbox.switches.unknown_fields_refused = True
    answer = call("POST", "/interactions/", json=body)

    assert answer.json()["validationErrors"] == [
        {"field": "encounter.period.startedAtTzoffset", "reason": "unknown field"}
    ]


def test_an_identifier_stays_reserved_after_delete(call, sandbox):
    first = call.create("enc-1")
    call("DELETE", f"/interactions/{first['interactionId']}")
    body = {"encounter": {"identifier": "enc-1", "status": "planned", "type": "consultation"}}

    assert call("POST", "/interactions/", json=body).status_code == 400
    for form in ("409", "500"):
        sandbox.switches.duplicate_identifier = form
        assert call("POST", "/interactions/", json=body).status_code == int(form)
    sandbox.switches.duplicate_identifier = "accept"
    assert call("POST", "/interactions/", json=body).status_code == 201


def test_an_id_that_is_no_uuid_is_400_an_unknown_one_404_and_an_unknown_path_403(call):
    assert call("GET", "/interactions/abc").status_code == 400
    assert call("GET", f"/interactions/{uuid.uuid4()}").status_code == 404
    assert call("GET", "/fact-groups/").status_code == 403
    assert call("DELETE", "/interactions/").status_code == 403


def test_a_collection_without_its_slash_is_redirected_with_307(call, sandbox):
    interaction = call.create()["interactionId"]
    for path in ("/interactions", f"/interactions/{interaction}/recordings", "/factgroups"):
        answer = call("GET", path)
        assert answer.status_code == 307
        assert answer.headers["Location"].endswith(f"{path}/")
    sandbox.switches.slash_redirect = False
    assert call("GET", "/interactions").status_code == 404


def test_another_clients_interaction_is_as_unknown_as_none(call, callers, sandbox):
    interaction = call.create()["interactionId"]
    other = callers(sandbox, tenant="elsewhere")

    assert other("GET", f"/interactions/{interaction}").status_code == 404
    assert other("GET", "/interactions/").json() == {"interactions": []}


def test_the_list_is_paged_sorted_and_filtered(call):
    for number in range(12):
        call.create(f"enc-{number:02}", patient={"identifier": f"P{number % 2}"})

    def identifiers(query):
        return [one["encounter"]["identifier"] for one in call("GET", f"/interactions/?{query}").json()["interactions"]]

    assert len(identifiers("")) == 10
    assert identifiers("index=2&direction=asc") == ["enc-10", "enc-11"]
    assert identifiers("index=3") == []
    assert identifiers("pageSize=1&direction=asc") == ["enc-00"]
    assert len(identifiers("patient=P1&pageSize=50")) == 6
    assert identifiers("encounterStatus=completed") == []
    for sort in ("id", "assignedUserId", "patient", "endedAt", "updatedAt"):
        assert len(identifiers(f"sort={sort}&pageSize=50")) == 12
    for bad in ("sort=colour", "direction=up", "pageSize=0", "index=x"):
        assert call("GET", f"/interactions/?{bad}").status_code == 400


def test_a_recording_comes_back_as_it_was_sent_and_its_delete_is_idempotent(call):
    base = f"/interactions/{call.create()['interactionId']}/recordings"
    wav = numbers.make_wav(4)

    answer = call("POST", f"{base}/", data=wav)
    recording = answer.json()["recordingId"]

    assert answer.status_code == 201
    assert call("GET", f"{base}/").json() == {"recordings": [recording]}
    assert call("GET", f"{base}/{recording}").content == wav
    assert call("POST", f"{base}/", data=b"").status_code == 400
    assert [call("DELETE", f"{base}/{recording}").status_code for _ in range(2)] == [204, 204]
    assert call("GET", f"{base}/{recording}").status_code == 404


def recorded(call, wav):
    base = f"/interactions/{call.create(str(uuid.uuid4()))['interactionId']}"
    recording = call("POST", f"{base}/recordings/", data=wav).json()["recordingId"]
    return f"{base}/transcripts", {"recordingId": recording, "primaryLanguage": "en"}


def test_a_transcript_of_a_recording_has_times_in_milliseconds(call):
    base, body = recorded(call, numbers.make_wav(8, first=100, channels=2))

    answer = call(
        "POST",
        f"{base}/",
        json={
            **body,
            "isMultichannel": True,
            "participants": [{"channel": 0, "role": "doctor"}],
            "replacements": [{"find": "100", "replace": "hundred"}],
        },
    )

    transcript = answer.json()
    listed = call("GET", f"{base}/?full=true").json()["transcripts"]
    assert answer.status_code == 201
    assert transcript["status"] == "completed"
    assert {one["text"] for one in transcript["transcripts"]} == {
        "hundred 101 102 103", "104 105 106 107", "10100 10101 10102 10103", "10104 10105 10106 10107",
    }  # fmt: skip
    assert max(one["end"] for one in transcript["transcripts"]) == pytest.approx(1930, abs=20)
    assert transcript["metadata"] == {"participantsRoles": [{"channel": 0, "role": "doctor"}]}
    assert listed[0]["transcript"]["transcripts"] == transcript["transcripts"]
    assert "transcript" not in call("GET", f"{base}/").json()["transcripts"][0]
    assert call("DELETE", f"{base}/{transcript['id']}").status_code == 204
    assert call("GET", f"{base}/{transcript['id']}").status_code == 404


def test_an_asynchronous_transcript_is_202_and_polled(call, sandbox):
    base, body = recorded(call, numbers.make_wav(8))
    sandbox.switches.transcript_polls = 2

    answer = call("POST", f"{base}/", json={**body, "async": True})
    path = f"{base}/{answer.json()['id']}"
    words = []
    while len(words) < 50 and words[-1:] != ["completed"]:
        words.append(call("GET", f"{path}/status").json()["status"])
        time.sleep(0.02)

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v2{path}"
    assert answer.json()["transcripts"] == []
    assert words[:2] == ["processing", "processing"]
    assert words[-1] == "completed"
    assert len(call("GET", path).json()["transcripts"]) == 2


def test_a_synchronous_transcript_that_takes_too_long_is_201_and_processing(call, sandbox):
    base, body = recorded(call, numbers.make_wav(400))
    sandbox.switches.sync_seconds = 0.0

    answer = call("POST", f"{base}/", json=body)

    assert answer.status_code == 201
    assert answer.json()["status"] == "processing"
    assert answer.headers["Location"].endswith(answer.json()["id"])


def test_transcripts_are_refused_where_corti_refuses_them(call):
    base, body = recorded(call, numbers.make_wav(4))
    noise, noise_body = recorded(call, b"not audio at all, but text")

    assert call("POST", f"{base}/", json={**body, "recordingId": str(uuid.uuid4())}).status_code == 404
    assert call("POST", f"{base}/", json={**body, "keyterms": {"terms": [{"term": "x" * 51}]}}).status_code == 400
    assert call("POST", f"{base}/", json={**body, "primaryLanguage": "tlh"}).status_code == 400
    assert call("POST", f"{noise}/", json=noise_body).status_code == 400
    both = {**body, "diarize": True, "participants": [{"channel": 0, "role": "doctor"}]}
    assert call("POST", f"{base}/", json=both).status_code == 400
    assert call("POST", f"{base}/", json={**both, "participants": []}).status_code == 201


def test_a_broken_recording_is_a_failed_transcript(call):
    base, body = recorded(call, b"fLaC" + b"\0" * 5000)

    assert call("POST", f"{base}/", json=body).json()["status"] == "failed"


@pytest.mark.parametrize(
    ("switch", "value", "check"),
    [
        ("transcript_null", True, lambda answer: answer.json()["transcripts"] is None),
        ("transcript_outcome", "failed", lambda answer: answer.json()["status"] == "failed"),
        ("transcript_unit", "s", lambda answer: answer.json()["transcripts"][0]["end"] == 1),
        ("visible_after", 60.0, lambda answer: answer.status_code == 404),
        ("credit", False, lambda answer: answer.status_code == 429),
    ],
)
def test_each_transcript_switch_changes_the_answer(call, sandbox, switch, value, check):
    base, body = recorded(call, numbers.make_wav(4))
    setattr(sandbox.switches, switch, value)

    assert check(call("POST", f"{base}/", json=body))


def test_facts_are_added_listed_and_patched(call):
    base = f"/interactions/{call.create()['interactionId']}/facts/"

    added = call(
        "POST",
        base,
        json={
            "facts": [
                {"text": "Penicillin", "group": "allergies", "source": "system"},
                {"text": "Knee", "group": "plan"},
            ]
        },
    )
    first, second = added.json()["facts"]
    batch = call("PATCH", base, json={"facts": [{"factId": first["id"], "isDiscarded": True}]})
    single = call("PATCH", f"{base}{second['id']}", json={"text": "Left knee", "group": "other", "source": "user"})

    assert added.status_code == 200
    assert set(first) == {"id", "text", "group", "groupId", "source", "isDiscarded", "updatedAt"}
    assert batch.json()["facts"][0]["isDiscarded"] is True
    assert (single.json()["text"], single.json()["group"]) == ("Left knee", "other")
    assert [one["text"] for one in call("GET", base).json()["facts"]] == ["Penicillin", "Left knee"]
    assert call("POST", base, json={"facts": []}).status_code == 400
    assert call("POST", base, json={"facts": [{"text": "x", "group": "medical-history"}]}).status_code == 404
    assert call("PATCH", f"{base}{uuid.uuid4()}", json={}).status_code == 404


def test_fact_groups_are_the_twenty_with_their_snake_case_member(call):
    groups = call("GET", "/factgroups/").json()["data"]

    assert tuple(one["key"] for one in groups) == FACT_GROUPS
    assert len(groups) == 20
    assert groups[0]["translations"][0]["languages_id"] == "en"


def test_languages_are_offered_by_endpoint(call):
    assert "da" in call("GET", "/languages/?endpoint=streams").json()["languages"]
    assert call("GET", "/languages/?endpoint=moon").status_code == 400


def test_facts_are_extracted_from_text(running, callers, tmp_path):
    script = tmp_path / "s.json"
    script.write_text("{}")
    call = callers(running(script=script))

    answer = call(
        "POST",
        "/tools/extract-facts",
        json={"context": [{"type": "text", "text": "I am allergic to nuts. Any fever? No."}], "outputLanguage": "en"},
    )

    assert [(one["group"], one["text"], one["value"]) for one in answer.json()["facts"]] == [
        ("allergies", "I am allergic to nuts.", "I am allergic to nuts."),
        ("denials-of-symptoms", "Any fever? No.", "Any fever? No."),
    ]
    assert answer.json()["usageInfo"]["creditsConsumed"] > 0
    empty = {"context": [{"type": "text", "text": ""}], "outputLanguage": "en"}
    assert call("POST", "/tools/extract-facts", json=empty).status_code == 400
    strange = {"context": [{"type": "text", "text": "x"}], "outputLanguage": "tlh"}
    assert call("POST", "/tools/extract-facts", json=strange).status_code == 400


def test_health_says_that_this_is_a_sandbox_and_who_listens(sandbox):
    health = requests.get(f"{sandbox.url}/health", timeout=5).json()

    assert health["sandbox"] is True
    assert health["recogniser"] == "numbers"
    assert "not for clinical use" in health["notice"]


def test_what_is_returned_says_that_a_sandbox_heard_it_and_with_which_ears(call):
    interaction = call.create()
    answer = call("GET", f"/interactions/{interaction['interactionId']}").json()
    talk = call.open(interaction)
    talk.tell(config())

    assert answer["sandbox"] == talk.next()["sandbox"] == {"heardBy": "numbers"}


def test_extra_members_are_there_unless_switched_off(call, sandbox):
    assert call.create("a")["sandbox"] == {"heardBy": "numbers"}
    sandbox.switches.extra_fields = False
    assert "sandbox" not in call.create("b")


def test_errors_speak_the_form_of_2025_when_switched(call, sandbox):
    sandbox.switches.error_form = "2025"
    sandbox.switches.missing_field_status = 500

    assert call("GET", f"/interactions/{uuid.uuid4()}").json()["id"] == "A0007"
    missing = call("POST", "/interactions/", json={"encounter": {"identifier": "x", "status": "planned"}})
    assert (missing.status_code, missing.json()["details"]) == (500, "unexpected error")
