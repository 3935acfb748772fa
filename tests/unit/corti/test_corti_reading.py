import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.corti import answers, reading
from fhir_bridge.corti.messages import (
    AudioEvent,
    ConfigAccepted,
    ConfigNack,
    Ended,
    Evidence,
    Fact,
    Facts,
    Flushed,
    Message,
    Participant,
    Segment,
    StreamError,
    Transcript,
    Unknown,
    Usage,
)
from fhir_bridge.corti.recorded import FactDraft, FactGroup
from fhir_bridge.errors import CortiNonsense


def said(**body: object) -> Message:
    return reading.message(json.dumps(body))


# --- stream messages ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("CONFIG_ACCEPTED", ConfigAccepted()),
        ("config_accepted", ConfigAccepted()),
        ("CONFIG_ALREADY_RECEIVED", ConfigAccepted()),
        ("flushed", Flushed()),
        ("FLUSHED", Flushed()),
        ("ENDED", Ended()),
        ("ended", Ended()),
        ("delta_usage", Usage(0.0, final=False)),
        ("noveltyOf2027", Unknown("noveltyOf2027")),
    ],
)
def test_the_type_of_a_message_is_read_in_any_case(kind, expected):
    assert said(type=kind) == expected


@pytest.mark.parametrize(
    "kind", ["CONFIG_DENIED", "CONFIG_REJECTED", "CONFIG_MISSING", "CONFIG_NOT_PROVIDED", "CONFIG_TIMEOUT"]
)
def test_every_refusal_of_a_configuration_is_one_in_any_case(kind):
    assert said(type=kind, reason="why") == ConfigNack(kind, "why")
    assert said(type=kind.lower()) == ConfigNack(kind)
    assert said(type="CONFIG_SOMETHING_NEW") == ConfigNack("CONFIG_SOMETHING_NEW")


def test_a_transcript_is_read_in_its_present_form():
    message = said(
        type="transcript",
        data=[
            {
                "id": "the interaction",
                "transcript": "My knee.",
                "final": True,
                "speakerId": 1,
                "participant": {"channel": 1},
                "time": {"start": 3.2, "end": 6.9},
            }
        ],
    )

    assert message == Transcript((Segment("My knee.", 3.2, 6.9, speaker=1, channel=1),))


def test_a_transcript_is_read_in_the_form_of_dictation():
    message = said(
        type="transcript", data={"text": "My knee.", "start": 1, "end": 2, "isFinal": False, "speakerId": -1}
    )

    assert message == Transcript((Segment("My knee.", 1.0, 2.0, final=False),))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"transcript": "a"}, Segment("a", 0.0, 0.0)),
        ({"transcript": "a", "time": {"start": 5, "end": 2}}, Segment("a", 5.0, 5.0)),
        ({"transcript": "a", "time": {"start": -3, "end": 2}}, Segment("a", 0.0, 2.0)),
        ({"transcript": "a", "time": {"start": "soon", "end": True}}, Segment("a", 0.0, 0.0)),
        ({"transcript": "a", "channel": 2, "speakerId": None}, Segment("a", 0.0, 0.0, channel=2)),
        ({"transcript": "a", "participant": "doctor", "final": None, "isFinal": None}, Segment("a", 0.0, 0.0)),
    ],
)
def test_a_segment_with_parts_missing_keeps_its_words(item, expected):
    assert said(type="transcript", data=[item]) == Transcript((expected,))


def test_an_endless_time_counts_as_none():
    assert reading.message('{"type":"transcript","data":[{"text":"a","end":1e999}]}') == Transcript(
        (Segment("a", 0, 0),)
    )


@pytest.mark.parametrize("broken", [None, "text", 7, [None, "text", [], {}, {"transcript": ""}, {"transcript": 5}]])
def test_a_transcript_without_words_says_nothing(broken):
    assert said(type="transcript", data=broken) == Transcript(())


