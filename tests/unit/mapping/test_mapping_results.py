from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping_examples import LOINC, encounter, media

from fhir_bridge.corti.messages import Evidence, Fact, Participant, Segment
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.mapping.device import bridge_device, corti_device
from fhir_bridge.mapping.observation import observation_from_fact
from fhir_bridge.mapping.origin import Origin, origin_of, subject_of
from fhir_bridge.mapping.provenance import provenance_of_result
from fhir_bridge.mapping.segments import in_order, json_of_segments, speaker_of, text_of, vtt_of
from fhir_bridge.mapping.tables_results import FACT_GROUPS
from fhir_bridge.mapping.times import moment_of, text_of_time, zone_of
from fhir_bridge.mapping.transcript import document_from_transcript

AT = "2026-11-22T08:20:00.000Z"
URLS = {"text": "http://x/t.txt", "vtt": "http://x/t.vtt", "segments": "http://x/t.json"}
PATIENT = {"reference": "Patient/p1"}


def origin(*, visit=None, **changes):
    recording = media(createdDateTime="2026-11-22T08:15:00+01:00", **changes)
    return origin_of(recording, visit or encounter(subject=PATIENT), interaction="i-1", language="en")


def observation(fact=None, of=None, **changes):
    result = observation_from_fact(fact or Fact("f1", "Cough", "plan"), of or origin(), at=AT, **changes)
    assert checked(result.value) == result.value
    model_of(result.value)
    return result


def document(segments=(), of=None, *, complete=True, seconds=None):
    result = document_from_transcript(segments, of or origin(), at=AT, urls=URLS, complete=complete, seconds=seconds)
    assert checked(result.value) == result.value
    model_of(result.value)
    return result


def warned(result):
    return [(one.at, one.code) for one in result.warnings]


# --- facts -------------------------------------------------------------------------------


@pytest.mark.parametrize("row", FACT_GROUPS.values(), ids=lambda row: row.key)
def test_each_fact_group_has_its_own_code_and_its_loinc_code_where_one_is_certain(row):
    result = observation(Fact("f1", "Cough", row.key))

    codings = {one["system"]: one["code"] for one in result.value["code"]["coding"]}
    assert codings.pop("urn:x-fhir-bridge:fact-group") == row.key
    assert codings == ({LOINC: row.loinc} if row.loinc else {})
    categories = [one["coding"][0]["code"] for one in result.value["category"]]
    assert categories == ([row.category] if row.category else []) + ["ambient-fact"]
    assert result.warnings == ()


def test_all_twenty_groups_are_known():
    assert len(FACT_GROUPS) == 20
    assert {key for key, row in FACT_GROUPS.items() if row.loinc is None} == {
        "demographics",
        "concerns-and-expectations",
        "actions",
        "other",
    }


@pytest.mark.parametrize(("group", "code"), [("medical-history", "medical-history"), ("", "other"), (" a  b ", "a b")])
def test_an_unknown_group_keeps_its_key_and_is_reported(group, code):
    result = observation(Fact("f1", "Cough", group))

    assert [one["code"] for one in result.value["code"]["coding"]] == [code]
    assert warned(result) == [("Observation.code", "code-invalid")]


def test_a_fact_is_an_observation_with_all_that_corti_said():
    evidence = (Evidence("transcript", "s-1", "I have a cough"), Evidence("", "", " "))
    fact = Fact("f1", "Cough for two weeks", "history-of-present-illness", evidence=evidence)

    value = observation(fact, offset=12.3456).value

    assert UUID(value["id"]).version == 5
    assert value["status"] == "preliminary"
    assert value["valueString"] == "Cough for two weeks"
    assert value["effectiveDateTime"] == "2026-11-22T08:15:12.346+01:00"
    assert value["issued"] == AT
    assert value["identifier"] == [{"system": "urn:x-fhir-bridge:fact-id", "value": "f1"}]
    assert value["subject"] == PATIENT
    assert value["encounter"] == {"reference": "Encounter/e1"}
    assert value["device"] == {"reference": "Device/corti-ambient"}
    document_id = document().value["id"]
    assert value["derivedFrom"] == [{"reference": "Media/m1"}, {"reference": f"DocumentReference/{document_id}"}]
    assert [one["code"] for one in value["meta"]["security"]] == ["AIAST"]
    assert value["extension"] == [
        {
            "url": "urn:x-fhir-bridge:evidence",
            "extension": [
                {"url": "type", "valueString": "transcript"},
                {"url": "reference", "valueString": "s-1"},
                {"url": "quote", "valueString": "I have a cough"},
            ],
        },
        {"url": "urn:x-fhir-bridge:fact-source", "valueCode": "core"},
    ]