@pytest.mark.parametrize("key", ["fact", "facts", "data"])
def test_facts_are_found_under_any_of_their_names(key):
    item = {
        "id": "f1",
        "text": "Knee swelling",
        "group": "assessment",
        "groupId": "g1",
        "isDiscarded": True,
        "source": "user",
        "createdAt": "2026-11-22T08:16:40Z",
        "updatedAt": "2026-11-22T08:17:40Z",
        "createdAtTzOffset": "+01:00",
        "evidence": [{"type": "transcript", "reference": "3", "quote": "it is swollen"}],
    }
    expected = Fact(
        "f1",
        "Knee swelling",
        "assessment",
        "g1",
        discarded=True,
        source="user",
        created_at="2026-11-22T08:16:40Z",
        updated_at="2026-11-22T08:17:40Z",
        evidence=(Evidence("transcript", "3", "it is swollen"),),
    )

    assert said(type="facts", **{key: [item]}) == Facts((expected,))
    assert said(type="facts", **{key: item}) == Facts((expected,))


def test_a_fact_without_an_id_is_left_to_the_reconciliation():
    message = said(type="facts", fact=[{"text": "no id"}, {"id": "f1", "text": "Knee", "group": None}, "odd"])

    assert message == Facts((Fact("f1", "Knee", "other"),))
    assert said(type="facts") == Facts(())


def test_usage_and_audio_events_are_read_with_their_numbers():
    assert said(type="usage", credits=0.25) == Usage(0.25)
    assert said(type="usage", credits="free") == Usage(0.0)
    assert said(type="delta_usage", credits=0.1) == Usage(0.1, final=False)
    event = {"event": "longSilenceDetected", "channel": 1, "startTimeMs": 41500}
    assert said(type="audioEvent", data=event) == AudioEvent("longSilenceDetected", 1, 41.5)
    assert said(type="AUDIOEVENT") == AudioEvent("", 0, 0.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": {"requestid": "q1", "details": "Provided audio is invalid or corrupted."}},
            StreamError("q1", detail="Provided audio is invalid or corrupted."),
        ),
        (
            {"error": {"id": "A0021", "status": 429, "title": "No balance", "detail": "d", "requestId": "q2"}},
            StreamError("q2", "A0021", 429, "No balance", "d"),
        ),
        ({"error": "plain words"}, StreamError(detail="plain words")),
        ({"title": "flat", "status": "odd"}, StreamError(title="flat")),
        ({"error": {}}, StreamError()),
    ],
)
def test_an_error_is_read_in_each_of_its_forms(body, expected):
    assert said(type="error", **body) == expected


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ('{"type":NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5_000, "not JSON"),
        ("[]", "no type"),
        ("null", "no type"),
        ("{}", "no type"),
        ('{"type":5}', "no type"),
        ('{"type":"' + "k" * 100 + '"}', "k" * 64),
    ],
)
def test_a_frame_that_is_no_message_is_kept_by_name_and_harms_nothing(frame, kind):
    assert reading.message(frame) == Unknown(kind)


def test_text_that_no_database_can_store_is_made_storable():
    message = reading.message('{"type":"transcript","data":[{"text":"a\\u0000b\\ud800c"}]}')

    assert message == Transcript((Segment("a\ufffdb\ufffdc", 0, 0),))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from([*reading._KINDS, "CONFIG_DENIED", "novelty"])
MEMBERS = st.dictionaries(st.sampled_from("data fact facts error credits reason".split()), JSON)  # noqa: SIM905 - one list of words


@settings(max_examples=300)
@given(kind=KINDS | JSON, members=MEMBERS)
def test_no_message_whatever_it_holds_does_harm(kind, members):
    message = reading.message(json.dumps({"type": kind, **members}))

    str(message).encode()  # storable


# --- answers ---------------------------------------------------------------------------------


def test_an_interaction_is_read_from_both_of_its_forms():
    assert answers.interaction({"interactionId": "i1", "websocketUrl": "wss://x"}).websocket_url == "wss://x"
    read = answers.interaction(
        {
            "id": "i1",
            "encounter": {"identifier": "V-1", "status": "planned", "period": None},
            "patient": None,
            "createdAt": "c",
            "lastUpdated": "u",
            "endedAt": None,
            "novelty": 1,
        }
    )

    assert (read.id, read.identifier, read.status) == ("i1", "V-1", "planned")
    assert (read.created_at, read.updated_at, read.ended_at) == ("c", "u", None)