def test_a_discarded_fact_is_withdrawn_not_lost():
    assert observation(Fact("f1", "Cough", "plan", discarded=True)).value["status"] == "entered-in-error"


def test_a_fact_sent_again_under_another_id_stays_one_observation_with_both():
    first, again = observation(Fact("f1", "Cough", "plan")), Fact("f2", "Cough", "plan")

    value = observation(again, known_as=("f1", "f2")).value

    assert value["id"] == first.value["id"]
    assert [one["value"] for one in value["identifier"]] == ["f1", "f2"]
    assert observation(again).value["id"] != first.value["id"]


def test_a_fact_without_words_says_so():
    result = observation(Fact("f1", " \x00", "plan", source=""))

    assert "valueString" not in result.value
    assert result.value["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert "extension" not in result.value
    assert warned(result) == [("Observation.value", "incomplete")]


@pytest.mark.parametrize(
    ("created", "started", "said", "offset", "effective"),
    [
        ("2026-11-22T08:15:00Z", "2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z", 5, "2026-11-22T08:15:05Z"),
        ("2026-11-22T08:15:00Z", None, None, None, "2026-11-22T08:15:00Z"),
        ("2026-11", None, None, 5, "2026-11"),
        (None, "2026-11-22", "2026-11-22T09:00:00Z", 5, "2026-11-22"),
        (None, "2026-11-22T08:00:00+01:00", None, None, "2026-11-22T08:00:00+01:00"),
        (None, None, "2026-11-22T09:00:00+01:00", None, "2026-11-22T08:00:00Z"),
        (None, None, "2026-11-22T09:00:00", None, "2026-11-22T09:00:00Z"),
        (None, None, "just now", None, None),
        (None, None, None, None, None),
    ],
)
def test_the_time_of_a_fact_is_the_recording_s_else_the_encounter_s_else_corti_s(
    created, started, said, offset, effective
):
    recording = media(createdDateTime=created) if created else media()
    visit = encounter(period={"start": started} if started else None)

    result = observation(Fact("f1", "x", "plan", created_at=said), origin_of(recording, visit), offset=offset)

    assert result.value.get("effectiveDateTime") == effective
    assert warned(result) == ([] if effective else [("Observation.effective", "incomplete")])


ids = st.text(min_size=1)


@given(
    st.builds(
        Fact,
        id=ids,
        text=st.text(),
        group=st.text() | st.sampled_from(sorted(FACT_GROUPS)),
        discarded=st.booleans(),
        source=st.text(),
        created_at=st.none() | st.text() | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat()),
        evidence=st.lists(st.builds(Evidence, st.text(), st.text(), st.text()), max_size=3).map(tuple),
    ),
    st.none() | st.floats(0, 86_400),
)
def test_whatever_corti_says_is_a_valid_observation(fact, offset):
    observation(fact, offset=offset)
    observation(fact, Origin("m1", "e1"), offset=offset)


# --- where results come from -------------------------------------------------------------


def subject(recording=None, **visit):
    return subject_of(encounter(**visit), recording)


def test_the_subject_is_the_encounter_s_patient_else_the_media_s():
    theirs = media(subject={"reference": "Patient/p2"})

    assert subject(theirs, subject=PATIENT) == PATIENT
    assert subject(theirs) == {"reference": "Patient/p2"}
    assert subject(media(subject={"type": "Patient", "display": "A"})) == {"type": "Patient", "display": "A"}
    assert subject(media(subject={"reference": "Location/l1"})) is None
    assert subject() is None


def test_a_contained_patient_is_named_where_it_is_not_contained():
    inside = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:x", "value": "7"}]}
    named = {"identifier": {"system": "urn:x", "value": "7"}, "display": "Anna"}

    assert subject(subject={"reference": "#p", "display": "Anna"}, contained=[inside]) == named
    kept = {"reference": "#p", "identifier": {"value": "8"}}
    assert subject(subject=kept, contained=[inside]) == {"identifier": {"value": "8"}}
    assert subject(subject={"reference": "#p"}, contained=[{"resourceType": "Patient", "id": "p"}]) is None
    assert subject(subject={"reference": "#p"}) is None


def test_a_period_of_recording_begins_at_its_start():
    recording = media(createdPeriod={"start": "2026-11-22T08:15:00Z"})

    assert observation(of=origin_of(recording, encounter())).value["effectiveDateTime"] == "2026-11-22T08:15:00Z"


# --- transcript --------------------------------------------------------------------------

TALK = (
    Segment("Since Friday.", 4.0, 5.0, speaker=1),
    Segment("How long?", 2.0, 3.0, speaker=0),
    Segment("Good morning.", 0.5, 1.25, speaker=0),
    Segment(" ", 5.0, 6.0, speaker=1),
)


def test_segments_are_sorted_by_start_then_end():
    late, early = Segment("b", 1.0, 3.0), Segment("a", 1.0, 2.0)

    assert in_order([late, early]) == (early, late)


def test_the_text_is_one_paragraph_a_turn():
    assert text_of(TALK) == "Speaker 1: Good morning. How long?\nSpeaker 2: Since Friday.\n"
    assert text_of([Segment("Alone.", 0, 1)]) == "Alone.\n"
    assert text_of([]) == ""


def test_a_text_of_speakers_nobody_told_apart_names_none_and_has_a_line_a_segment():
    alike = [Segment("Any fever?", 0, 1, speaker=0), Segment("No.", 1, 2, speaker=0)]

    assert text_of(alike) == "Any fever?\nNo.\n"
    assert "<v " not in vtt_of(alike)
    assert [one["speaker"] for one in json.loads(json_of_segments(alike))] == [0, 0]
    assert text_of([*TALK, Segment("Who is there?", 9, 10)]).endswith("Since Friday.\nWho is there?\n")
    assert text_of(alike, (Participant(0, "doctor"),)) == "Doctor: Any fever? No.\n"


def test_webvtt_has_a_cue_for_each_segment_and_escapes_its_words():
    said = [Segment("a --> b\n<c> & d", 3_723.5, 1.0, speaker=0), Segment("quiet", 0.0, 0.5), Segment("", 0.1, 0.2)]

    assert vtt_of(said) == (
        "WEBVTT\n"
        "\n00:00:00.000 --> 00:00:00.500\nquiet\n"
        "\n01:02:03.500 --> 01:02:03.500\n<v Speaker 1>a --&gt; b &lt;c&gt; &amp; d\n"
    )


def test_segments_as_json_keep_all_that_is_known():
    roles = (Participant(0, "doctor"), Participant(1, "patient"))

    assert json.loads(json_of_segments([Segment("Hi\x00 å", 0.5, 1.0, channel=1)], roles)) == [
        {"start": 0.5, "end": 1.0, "channel": 1, "role": "patient", "text": "Hi å"}
    ]
    assert json.loads(json_of_segments([Segment("Hi", 0.5, 1.0, speaker=2)])) == [
        {"start": 0.5, "end": 1.0, "channel": 0, "speaker": 2, "text": "Hi"}
    ]


def test_speakers_are_named_by_role_else_channel_else_number():
    both = (Participant(0, "doctor"), Participant(1, "multiple"))

    assert speaker_of(Segment("x", 0, 1), both) == "Doctor"
    assert speaker_of(Segment("x", 0, 1, channel=1), both) == "Channel 2"
    assert speaker_of(Segment("x", 0, 1, speaker=3), (Participant(0, "multiple"),)) == "Speaker 4"
    assert speaker_of(Segment("x", 0, 1), (Participant(0, "multiple"),)) is None


def test_a_complete_transcript_is_inline_plain_text_first():
    value = document(TALK, seconds=6.5).value

    attachments = [one["attachment"] for one in value["content"]]
    assert [one["contentType"].split(";")[0] for one in attachments] == ["text/plain", "text/vtt", "application/json"]
    data = base64.b64decode(attachments[0]["data"])
    assert data.decode() == text_of(TALK)
    assert attachments[0]["size"] == len(data)
    assert base64.b64decode(attachments[0]["hash"]) == hashlib.sha1(data, usedforsecurity=False).digest()
    assert all("url" not in one and one["language"] == "en" for one in attachments)
    assert value["context"] == {
        "encounter": [{"reference": "Encounter/e1"}],
        "related": [{"reference": "Media/m1"}],
        "period": {"start": "2026-11-22T08:15:00+01:00", "end": "2026-11-22T08:15:06.500+01:00"},
    }