@pytest.mark.parametrize("answer", [None, {}, {"id": 5}, {"id": "../x"}, {"id": "a" * 65}, "text"])
def test_an_answer_without_a_usable_id_is_nonsense(answer):
    with pytest.raises(CortiNonsense):
        answers.interaction(answer)


def recorded(*spans: tuple[object, object], text: str = "Good morning.", seconds: float | None = None) -> list[tuple]:
    items = [{"channel": 0, "participant": 0, "speakerId": 0, "text": text, "start": a, "end": b} for a, b in spans]
    read = answers.recorded_transcript({"id": "t1", "transcripts": items}, seconds)
    return [(one.start, one.end) for one in read.segments]


def test_milliseconds_become_seconds_and_seconds_stay():
    assert recorded((320, 1410), seconds=60.0) == [(0.32, 1.41)]
    assert recorded((0.32, 1.41), seconds=60.0) == [(0.32, 1.41)]
    assert recorded((320, 1410)) == [(0.32, 1.41)]
    assert recorded((0.32, 1.41)) == [(0.32, 1.41)]


def test_times_beyond_the_recording_are_milliseconds_however_fast_they_were_spoken():
    assert recorded((70_000, 70_010), seconds=75.0) == [(70.0, 70.01)]


def test_milliseconds_within_a_long_recordings_seconds_are_told_by_the_speed_of_speech():
    assert recorded((320, 1410), seconds=3600.0) == [(0.32, 1.41)]
    assert recorded((3000, 3002), seconds=3600.0) == [(3000.0, 3002.0)]


def test_a_recorded_transcript_is_read_with_participants_and_credits():
    read = answers.recorded_transcript(
        {
            "id": "t1",
            "recordingId": "r1",
            "status": "COMPLETED",
            "metadata": {"participantsRoles": [{"channel": 1, "role": "doctor"}, {"channel": None, "role": "novel"}]},
            "transcripts": None,
            "usageInfo": {"creditsConsumed": 0.02},
        }
    )

    assert (read.status, read.recording_id, read.segments, read.credits) == ("completed", "r1", (), 0.02)
    assert read.participants == (Participant(1, "doctor"), Participant(0, "multiple"))


def test_a_transcript_of_a_list_holds_its_segments_one_level_deeper():
    listed = {
        "id": "t1",
        "transcriptSample": "Good",
        "transcript": {"metadata": {"participantsRoles": None}, "transcripts": [{"text": "Good morning.", "end": 1}]},
    }

    assert answers.recorded_transcript(listed).segments == (Segment("Good morning.", 0.0, 1.0),)


def test_extracted_facts_may_call_their_text_value():
    read = answers.extracted(
        {"facts": [{"group": "plan", "value": "Rest"}, {"group": "plan"}, {"text": "X"}], "usageInfo": None}
    )

    assert read.facts == (FactDraft("Rest", "plan"), FactDraft("X", "other"))
    assert read.credits is None


def test_fact_groups_keep_their_names_by_language():
    answer = {
        "data": [{"id": "g1", "key": "plan", "translations": [{"languages_id": 3, "name": "Plan"}]}, {"id": "g2"}]
    }

    assert answers.fact_groups(answer) == (FactGroup("g1", "plan", (("3", "Plan"),)),)


@pytest.mark.parametrize(
    "shape",
    [
        {"en": {"name": "English"}, "da": {}, "not a tag": 1},
        ["en", "da", 5],
        [{"code": "en"}, {"languageCode": "da"}, {"odd": 1}],
        {"streams": ["en", "da"]},
        {"streams": [{"locale": "en"}], "transcribe": ["da", "en"]},
    ],
)
def test_languages_are_found_in_any_likely_shape(shape):
    assert answers.languages({"languages": shape}) == ("en", "da")


def test_no_languages_are_found_where_there_are_none():
    assert answers.languages({"languages": None}) == ()
    assert answers.languages("text") == ()