def test_a_transcript_names_its_status_type_author_and_labels():
    value = document(TALK).value

    assert (value["status"], value["docStatus"]) == ("current", "preliminary")
    assert [one["code"] for one in value["type"]["coding"]] == ["transcript", "34109-9"]
    assert value["author"] == [{"reference": "Device/corti-ambient"}]
    assert [one["code"] for one in value["meta"]["security"]] == ["AIAST", "DICTAST"]
    assert value["identifier"] == [{"system": "urn:x-fhir-bridge:interaction-id", "value": "i-1"}]
    assert value["subject"] == PATIENT
    assert value["context"]["period"] == {"start": "2026-11-22T08:15:00+01:00"}


def test_a_growing_transcript_is_only_addresses():
    value = document(TALK, complete=False).value

    assert [one["attachment"]["url"] for one in value["content"]] == list(URLS.values())
    assert all("data" not in one["attachment"] for one in value["content"])


def test_a_recording_without_words_is_a_transcript_with_a_warning():
    result = document((), Origin("m1", "e1"))

    text, vtt, segments = (one["attachment"] for one in result.value["content"])
    assert text["url"] == URLS["text"]
    assert "data" not in text
    assert base64.b64decode(vtt["data"]) == b"WEBVTT\n"
    assert base64.b64decode(segments["data"]) == b"[]"
    assert warned(result) == [("DocumentReference.content", "informational")]


def test_a_partial_date_of_recording_has_no_end():
    recording = media(createdDateTime="2026-11-22")

    value = document(TALK, origin_of(recording, encounter()), seconds=5).value

    assert value["context"]["period"] == {"start": "2026-11-22"}


@given(
    st.lists(
        st.builds(Segment, st.text(), st.floats(0, 1e5), st.floats(0, 1e5), st.none() | st.integers(0, 9)), max_size=5
    )
)
def test_whatever_was_heard_is_a_valid_document(segments):
    document(segments, seconds=3.0)


# --- provenance and devices --------------------------------------------------------------


def test_a_provenance_says_that_ai_made_it_from_which_sources():
    fact, words = observation().value, document().value

    of_fact, of_words = (provenance_of_result(one, origin(), at=AT) for one in (fact, words))

    for one in (of_fact, of_words):
        assert checked(one) == one
        model_of(one)
        assert one["reason"][0]["coding"][0]["code"] == "AIAST"
        assert one["agent"][0]["who"] == {"reference": "Device/corti-ambient"}
        assert one["agent"][1]["who"] == {"reference": "Device/fhir-bridge"}
    assert of_fact["target"] == [{"reference": f"Observation/{fact['id']}"}]
    sources = [one["what"]["reference"] for one in of_fact["entity"]]
    assert sources == ["Media/m1", f"DocumentReference/{words['id']}"]
    assert [one["what"]["reference"] for one in of_words["entity"]] == ["Media/m1"]
    assert of_fact["id"] != of_words["id"]


def test_the_devices_tell_corti_from_its_stand_in():
    devices = [
        bridge_device(version="0.1.0"),
        bridge_device(version="0.1.0", url="https://bridge.example/fhir"),
        corti_device(environment="eu"),
        corti_device(environment="eu", recogniser="moonshine"),
    ]

    for one in devices:
        assert checked(one) == one
        model_of(one)
    assert [one["id"] for one in devices] == ["fhir-bridge", "fhir-bridge", "corti-ambient", "corti-ambient"]
    assert devices[1]["url"] == "https://bridge.example/fhir"
    assert "note" not in devices[2]
    assert "Not for clinical use" in devices[3]["note"][0]["text"]


# --- times -------------------------------------------------------------------------------


def test_a_time_is_written_no_finer_than_it_was_said():
    recording = media(createdDateTime="2026-11-22T08:15:00.120+01:00")

    assert document(of=origin_of(recording, encounter())).value["context"]["period"] == {
        "start": "2026-11-22T08:15:00.120+01:00"
    }
    assert text_of_time(datetime(2026, 11, 22, 8, 15, 0, 120_001, tzinfo=UTC)) == "2026-11-22T08:15:00.120001Z"


def test_a_recording_at_the_end_of_time_has_results_all_the_same():
    last = origin_of(media(createdDateTime="9999-12-31T23:59:59Z"), encounter())

    assert observation(of=last, offset=5.0).value["effectiveDateTime"] == "9999-12-31T23:59:59Z"
    assert document(TALK, last, seconds=5).value["context"]["period"] == {"start": "9999-12-31T23:59:59Z"}


def test_text_that_is_no_time_is_none():
    assert moment_of("soon", "start") is None
    assert moment_of("2026-13", "start") is None
    assert zone_of("2026") is UTC
    assert zone_of(None) is UTC
